//! `countersign init`: everything a deployment needs, in an empty directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use countersign_domain::policy::{Bundle, Worker};
use countersign_runtime::files;
use countersign_runtime::identity::{
    InitError, InitOptions, Initialised, Principal, RegistryError, Role, Tls, init,
};
use countersign_schemas::ids::PersonId;
use serde_json::json;

use crate::exit::{CliError, Exit};
use crate::output::Output;
use crate::sample;

/// The worker that runs the tools which the catalog binds to NATS.
pub(crate) const WORKER: &str = "tools";

/// Make a deployment in an empty directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory; it must be empty or not exist
    dir: PathBuf,
    /// The deployment's name: part of every permit
    #[arg(long, default_value = "local")]
    name: String,
    /// Where the NATS server listens, under `up` too; loopback unless another address is
    /// written here. Beyond loopback give it TLS
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4222")]
    listen: String,
    /// People who run the system
    #[arg(
        long,
        value_name = "PERSON",
        default_value = "ops",
        value_delimiter = ','
    )]
    operator: Vec<PersonId>,
    /// A policy bundle to copy instead of the sample
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Encrypt the server's files with the key in this environment variable of the server
    #[arg(long, value_name = "VARIABLE")]
    encryption_key_env: Option<String>,
}

#[derive(Debug, clap::Args)]
struct TlsArgs {
    /// The server's certificate chain, PEM
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authority that signed it, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
}

/// Makes the deployment and says what to do next.
pub(crate) fn run(args: Args, output: &Output) -> Result<Exit, CliError> {
    let bundle_files = match &args.policy {
        Some(dir) => files::policy_bundle(dir)?,
        None => sample::files(),
    };
    let bundle = Bundle::from_files(&bundle_files).map_err(CliError::configured)?;
    let options = InitOptions {
        identities: identities(&bundle, &args.operator)?,
        policy: bundle_files.into_iter().collect(),
        tls: tls(&args.tls)?,
        encryption_key_env: args.encryption_key_env,
        ..InitOptions::local(&args.name, &args.listen)
    };
    let made = init(&args.dir, &options)?;
    let answer = json!({
        "dir": made.deployment.dir(),
        "files": made.files,
        "identities": made.registry.entries(),
    });
    output.answer(&answer, || told(&made))?;
    Ok(Exit::Done)
}

/// A certificate's paths are written into files that are read from anywhere.
fn tls(args: &TlsArgs) -> Result<Option<Tls>, CliError> {
    let (Some(cert), Some(key), Some(ca)) = (&args.tls_cert, &args.tls_key, &args.tls_ca) else {
        return Ok(None);
    };
    let whole = |path: &PathBuf| {
        std::fs::canonicalize(path).map_err(|error| {
            CliError::configured(format!("cannot find `{}`: {error}", path.display()))
        })
    };
    Ok(Some(Tls {
        cert: whole(cert)?,
        key: whole(key)?,
        ca: whole(ca)?,
    }))
}

/// One identity for everybody in the bundle: its agents, the people who may be asked, and
/// one worker for the tools behind NATS.
pub(crate) fn identities(
    bundle: &Bundle,
    operators: &[PersonId],
) -> Result<Vec<Principal>, CliError> {
    let directory = bundle.directory();
    let agents = directory.agents().map(|(agent, _)| agent.clone());
    let people = directory.people().cloned();
    let mut all: Vec<Principal> = agents
        .map(Principal::Agent)
        .chain(people.map(Principal::Approver))
        .chain(operators.iter().cloned().map(Principal::Operator))
        .collect();
    let tools: BTreeSet<_> = bundle
        .catalog()
        .tools()
        .filter(|tool| matches!(tool.worker(), Worker::Nats))
        .map(|tool| tool.name().clone())
        .collect();
    if !tools.is_empty() {
        let worker = Principal::new(Role::Worker, WORKER, tools, BTreeSet::new());
        all.push(worker.map_err(CliError::usage)?);
    }
    Ok(all)
}

fn told(made: &Initialised) -> String {
    let dir = made.deployment.dir().display();
    let mut of_role: BTreeMap<Role, Vec<&str>> = BTreeMap::new();
    for entry in made.registry.entries() {
        let names = of_role.entry(entry.principal.role()).or_default();
        names.push(entry.principal.name());
    }
    let mut text = format!(
        "Made the deployment `{}` in {dir}\n\n",
        made.registry.deployment()
    );
    for (role, names) in of_role {
        text.push_str(&format!("  {:<9} {}\n", role.name(), names.join(" ")));
    }
    text.push_str(&format!(
        "\n  countersign.toml      settings of every service\n\
         \x20 policy/               who may do what: read it, change it, test it\n\
         \x20 nats/server.conf      the server; accounts.conf beside it is generated\n\
         \x20 creds/                one credential each: hand them to their owners\n\
         \x20 keys/                 signing keys; back them up, show them to nobody\n\n\
         Next:\n\
         \x20 countersign up --dir {dir}                  run everything on this machine\n\
         \x20 countersign identity list --dir {dir}       who may connect\n"
    ));
    text
}

impl From<InitError> for CliError {
    fn from(error: InitError) -> Self {
        match error {
            InitError::NotEmpty(_)
            | InitError::Deployment(_)
            | InitError::Listen(_)
            | InitError::Registry(RegistryError::Shared { .. } | RegistryError::Exists(_)) => {
                Self::usage(error)
            }
            other => Self::configured(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_in_the_sample_gets_a_key_and_every_nats_tool_a_worker() {
        let bundle = Bundle::from_files(&sample::files()).unwrap();
        let all = identities(&bundle, &["ops".parse().unwrap()]).unwrap();
        let listed: Vec<String> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(listed.join("\n"));
        let worker = all.last().unwrap();
        assert!(
            worker
                .tools()
                .iter()
                .any(|tool| tool.as_str() == "mail.send")
        );
    }

    #[test]
    fn what_was_made_is_told_with_what_to_do_next() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::from_files(&sample::files()).unwrap();
        let options = InitOptions {
            identities: identities(&bundle, &["ops".parse().unwrap()]).unwrap(),
            ..InitOptions::local("acme", "127.0.0.1:4222")
        };
        let made = init(&dir.path().join("d"), &options).unwrap();
        let place = made.deployment.dir().display().to_string();
        insta::assert_snapshot!(told(&made).replace(&place, "DIR"));
    }

    #[test]
    fn a_wrong_call_is_told_apart_from_a_machine_that_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let made = |sub: &str, name: &str, listen: &str, twice: bool| {
            let one = || Principal::Agent("a".parse().unwrap());
            let mut options = InitOptions::local(name, listen);
            options.identities = match twice {
                true => vec![one(), one()],
                false => vec![one()],
            };
            CliError::from(init(&dir.path().join(sub), &options).unwrap_err())
        };
        std::fs::create_dir(dir.path().join("full")).unwrap();
        std::fs::write(dir.path().join("full/x"), "").unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let here = "127.0.0.1:4222";
        for (error, exit, words) in [
            (
                made("full", "acme", here, false),
                Exit::Usage,
                "is not empty",
            ),
            (
                made("a", "a b", here, false),
                Exit::Usage,
                "cannot name a deployment",
            ),
            (
                made("b", "", here, false),
                Exit::Usage,
                "cannot name a deployment",
            ),
            (
                made("c", "acme", "4222", false),
                Exit::Usage,
                "write host:port",
            ),
            (
                made("d", "acme", "host:port", false),
                Exit::Usage,
                "write host:port",
            ),
            // To the server that would mean every address of the machine.
            (
                made("g", "acme", ":4222", false),
                Exit::Usage,
                "write host:port",
            ),
            (made("e", "acme", here, true), Exit::Usage, "exists already"),
            (
                made("file/sub", "acme", here, false),
                Exit::Configuration,
                "file/sub",
            ),
        ] {
            assert_eq!(error.exit(), exit, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn certificates_are_written_with_their_whole_paths_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            Some(path)
        };
        let args = |tls_ca: Option<PathBuf>| TlsArgs {
            tls_cert: file("cert.pem"),
            tls_key: file("key.pem"),
            tls_ca,
        };
        assert_eq!(tls(&args(None)).unwrap(), None);
        let roundabout = dir.path().join("sub/../ca.pem");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        file("ca.pem");
        let found = tls(&args(Some(roundabout))).unwrap().unwrap();
        assert!(found.ca.is_absolute() && !found.ca.display().to_string().contains(".."));
        let missing = tls(&args(Some(dir.path().join("none.pem")))).unwrap_err();
        assert_eq!(missing.exit(), Exit::Configuration);
        assert!(missing.to_string().contains("none.pem"), "{missing}");
    }
}
