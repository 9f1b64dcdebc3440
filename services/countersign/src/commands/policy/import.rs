//! `countersign policy import-mcp`: a catalog begun from an MCP server's list of tools.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use countersign_domain::policy::{Imported, import_mcp};
use serde_json::json;

use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Bytes read: a little more than any list, so that a longer one is seen to be longer.
const BYTES_MAX: u64 = 5 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The server's answer to tools/list as JSON: a file, or - for standard input
    #[arg(value_name = "FILE")]
    list: PathBuf,
    /// The first word of each tool's name, such as the server's own
    #[arg(long, value_name = "WORD")]
    prefix: String,
    /// Write the catalog into this new file, such as policy/catalog/files.toml; standard
    /// output if left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Makes a catalog in which nothing is permitted.
pub(super) fn run(args: &ImportArgs, output: &Output) -> Result<Exit, CliError> {
    let list = read(&args.list)?;
    let imported = import_mcp(&list, &args.prefix).map_err(CliError::usage)?;
    if let Some(path) = &args.out {
        write_new(path, &imported.toml)?;
    }
    for left_out in &imported.left_out {
        output.progress(&format!("left out: {left_out}"));
    }
    let answer = json!({
        "tools": imported.tools,
        "left_out": imported.left_out,
        "toml": imported.toml,
    });
    output.answer(&answer, || text(args, &imported))?;
    Ok(Exit::Done)
}

fn text(args: &ImportArgs, imported: &Imported) -> String {
    match &args.out {
        Some(path) => format!(
            "{} tools are in {}; nothing is permitted until a policy says so",
            imported.tools.len(),
            path.display()
        ),
        None => imported.toml.clone(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let done = match path.to_str() {
        Some("-") => std::io::stdin()
            .lock()
            .take(BYTES_MAX)
            .read_to_end(&mut bytes),
        _ => {
            std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes))
        }
    };
    done.map_err(|error| CliError::Usage(format!("`{}`: {error}", path.display())))?;
    Ok(bytes)
}

/// A file that is there already holds what somebody wrote.
fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| CliError::Configured(format!("`{}`: {error}", path.display())))
}
