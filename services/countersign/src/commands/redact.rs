//! `countersign redact`: what the engine finds in lines of JSON or text, for people who tune
//! rules and for scripts that clean files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::PathBuf;

use countersign_domain::policy::Bundle;
use countersign_domain::redact::{FieldClasses, FingerprintKey, Redactor};
use countersign_schemas::ToolName;
use countersign_schemas::limits::STORED_BYTES_MAX;

use super::policy;
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// The name of the key that one run makes for itself.
const KEY_ID: &str = "run";
/// Stands for standard input.
const STDIN: &str = "-";

/// Find and replace secrets and personal data in lines of JSON or text
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line is read by itself: a JSON object, array or text by its keys and values, all else as text.\n\
                  Every line gives one line. One that cannot be read to its end, such as one of more\n\
                  than 1 MiB, gives [redaction_failed] and never what it holds.\n\
                  Marks such as [email:run:9f2c41d07a3b] agree for equal values of one run only: their key\n\
                  is made for the run and forgotten with it.\n\
                  Exit codes: 0 done; 1 a file cannot be read; 64 the policy cannot be used."
)]
pub(crate) struct Args {
    /// Say for each line what was found and where, as JSON: {"redacted", "findings": [{"type", "start", "end", "path"?}]}; places are characters of the line as it was read
    #[arg(long)]
    findings: bool,
    /// Use the detectors of this bundle's catalog too
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// Take each line of JSON for an input of this tool, and use its field classes
    #[arg(long, value_name = "NAME", requires = "policy")]
    tool: Option<ToolName>,
    /// Files to read; standard input where none is given, or for -
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Reads every line of every file.
pub(crate) fn run(args: &Args, output: &Output) -> Result<Exit, CliError> {
    let cleaner = Cleaner {
        redactor: Redactor::new(
            FingerprintKey::new(KEY_ID, rand::random()).map_err(CliError::unexpected)?,
        ),
        classes: args.classes()?,
        findings: args.findings || output.is_json(),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let standard = [PathBuf::from(STDIN)];
    let files = if args.files.is_empty() {
        &standard[..]
    } else {
        &args.files
    };
    for file in files {
        let done = match file.as_os_str() == STDIN {
            true => cleaner.lines(&mut io::stdin().lock(), &mut out),
            false => File::open(file)
                .and_then(|opened| cleaner.lines(&mut BufReader::new(opened), &mut out)),
        };
        match done.and_then(|()| out.flush()) {
            Ok(()) => {}
            // Nobody reads any more, such as `head` that has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
            Err(error) => {
                let what = format!(
                    "`{}` cannot be read or its answer written: {error}",
                    file.display()
                );
                return Err(CliError::Unexpected(what));
            }
        }
    }
    Ok(Exit::Done)
}

impl Args {
    fn classes(&self) -> Result<FieldClasses, CliError> {
        let Some(dir) = &self.policy else {
            return Ok(FieldClasses::none());
        };
        let bundle: Bundle = policy::load(dir)?;
        let own = bundle.catalog().detectors();
        let Some(name) = &self.tool else {
            return Ok(FieldClasses::none().with_detectors(own));
        };
        let tool = bundle.catalog().tool(name).ok_or_else(|| {
            CliError::Configured(format!(
                "tool `{name}` is not in the catalog of `{}`",
                dir.display()
            ))
        })?;
        Ok(tool.classes().clone())
    }
}

struct Cleaner {
    redactor: Redactor,
    classes: FieldClasses,
    findings: bool,
}

impl Cleaner {
    /// One line out for every line in; no more than one line is in memory.
    fn lines(&self, input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<()> {
        let mut line = Vec::new();
        while read_line(input, &mut line)? {
            // What is no UTF-8 is no character that a detector knows; the rest is read.
            let text = String::from_utf8_lossy(&line);
            self.line(&text, out)?;
        }
        Ok(())
    }

    fn line(&self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        if self.findings {
            serde_json::to_writer(&mut *out, &self.redactor.line(text, &self.classes))?;
        } else {
            let clean = self.redactor.clean_line(text, &self.classes);
            out.write_all(clean.as_bytes())?;
        }
        out.write_all(b"\n")
    }
}

/// Reads a line without its end. Of one that is too long as much is kept as makes it too
/// long for the engine too, and the rest is passed over.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let bound = STORED_BYTES_MAX as u64 + 2;
    let read = (&mut *input).take(bound).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > STORED_BYTES_MAX {
        input.skip_until(b'\n')?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cleaned(input: &[u8], findings: bool) -> Vec<String> {
        let cleaner = Cleaner {
            redactor: Redactor::new(FingerprintKey::new(KEY_ID, [7; 32]).unwrap()),
            classes: FieldClasses::none(),
            findings,
        };
        let mut out = Vec::new();
        cleaner.lines(&mut &input[..], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_line_gives_a_line() {
        let input = b"to bob@example.com\n\n{\"n\": 1, \"to\": \"bob@example.com\"}\n{broken\n\xff bob@example.com";
        let out = cleaned(input, false);
        assert_eq!(out.len(), 5);
        assert!(out[0].starts_with("to [email:run:"), "{}", out[0]);
        assert_eq!(out[1], "");
        let json: Value = serde_json::from_str(&out[2]).unwrap();
        assert_eq!(json["n"], 1);
        assert_eq!(out[3], "{broken");
        assert!(out[4].starts_with("\u{fffd} [email:run:"), "{}", out[4]);
        assert!(!out.concat().contains("bob@"));
    }

    #[test]
    fn a_find_is_told_by_its_characters() {
        let out = cleaned(
            "é bob@example.com\n{\"to\":\"bob@example.com\"}\n".as_bytes(),
            true,
        );
        let one: Value = serde_json::from_str(&out[0]).unwrap();
        assert_eq!(
            one["findings"],
            json!([{"type": "email", "start": 2, "end": 17}])
        );
        let two: Value = serde_json::from_str(&out[1]).unwrap();
        let expected = json!([{"type": "email", "start": 7, "end": 22, "path": "/to"}]);
        assert_eq!(two["findings"], expected);
        assert_eq!(
            one["redacted"].as_str().unwrap().get(3..),
            two["redacted"]["to"].as_str()
        );
    }

    #[test]
    fn a_line_that_is_too_long_takes_only_itself_along() {
        let mut input = vec![b'x'; STORED_BYTES_MAX * 2];
        input.extend(b" bob@example.com\nnext\n");
        assert_eq!(cleaned(&input, false), ["[redaction_failed]", "next"]);
    }
}
