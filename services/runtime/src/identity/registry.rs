//! `identities.json`: who exists, with which key. The server's accounts are rendered from
//! it and from nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use countersign_schemas::ids::{PersonId, Token, ToolName};
use serde::{Deserialize, Serialize};

use super::files;
use super::principal::{Account, Principal, PrincipalError, Role};

/// Most identities of one deployment: each costs some lines of the configuration that
/// every server parses at every change.
pub(super) const IDENTITIES_MAX: usize = 20_000;
/// Largest registry that is read, in bytes: that many identities, with room.
const REGISTRY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The file's name in the deployment's directory.
pub(super) const REGISTRY_FILE: &str = "identities.json";
const VERSION: u32 = 1;

/// One identity and the key that proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Entry {
    /// Who.
    pub principal: Principal,
    /// The public nkey (`U…`) of its user.
    pub public_key: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    role: Role,
    name: String,
    public_key: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tools: BTreeSet<ToolName>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    guardrails: BTreeSet<Token>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    people: BTreeSet<PersonId>,
}

impl TryFrom<Stored> for Entry {
    type Error = RegistryError;

    fn try_from(stored: Stored) -> Result<Self, RegistryError> {
        let Stored {
            role,
            name,
            public_key,
            tools,
            guardrails,
            people,
        } = stored;
        // The key is written into the server's configuration as it stands.
        if public_key.len() != 56 || !nkeys_user(&public_key) {
            return Err(RegistryError::Key(format!("{role}-{name}")));
        }
        let principal = match (role, guardrails.is_empty()) {
            (_, true) => Principal::new(role, &name, tools, people)?,
            (Role::Worker, false) if people.is_empty() => {
                Principal::worker(&name, tools, guardrails)?
            }
            _ => {
                let who = format!("{role} `{name}`");
                return Err(PrincipalError::Extra(who, "guardrails with what it has").into());
            }
        };
        Ok(Self {
            principal,
            public_key,
        })
    }
}

fn nkeys_user(text: &str) -> bool {
    text.starts_with('U') && nkeys::KeyPair::from_public_key(text).is_ok()
}

impl From<Entry> for Stored {
    fn from(entry: Entry) -> Self {
        Self {
            role: entry.principal.role(),
            name: entry.principal.name().to_owned(),
            tools: entry.principal.tools(),
            guardrails: entry.principal.guardrails(),
            people: entry.principal.people(),
            public_key: entry.public_key,
        }
    }
}

/// The registry cannot be read, written or changed so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The text is not a registry.
    #[error("`{}` is not a list of identities: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It was written by a newer program.
    #[error("`{}` has version {found}, this program knows {VERSION}: upgrade countersign", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// An identity in it makes no sense.
    #[error(transparent)]
    Principal(#[from] PrincipalError),
    /// A key in it is none.
    #[error("the key of `{0}` is not the public key of a user")]
    Key(String),
    /// It exists.
    #[error("{0} exists already: use `identity rotate` for a new key, or remove it first")]
    Exists(String),
    /// Another identity of the account uses that name.
    #[error(
        "{new} cannot be added: {present} shares the inbox prefix `{prefix}`, so each could \
         read the other's answers; choose another name"
    )]
    Shared {
        /// The new one.
        new: String,
        /// The one that is there.
        present: String,
        /// What both would use.
        prefix: String,
    },
    /// It does not exist.
    #[error("there is no {role} `{name}`: see `countersign identity list`")]
    Unknown {
        /// The role.
        role: Role,
        /// The name, cut and escaped.
        name: String,
    },
    /// Our services are a fixed set.
    #[error("service identities cannot be added or removed: use `identity rotate service {0}`")]
    FixedServices(String),
    /// Too many.
    #[error("a deployment holds at most {IDENTITIES_MAX} identities")]
    Full,
}

/// Every identity of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    version: u32,
    deployment: String,
    identities: Vec<Entry>,
}

impl Registry {
    /// A registry without identities.
    #[must_use]
    pub fn new(deployment: &str) -> Self {
        Self {
            version: VERSION,
            deployment: deployment.to_owned(),
            identities: Vec::new(),
        }
    }

    /// Reads the registry of the deployment in `dir`.
    ///
    /// # Errors
    /// If it is missing, unreadable or from a newer program.
    pub fn load(dir: &Path) -> Result<Self, RegistryError> {
        let path = dir.join(REGISTRY_FILE);
        let bytes = files::read_bounded(&path, REGISTRY_BYTES_MAX)?;
        let registry: Self =
            serde_json::from_slice(&bytes).map_err(|source| RegistryError::Format {
                path: path.clone(),
                source,
            })?;
        if registry.version != VERSION {
            return Err(RegistryError::Version {
                path,
                found: registry.version,
            });
        }
        Ok(registry)
    }

    /// Replaces the registry of the deployment in `dir`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), RegistryError> {
        files::replace(&dir.join(REGISTRY_FILE), &self.to_bytes()?, files::PRIVATE)?;
        Ok(())
    }

    fn to_bytes(&self) -> Result<Vec<u8>, RegistryError> {
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|source| RegistryError::Format {
                path: PathBuf::from(REGISTRY_FILE),
                source,
            })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The deployment's name.
    #[must_use]
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// Every identity, in the order they were added.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.identities
    }

    /// The identities of one account.
    pub fn in_account(&self, account: Account) -> impl Iterator<Item = &Entry> {
        self.identities
            .iter()
            .filter(move |entry| entry.principal.account() == account)
    }

    /// The identity with this role and name.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self, role: Role, name: &str) -> Result<&Entry, RegistryError> {
        self.identities
            .iter()
            .find(|entry| entry.principal.role() == role && entry.principal.name() == name)
            .ok_or_else(|| RegistryError::Unknown {
                role,
                name: name.chars().take(64).flat_map(char::escape_debug).collect(),
            })
    }

    /// Adds an identity.
    ///
    /// # Errors
    /// If it exists, or its name would let it read the answers of another.
    pub fn add(&mut self, entry: Entry) -> Result<(), RegistryError> {
        if self.identities.len() >= IDENTITIES_MAX {
            return Err(RegistryError::Full);
        }
        for present in self.in_account(entry.principal.account()) {
            let (old, new) = (&present.principal, &entry.principal);
            if old.role() == new.role() && old.name() == new.name() {
                return Err(RegistryError::Exists(old.to_string()));
            }
            if old.name() == new.name() && !same_person(old.role(), new.role()) {
                return Err(RegistryError::Shared {
                    new: new.to_string(),
                    present: old.to_string(),
                    prefix: new.inbox_prefix(),
                });
            }
        }
        self.identities.push(entry);
        Ok(())
    }

    /// Takes an identity out and returns it.
    ///
    /// # Errors
    /// If there is none, or it is one of our services.
    pub fn remove(&mut self, role: Role, name: &str) -> Result<Entry, RegistryError> {
        let found = self.find(role, name)?.clone();
        if let Principal::Service(service) = &found.principal {
            return Err(RegistryError::FixedServices(service.name().to_owned()));
        }
        self.identities.retain(|entry| *entry != found);
        Ok(found)
    }

    /// Gives an identity another key and returns it as it was.
    ///
    /// # Errors
    /// If there is none.
    pub fn rotate(
        &mut self,
        role: Role,
        name: &str,
        public_key: String,
    ) -> Result<Entry, RegistryError> {
        let found = self.find(role, name)?.clone();
        for entry in &mut self.identities {
            if *entry == found {
                public_key.clone_into(&mut entry.public_key);
            }
        }
        Ok(found)
    }
}

/// A person may hold one key to decide and another to operate: the same person, so a
/// shared inbox prefix gives nothing away.
fn same_person(one: Role, other: Role) -> bool {
    matches!(
        (one, other),
        (Role::Approver, Role::Operator) | (Role::Operator, Role::Approver)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(role: Role, name: &str) -> Entry {
        let people = match role {
            Role::Bridge => ["lee".parse().unwrap()].into(),
            _ => BTreeSet::new(),
        };
        Entry {
            principal: Principal::new(role, name, BTreeSet::new(), people).unwrap(),
            public_key: nkeys::KeyPair::new_user().public_key(),
        }
    }

    #[test]
    fn it_reads_back_what_it_wrote_and_keeps_it_private() {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = Registry::new("acme");
        registry.add(entry(Role::Agent, "billing")).unwrap();
        registry.add(entry(Role::Bridge, "slack")).unwrap();
        registry.save(dir.path()).unwrap();
        assert_eq!(Registry::load(dir.path()).unwrap(), registry);
        let mode = std::os::unix::fs::MetadataExt::mode(
            &std::fs::metadata(dir.path().join(REGISTRY_FILE)).unwrap(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn one_name_in_one_account_is_one_person() {
        let mut registry = Registry::new("acme");
        registry.add(entry(Role::Approver, "lee")).unwrap();
        registry.add(entry(Role::Operator, "lee")).unwrap();
        registry.add(entry(Role::Agent, "lee")).unwrap();
        let twice = registry.add(entry(Role::Approver, "lee")).unwrap_err();
        assert!(matches!(twice, RegistryError::Exists(_)), "{twice}");
        let shared = registry.add(entry(Role::Bridge, "lee")).unwrap_err();
        assert!(matches!(shared, RegistryError::Shared { .. }), "{shared}");
    }

    #[test]
    fn services_stay_and_others_go() {
        let mut registry = Registry::new("acme");
        registry.add(entry(Role::Service, "setup")).unwrap();
        registry.add(entry(Role::Agent, "billing")).unwrap();
        assert!(registry.remove(Role::Service, "setup").is_err());
        assert!(registry.remove(Role::Agent, "crm").is_err());
        registry.remove(Role::Agent, "billing").unwrap();
        assert_eq!(registry.entries().len(), 1);
    }

    #[test]
    fn rotation_changes_the_key_and_nothing_else() {
        let mut registry = Registry::new("acme");
        registry.add(entry(Role::Agent, "a")).unwrap();
        registry.add(entry(Role::Agent, "b")).unwrap();
        let before = registry.clone();
        let key = nkeys::KeyPair::new_user().public_key();
        let old = registry.rotate(Role::Agent, "a", key.clone()).unwrap();
        assert_eq!(before.find(Role::Agent, "a").unwrap(), &old);
        assert_eq!(registry.find(Role::Agent, "a").unwrap().public_key, key);
        assert_eq!(
            registry.find(Role::Agent, "b").unwrap(),
            before.find(Role::Agent, "b").unwrap()
        );
    }

    #[test]
    fn a_registry_that_would_inject_configuration_is_refused() {
        let good = serde_json::to_value({
            let mut registry = Registry::new("acme");
            registry.add(entry(Role::Agent, "a")).unwrap();
            registry
        })
        .unwrap();
        for (pointer, bad) in [
            ("/identities/0/public_key", "U} SYS { users: [{user: x"),
            ("/identities/0/name", "a\" } ]"),
            ("/identities/0/role", "root"),
        ] {
            let mut text = good.clone();
            *text.pointer_mut(pointer).unwrap() = bad.into();
            assert!(
                serde_json::from_value::<Registry>(text).is_err(),
                "{pointer}"
            );
        }
        let mut extra = good;
        extra["identities"][0]["admin"] = true.into();
        assert!(serde_json::from_value::<Registry>(extra).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Registry::load(dir.path()).unwrap_err();
        assert!(missing.to_string().contains(REGISTRY_FILE), "{missing}");
        let path = dir.path().join(REGISTRY_FILE);
        let body = |version: u32, rest: &str| {
            format!("{{\"version\":{version},\"deployment\":\"a\",\"identities\":[]{rest}}}")
        };
        let key = nkeys::KeyPair::new_account().public_key();
        let account = format!(
            "{{\"version\":1,\"deployment\":\"a\",\"identities\":\
             [{{\"role\":\"agent\",\"name\":\"b\",\"public_key\":\"{key}\"}}]}}"
        );
        for (text, words) in [
            (String::new(), "is not a list of identities"),
            ("[]".to_owned(), "is not a list of identities"),
            (body(1, ",\"admins\":[]"), "unknown field `admins`"),
            (body(2, ""), "has version 2, this program knows 1"),
            (body(0, ""), "has version 0"),
            (
                account,
                "the key of `agent-b` is not the public key of a user",
            ),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = Registry::load(dir.path()).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
            assert!(error.contains(REGISTRY_FILE), "{error}");
        }
        std::fs::write(&path, body(1, "")).unwrap();
        assert_eq!(Registry::load(dir.path()).unwrap(), Registry::new("a"));
    }

    #[test]
    fn nobody_is_added_to_a_full_registry_and_rotation_still_works() {
        let mut registry = Registry::new("acme");
        let one = entry(Role::Agent, "a");
        registry.identities = vec![one.clone(); IDENTITIES_MAX - 1];
        registry.add(entry(Role::Agent, "b")).unwrap();
        let full = registry.add(entry(Role::Agent, "c")).unwrap_err();
        assert!(matches!(full, RegistryError::Full), "{full}");
        assert_eq!(registry.entries().len(), IDENTITIES_MAX);
        let key = nkeys::KeyPair::new_user().public_key();
        registry.rotate(Role::Agent, "b", key).unwrap();
    }

    #[test]
    fn an_unknown_name_is_shown_cut_and_without_its_control_characters() {
        let registry = Registry::new("acme");
        let name = format!("\u{1b}[2J{}", "x".repeat(500));
        for error in [
            registry.find(Role::Agent, &name).unwrap_err(),
            registry.clone().remove(Role::Agent, &name).unwrap_err(),
            registry
                .clone()
                .rotate(Role::Agent, &name, String::new())
                .unwrap_err(),
        ] {
            let told = error.to_string();
            assert!(told.starts_with("there is no agent `"), "{told}");
            assert!(!told.contains('\u{1b}') && told.len() < 160, "{told}");
        }
    }
}
