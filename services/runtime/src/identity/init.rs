//! Making a deployment: every file that the services, the server and the first people and
//! agents need, in an empty directory.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::deployment::Deployment;
use super::files::{self, FileError};
use super::keys::{self, KeyError};
use super::principal::{Principal, Service};
use super::registry::{Entry, Registry, RegistryError};
use super::server_conf::{Cluster, ServerConf, Tls};
use super::signing::Signing;

/// What to make.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The deployment's name: in every permit's issuer and audience.
    pub deployment: String,
    /// Where clients connect, `host:port`.
    pub listen: String,
    /// Identities besides our own services.
    pub identities: Vec<Principal>,
    /// The first policy bundle: relative path and bytes.
    pub policy: Vec<(String, Vec<u8>)>,
    /// TLS for clients.
    pub tls: Option<Tls>,
    /// The cluster this server is one of.
    pub cluster: Option<Cluster>,
    /// Name of the environment variable with the key that encrypts files at rest.
    pub encryption_key_env: Option<String>,
}

impl InitOptions {
    /// One server on this machine, without TLS, for clients on this machine.
    #[must_use]
    pub fn local(deployment: &str, listen: &str) -> Self {
        Self {
            deployment: deployment.to_owned(),
            listen: listen.to_owned(),
            identities: Vec::new(),
            policy: Vec::new(),
            tls: None,
            cluster: None,
            encryption_key_env: None,
        }
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The deployment.
    pub deployment: Deployment,
    /// Its identities.
    pub registry: Registry,
    /// Every file, relative to the directory, sorted.
    pub files: Vec<PathBuf>,
}

/// A deployment cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// Something is there already.
    #[error(
        "`{}` is not empty: choose a new directory; an existing deployment is changed with \
         `countersign identity`, never made again",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// The deployment's name is not one token.
    #[error("`{0}` cannot name a deployment: use 1 to 64 of A-Z a-z 0-9 _ -")]
    Deployment(String),
    /// The address is no `host:port`.
    #[error("`{0}` is not an address: write host:port")]
    Listen(String),
    /// A file of the policy would lie outside of its folder.
    #[error("`{0}` is not a path inside the policy folder")]
    PolicyPath(String),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An identity cannot be added.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Makes a deployment in `dir`, which must be empty or not exist.
///
/// # Errors
/// If something is there, a name or address is wrong, or a file cannot be written.
pub fn init(dir: &Path, options: &InitOptions) -> Result<Initialised, InitError> {
    check(options)?;
    let root = make_root(dir)?;
    let deployment = Deployment::at(&root);
    for name in ["creds", "keys", "nats", "policy"] {
        files::make_private_dir(&root.join(name))?;
    }
    let registry = make_identities(&deployment, options)?;
    make_keys(&root.join("keys"))?;
    make_policy(&root.join("policy"), &options.policy)?;
    let server = ServerConf {
        name: format!("{}-1", options.deployment),
        listen: options.listen.clone(),
        store_dir: root.join("nats").join("jetstream"),
        tls: options.tls.clone(),
        cluster: options.cluster.clone(),
        encryption_key_env: options.encryption_key_env.clone(),
    };
    let server_conf = server.render();
    files::create(
        &deployment.server_conf(),
        server_conf.as_bytes(),
        files::PRIVATE,
    )?;
    // Last: a directory with this file is a whole deployment.
    files::create(
        &deployment.config(),
        settings(options).as_bytes(),
        files::PRIVATE,
    )?;
    let mut made = Vec::new();
    list(&root, &root, &mut made)?;
    made.sort();
    Ok(Initialised {
        deployment,
        registry,
        files: made,
    })
}

fn check(options: &InitOptions) -> Result<(), InitError> {
    if options
        .deployment
        .parse::<countersign_schemas::ids::Token>()
        .is_err()
    {
        return Err(InitError::Deployment(shown(&options.deployment)));
    }
    let port = options
        .listen
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, port)| port.parse::<u16>());
    let plain = options
        .listen
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || ".:[]-".contains(c));
    match port {
        Some(Ok(_)) if plain => Ok(()),
        _ => Err(InitError::Listen(shown(&options.listen))),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// Makes the directory and returns its absolute path: nats-server would look for a
/// relative one from wherever it is started.
fn make_root(dir: &Path) -> Result<PathBuf, InitError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(InitError::NotEmpty(dir.to_owned()));
            }
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(dir, private).map_err(FileError::on("protect", dir))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            files::make_private_dir(dir)?;
        }
        Err(error) => return Err(FileError::on("read directory", dir)(error).into()),
    }
    Ok(fs::canonicalize(dir).map_err(FileError::on("find", dir))?)
}

fn make_identities(deployment: &Deployment, options: &InitOptions) -> Result<Registry, InitError> {
    let mut registry = Registry::new(&options.deployment);
    let services = Service::ALL.map(Principal::Service);
    for principal in services.iter().chain(&options.identities) {
        let key = keys::user()?;
        registry.add(Entry {
            principal: principal.clone(),
            public_key: key.public,
        })?;
        let creds = deployment.creds(principal);
        files::create(&creds, key.seed.as_bytes(), files::PRIVATE)?;
    }
    deployment.store(&registry)?;
    Ok(registry)
}

fn make_keys(dir: &Path) -> Result<(), InitError> {
    let write =
        |name: &str, text: &str, mode| files::create(&dir.join(name), text.as_bytes(), mode);
    for signing in [Signing::Permit, Signing::Claim] {
        let key = keys::signing()?;
        let pem = key.private_pem.as_bytes();
        files::create(&signing.private(dir), pem, files::PRIVATE)?;
        files::create(&signing.public(dir), key.jwks.as_bytes(), files::PUBLIC)?;
    }
    let manifest = keys::signing()?;
    write("manifest.pem", &manifest.private_pem, files::PRIVATE)?;
    write("manifest.pub", &manifest.public_pem, files::PUBLIC)?;
    write("fingerprint.key", &keys::symmetric("k1")?, files::PRIVATE)?;
    write("match.key", &keys::symmetric("m1")?, files::PRIVATE)?;
    Ok(())
}

fn make_policy(dir: &Path, policy: &[(String, Vec<u8>)]) -> Result<(), InitError> {
    for (name, bytes) in policy {
        let relative = Path::new(name);
        let inside = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || name.is_empty() {
            return Err(InitError::PolicyPath(shown(name)));
        }
        let path = dir.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(FileError::on("make directory", parent))?;
        }
        files::create(&path, bytes, files::PUBLIC)?;
    }
    Ok(())
}

fn settings(options: &InitOptions) -> String {
    let scheme = if options.tls.is_some() { "tls" } else { "nats" };
    let mut text = format!(
        "# Settings of every service of this deployment; paths are relative to this file.\n\
         # What is not here has its default.\n\n\
         [deployment]\n\
         name = \"{}\"\n\n\
         [nats]\n\
         url = \"{scheme}://{}\"\n",
        options.deployment, options.listen,
    );
    if let Some(tls) = &options.tls {
        let ca = toml::Value::String(tls.ca.display().to_string());
        text.push_str(&format!("tls_ca = {ca}\n"));
    }
    text.push_str(match options.cluster {
        Some(_) => "replicas = 3\n",
        None => {
            "\n# The server that `countersign up` starts itself.\n\
             [nats.embedded]\n\
             config = \"nats/server.conf\"\n\
             store_dir = \"nats/jetstream\"\n"
        }
    });
    text
}

fn list(root: &Path, dir: &Path, made: &mut Vec<PathBuf>) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).map_err(FileError::on("read directory", dir))? {
        let path = entry.map_err(FileError::on("read directory", dir))?.path();
        if path.is_dir() {
            list(root, &path, made)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            made.push(relative.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::os::unix::fs::MetadataExt as _;

    fn options() -> InitOptions {
        InitOptions {
            identities: vec![
                Principal::Agent("billing".parse().unwrap()),
                Principal::Approver("lee".parse().unwrap()),
            ],
            policy: vec![("policies/base.cedar".to_owned(), b"permit;".to_vec())],
            ..InitOptions::local("acme", "127.0.0.1:4222")
        }
    }

    #[test]
    fn it_leaves_the_files_that_others_rely_on() {
        let dir = tempfile::tempdir().unwrap();
        let made = init(&dir.path().join("d"), &options()).unwrap();
        let files: Vec<String> = made.files.iter().map(|p| p.display().to_string()).collect();
        insta::assert_snapshot!(files.join("\n"));
    }

    #[test]
    fn every_secret_is_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = init(dir.path(), &options()).unwrap();
        for file in &made.files {
            let mode = fs::metadata(made.deployment.dir().join(file))
                .unwrap()
                .mode()
                & 0o777;
            let public = file.starts_with("policy")
                || file
                    .extension()
                    .is_some_and(|e| e == "json" && file.starts_with("keys"))
                || file.extension().is_some_and(|e| e == "pub");
            assert_eq!(
                mode,
                if public { 0o644 } else { 0o600 },
                "{}",
                file.display()
            );
        }
        for name in ["", "creds", "keys", "nats"] {
            let path = made.deployment.dir().join(name);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn a_credential_is_the_seed_of_the_registered_key_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let made = init(dir.path(), &options()).unwrap();
        for entry in made.registry.entries() {
            let seed = fs::read_to_string(made.deployment.creds(&entry.principal)).unwrap();
            let pair = nkeys::KeyPair::from_seed(&seed).unwrap();
            assert_eq!(pair.public_key(), entry.public_key, "{}", entry.principal);
        }
    }

    #[test]
    fn the_settings_are_ones_that_services_accept() {
        let tls = Tls {
            cert: "/tls/a.pem".into(),
            key: "/tls/a.key".into(),
            ca: "/tls/ca \"x\".pem".into(),
        };
        let cluster = Cluster {
            name: "acme".to_owned(),
            listen: "0.0.0.0:6222".to_owned(),
            routes: vec!["b:6222".to_owned()],
            tls: None,
        };
        let dir = tempfile::tempdir().unwrap();
        for (name, tls, cluster) in [
            ("plain", None, None),
            ("tls", Some(tls.clone()), None),
            ("three", Some(tls), Some(cluster)),
        ] {
            let replicas = if cluster.is_some() { 3 } else { 1 };
            let options = InitOptions {
                tls,
                cluster,
                ..options()
            };
            let made = init(&dir.path().join(name), &options).unwrap();
            let file = made.deployment.config();
            let config = Config::load_with(&file, [], &[]).unwrap();
            assert_eq!(config.deployment.name.as_str(), "acme", "{name}");
            assert_eq!(config.nats.replicas, replicas, "{name}");
            assert_eq!(
                config.nats.tls_ca.is_some(),
                options.tls.is_some(),
                "{name}"
            );
            let creds = config.service_creds("policy-checker");
            assert!(creds.is_file(), "{name}");
        }
    }

    #[test]
    fn what_is_there_is_never_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), "mine").unwrap();
        let error = init(dir.path(), &options()).unwrap_err();
        assert!(matches!(error, InitError::NotEmpty(_)), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_addresses_and_paths_cannot_leave_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let bad = [
            InitOptions {
                deployment: "a\"b".to_owned(),
                ..options()
            },
            InitOptions {
                deployment: "a.b".to_owned(),
                ..options()
            },
            InitOptions {
                listen: "localhost".to_owned(),
                ..options()
            },
            InitOptions {
                listen: "a\" x:1".to_owned(),
                ..options()
            },
            InitOptions {
                listen: "a:99999".to_owned(),
                ..options()
            },
            InitOptions {
                policy: vec![("../x".to_owned(), vec![])],
                ..options()
            },
            InitOptions {
                policy: vec![("/etc/x".to_owned(), vec![])],
                ..options()
            },
        ];
        for (index, options) in bad.iter().enumerate() {
            let target = dir.path().join(index.to_string());
            assert!(init(&target, options).is_err(), "{options:?}");
        }
    }
}
