//! What others make of our files: two Avro libraries in Python, the AsyncAPI parser in
//! Node, and the code itself as reader of the AsyncAPI channels.
//!
//! The outside tools are installed below the target folder at pinned versions. Where a
//! tool or the registry is not there, a test says that it is skipped; with `CI=true` it
//! fails instead.

#[cfg(test)]
mod checks {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use countersign_schemas::Stream;
    use countersign_schemas::subjects::service;

    const AVRO_PACKAGES: [&str; 2] = ["fastavro==1.13.1", "avro==1.12.2"];
    const ASYNCAPI_PACKAGES: [&str; 2] = [
        "@asyncapi/parser@3.6.3",
        "@asyncapi/avro-schema-parser@3.0.24",
    ];

    fn crate_dir() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn tools(name: &str) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
    }

    /// Runs a command; its output, or why there is none.
    fn run(command: &mut Command) -> Result<String, String> {
        let output = command
            .output()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        Err(format!("{command:?}: {}\n{text}", output.status))
    }

    /// True where the tools are there; else says so, or fails where they must be.
    fn ready(tool: &str, installed: Result<PathBuf, String>) -> Option<PathBuf> {
        match installed {
            Ok(place) => Some(place),
            Err(reason) if std::env::var("CI").is_ok_and(|ci| ci == "true") => {
                panic!("{tool} must be there in CI: {reason}")
            }
            Err(reason) => {
                println!("SKIPPED: {tool} is not there: {reason}");
                None
            }
        }
    }

    fn python() -> Result<PathBuf, String> {
        let folder = tools("python");
        let python = folder.join("bin/python");
        let marker = folder.join(AVRO_PACKAGES.join("+"));
        if !marker.try_exists().unwrap_or_default() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet"])
                .args(AVRO_PACKAGES))?;
            std::fs::write(marker, "").map_err(|error| error.to_string())?;
        }
        Ok(python)
    }

    fn node() -> Result<PathBuf, String> {
        let folder = tools("node");
        let package = folder.join("node_modules/@asyncapi/avro-schema-parser/package.json");
        if !package.try_exists().unwrap_or_default() {
            std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            std::fs::write(folder.join("package.json"), "{}").map_err(|e| e.to_string())?;
            run(Command::new("npm")
                .current_dir(&folder)
                .args(["install", "--silent", "--no-audit", "--no-fund"])
                .args(ASYNCAPI_PACKAGES))?;
        }
        Ok(folder)
    }

    #[test]
    fn other_avro_libraries_read_every_schema_and_golden_message() {
        let Some(python) = ready("python with fastavro and avro", python()) else {
            return;
        };
        let script = crate_dir().join("tests/avro_check.py");
        let report = run(Command::new(python).arg(script).arg(crate_dir()));
        report.unwrap_or_else(|report| panic!("{report}"));
    }

    #[test]
    fn the_reference_parser_accepts_the_asyncapi_file() {
        let Some(folder) = ready("node with the AsyncAPI parser", node()) else {
            return;
        };
        let report = run(Command::new("node")
            .arg(crate_dir().join("tests/asyncapi_check.mjs"))
            .arg(folder)
            .arg(crate_dir().join("asyncapi.yaml")));
        report.unwrap_or_else(|report| panic!("{report}"));
    }

    /// Address and stream of every channel, the parameters written `*`.
    fn channels() -> Vec<(String, Option<String>)> {
        let file = std::fs::read_to_string(crate_dir().join("asyncapi.yaml")).unwrap();
        let mut channels: Vec<(String, Option<String>)> = Vec::new();
        for line in file.lines() {
            if let Some(address) = line.strip_prefix("    address: ") {
                let tokens = address.split('.').map(|token| match token.as_bytes() {
                    [b'{', .., b'}'] => "*",
                    _ => token,
                });
                let pattern = tokens.collect::<Vec<_>>().join(".");
                channels.push((pattern, None));
            }
            if let Some(stream) = line.strip_prefix("    x-stream: ") {
                channels.last_mut().unwrap().1 = Some(stream.to_owned());
            }
        }
        channels
    }

    #[test]
    fn the_asyncapi_channels_are_the_subjects_of_the_code() {
        for stream in Stream::ARCHIVED {
            let written: BTreeSet<String> = channels()
                .into_iter()
                .filter(|(_, of)| of.as_deref() == Some(stream.name()))
                // The code takes both forms of this event by one filter.
                .map(
                    |(pattern, _)| match pattern.strip_prefix("control.applied.") {
                        Some("*.*" | "*.*.*") => "control.applied.>".to_owned(),
                        _ => pattern,
                    },
                )
                .collect();
            let known = stream
                .subjects()
                .iter()
                .map(|subject| (*subject).to_owned());
            assert_eq!(written, known.collect(), "{stream}");
        }
    }

    #[test]
    fn the_other_channels_are_services() {
        let services: BTreeSet<String> = channels()
            .into_iter()
            .filter(|(_, stream)| stream.is_none())
            .map(|(pattern, _)| pattern)
            .collect();
        let star = |subject: String| subject.replace("NAME", "*");
        let known = [
            star(service::approval_view(&"NAME".parse().unwrap()).to_string()),
            star(service::audit_query(&"NAME".parse().unwrap()).to_string()),
            star(service::audit_fingerprint(&"NAME".parse().unwrap()).to_string()),
            star(service::identity_changed(&"NAME".parse().unwrap()).to_string()),
            star(service::health(&"NAME".parse().unwrap()).to_string()),
            star(service::work(&"NAME".parse().unwrap()).to_string()),
            star(service::guardrail(&"NAME".parse().unwrap()).to_string()),
        ];
        assert_eq!(services, known.into());
    }
}
