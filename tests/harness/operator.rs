//! The operator-mode variant of a deployment: the accounts and permissions that `init`
//! wrote, as JWTs. Each role signs its users with a scoped key, so a user's own JWT says
//! nothing but a name.
//!
//! Everything is derived from [`Permissions`] and [`crossings`]; only the form is made here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_runtime::identity::{
    Account, Crossing, Deployment, Permissions, Principal, Role, crossings,
};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Where the server puts the name of the user's JWT.
pub const NAME: &str = "{{name()}}";
/// A name that no identity has, and that stands in no subject of the contract.
const NOBODY: &str = "nobody-of-this-name";
/// How long an answer may take, in nanoseconds: 65 minutes, as in accounts.conf.
const RESPONSE_NANOS: u64 = 65 * 60 * 1_000_000_000;

/// The JWT of a credentials file, where it is one, and the seed.
///
/// # Panics
/// When the file is cut off.
#[must_use]
pub fn parts(credential: &str) -> (Option<&str>, &str) {
    let mut lines = credential.lines().map(str::trim);
    if !credential.contains("BEGIN NATS USER JWT") {
        return (None, credential.trim());
    }
    let mut after = |mark: &str| {
        lines.find(|line| line.contains(mark)).expect("a mark");
        lines.next().expect("a part behind its mark")
    };
    (Some(after("BEGIN NATS USER JWT")), after("BEGIN USER NKEY"))
}

/// A JWT in the form that nats-server reads.
#[must_use]
pub fn encode(claims: &Value, signer: &KeyPair) -> String {
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(claims));
    let signature = signer.sign(text.as_bytes()).expect("a key signs");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Seconds since 1970, now.
#[must_use]
pub fn now() -> i64 {
    SystemClock.now().seconds()
}

/// What a template says for `principal`: its permissions, and where its role is the same
/// for everybody, with the name left to the server.
///
/// # Panics
/// When the permissions of a role depend on a name in another way than by holding it.
#[must_use]
pub fn template(principal: &Principal) -> Permissions {
    let role = principal.role();
    match role {
        Role::Agent | Role::Approver | Role::Operator => {}
        Role::Service | Role::Worker | Role::Bridge => return Permissions::of(principal),
    }
    let of = |name: &str| {
        let named = Principal::new(role, name, [].into(), [].into()).expect("a name");
        Permissions::of(&named)
    };
    let filled = |subjects: Vec<String>| -> Vec<String> {
        let filled = subjects.iter().map(|text| text.replace(NOBODY, NAME));
        filled.collect()
    };
    let Permissions {
        publish,
        publish_deny,
        subscribe,
        responses,
    } = of(NOBODY);
    let template = Permissions {
        publish: filled(publish),
        publish_deny: filled(publish_deny),
        subscribe: filled(subscribe),
        responses,
    };
    let again = |subjects: &[String]| -> Vec<String> {
        let named = subjects
            .iter()
            .map(|text| text.replace(NAME, principal.name()));
        named.collect()
    };
    assert_eq!(again(&template.publish), of(principal.name()).publish);
    assert_eq!(again(&template.subscribe), of(principal.name()).subscribe);
    template
}

/// Permissions as a user's JWT or a template states them.
#[must_use]
pub fn claims(grants: &Permissions) -> Value {
    // An empty list of allowed subjects would mean "everything" to the server.
    let deny = match grants.publish.is_empty() {
        true => vec![">".to_owned()],
        false => grants.publish_deny.clone(),
    };
    let mut claims = json!({
        "pub": {}, "sub": {"allow": grants.subscribe}, "subs": -1, "data": -1, "payload": -1,
    });
    for (word, subjects) in [("allow", &grants.publish), ("deny", &deny)] {
        if !subjects.is_empty() {
            claims["pub"][word] = json!(subjects);
        }
    }
    if grants.responses {
        claims["resp"] = json!({"max": 1, "ttl": RESPONSE_NANOS});
    }
    claims
}

/// Who shares a signing key: people and agents by role, the others each with one.
fn scope(principal: &Principal) -> String {
    match principal.role() {
        role @ (Role::Agent | Role::Approver | Role::Operator) => role.to_string(),
        Role::Service | Role::Worker | Role::Bridge => principal.to_string(),
    }
}

/// A signing key, and what its users may do.
struct Scope {
    account: Account,
    grants: Permissions,
    /// The newest last; all of them are in force.
    keys: Vec<KeyPair>,
}

/// The keys of an operator and its accounts, and the file that says what is in force.
pub struct Operator {
    key: KeyPair,
    /// A running server keeps the operator it was started with, to the byte.
    jwt: String,
    accounts: BTreeMap<Account, KeyPair>,
    scopes: BTreeMap<String, Scope>,
    revoked: Vec<String>,
    path: PathBuf,
}

impl Operator {
    /// Turns the deployment in `files` into one in operator mode, before its server starts:
    /// `operator.conf` stands in place of `accounts.conf`, and each credential becomes a
    /// NATS credentials file.
    ///
    /// # Panics
    /// When a file cannot be read or written.
    #[must_use]
    pub fn install(files: &Deployment) -> Self {
        let conf = std::fs::read_to_string(files.server_conf()).expect("init wrote it");
        let (from, to) = ("include \"accounts.conf\"", "include \"operator.conf\"");
        assert!(conf.contains(from));
        std::fs::write(files.server_conf(), conf.replace(from, to)).expect("a file");
        let key = KeyPair::new_operator();
        let claims = json!({
            "iss": key.public_key(), "sub": key.public_key(), "name": "acme",
            "iat": now(), "jti": "operator",
            "nats": {"type": "operator", "version": 2},
        });
        let mut operator = Self {
            jwt: encode(&claims, &key),
            key,
            accounts: Account::ALL
                .map(|account| (account, KeyPair::new_account()))
                .into(),
            scopes: BTreeMap::new(),
            revoked: Vec::new(),
            path: files.server_conf().with_file_name("operator.conf"),
        };
        let registry = files.registry().expect("init wrote it");
        for entry in registry.entries() {
            let who = &entry.principal;
            operator.scopes.entry(scope(who)).or_insert_with(|| Scope {
                account: who.account(),
                grants: template(who),
                keys: vec![KeyPair::new_account()],
            });
            let seed = files.seed(who).expect("a file").expect("init wrote it");
            let user = KeyPair::from_seed(&seed).expect("a seed");
            let creds = operator.credential(&user, &operator.name_only(who, &user));
            std::fs::write(files.creds(who), creds).expect("a file");
        }
        operator.write();
        operator
    }

    /// The claims of a user's JWT that says nothing but its name.
    ///
    /// # Panics
    /// When no identity of this role was there at the start.
    #[must_use]
    pub fn name_only(&self, who: &Principal, user: &KeyPair) -> Value {
        self.signed_by(self.signing_key(who), who, user)
    }

    /// The same with another issuer.
    #[must_use]
    pub fn signed_by(&self, issuer: &KeyPair, who: &Principal, user: &KeyPair) -> Value {
        json!({
            "iss": issuer.public_key(), "sub": user.public_key(), "name": who.name(),
            "iat": now(), "jti": user.public_key(),
            "nats": {
                "issuer_account": self.account(who.account()).public_key(),
                "type": "user", "version": 2,
            },
        })
    }

    /// A credentials file with `claims`, signed by the key that they name as their issuer.
    ///
    /// # Panics
    /// When that is none of ours.
    #[must_use]
    pub fn credential(&self, user: &KeyPair, claims: &Value) -> String {
        let issuer = claims["iss"].as_str().expect("an issuer");
        let signer = self
            .scopes
            .values()
            .flat_map(|scope| &scope.keys)
            .chain(self.accounts.values())
            .find(|key| key.public_key() == issuer)
            .expect("one of our keys");
        Self::credential_signed(user, claims, signer)
    }

    /// The same, signed by any key.
    ///
    /// # Panics
    /// When the user's key has no seed.
    #[must_use]
    pub fn credential_signed(user: &KeyPair, claims: &Value, signer: &KeyPair) -> String {
        let seed = user.seed().expect("a seed");
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n",
            encode(claims, signer)
        )
    }

    /// The newest key that signs identities like `who`.
    ///
    /// # Panics
    /// When no identity of this role was there at the start.
    #[must_use]
    pub fn signing_key(&self, who: &Principal) -> &KeyPair {
        let scope = self.scopes.get(&scope(who)).expect("a role with a key");
        scope.keys.last().expect("a key in force")
    }

    /// The identity key of an account.
    ///
    /// # Panics
    /// Never: every account has one.
    #[must_use]
    pub fn account(&self, account: Account) -> &KeyPair {
        self.accounts.get(&account).expect("every account")
    }

    /// Revokes every JWT of a user that was issued until now.
    pub fn revoke(&mut self, user: &str) {
        self.revoked.push(user.to_owned());
        self.write();
    }

    /// Puts a new signing key beside those that sign identities like `who`.
    ///
    /// # Panics
    /// When no identity of this role was there at the start.
    pub fn add_signing_key(&mut self, who: &Principal) {
        let scope = self.scopes.get_mut(&scope(who)).expect("a role with a key");
        scope.keys.push(KeyPair::new_account());
        self.write();
    }

    /// Takes out all but the newest of them.
    ///
    /// # Panics
    /// When no identity of this role was there at the start.
    pub fn drop_old_signing_keys(&mut self, who: &Principal) {
        let scope = self.scopes.get_mut(&scope(who)).expect("a role with a key");
        scope.keys.drain(..scope.keys.len() - 1);
        self.write();
    }

    fn write(&self) {
        let mut text = format!("operator: {}\n", self.jwt);
        let system = self.account(Account::Sys).public_key();
        writeln!(text, "system_account: {system}\nresolver: MEMORY").expect("a String");
        writeln!(text, "resolver_preload: {{").expect("a String");
        for account in Account::ALL {
            let key = self.account(account).public_key();
            let jwt = encode(&self.account_claims(account), &self.key);
            writeln!(text, "  {key}: {jwt}").expect("a String");
        }
        text.push_str("}\n");
        std::fs::write(&self.path, text).expect("a file");
    }

    fn account_claims(&self, account: Account) -> Value {
        let mut limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1, "disallow_bearer": true,
        });
        if account == Account::Core {
            for word in ["mem_storage", "disk_storage", "streams", "consumer"] {
                limits[word] = json!(-1);
            }
        }
        let others = || Account::ALL.into_iter();
        let exports = others().flat_map(|importer| crossings(account, importer).iter().map(export));
        let imports = others().flat_map(|exporter| {
            let offered = crossings(exporter, account).iter();
            offered.map(move |crossing| self.import(exporter, account, crossing))
        });
        let revoked = self.revoked.iter().map(|user| (user.clone(), json!(now())));
        json!({
            "iss": self.key.public_key(), "sub": self.account(account).public_key(),
            "name": account.name(), "iat": now(), "jti": account.name(),
            "nats": {
                "limits": limits,
                "exports": exports.collect::<Vec<Value>>(),
                "imports": imports.collect::<Vec<Value>>(),
                "signing_keys": self.signing_keys(account),
                "revocations": revoked.collect::<serde_json::Map<_, _>>(),
                // A user that no template speaks for may do nothing.
                "default_permissions": {"pub": {"deny": [">"]}, "sub": {"deny": [">"]}},
                "type": "account", "version": 2,
            },
        })
    }

    fn signing_keys(&self, account: Account) -> Vec<Value> {
        let ours = self.scopes.iter().filter(|(_, s)| s.account == account);
        let keys = ours.flat_map(|(role, scope)| {
            scope.keys.iter().map(move |key| {
                json!({
                    "kind": "user_scope", "key": key.public_key(), "role": role,
                    "template": claims(&scope.grants),
                })
            })
        });
        keys.collect()
    }

    /// An import with the exporter's token for this importer and no other.
    fn import(&self, exporter: Account, importer: Account, crossing: &Crossing) -> Value {
        let (subject, kind) = offered(crossing);
        let activation = json!({
            "iss": self.account(exporter).public_key(),
            "sub": self.account(importer).public_key(),
            "name": subject, "iat": now(), "jti": subject,
            "nats": {"subject": subject, "kind": kind, "type": "activation", "version": 2},
        });
        let mut import = json!({
            "name": subject, "subject": subject, "type": kind,
            "account": self.account(exporter).public_key(),
            "token": encode(&activation, self.account(exporter)),
        });
        if let Crossing::Stored(local) = crossing {
            import["local_subject"] = json!(local);
        }
        import
    }
}

/// The subject under which something crosses, and whether it is a service or a stream.
fn offered(crossing: &Crossing) -> (String, &'static str) {
    match crossing {
        Crossing::Service(subject) | Crossing::Many(subject) => ((*subject).to_owned(), "service"),
        Crossing::Stored(subject) => (format!("out.{subject}"), "stream"),
    }
}

/// An export that nobody imports without a token.
fn export(crossing: &Crossing) -> Value {
    let (subject, kind) = offered(crossing);
    let mut export = json!({
        "name": subject, "subject": subject, "type": kind, "token_req": true,
    });
    match crossing {
        Crossing::Service(_) => export["response_type"] = json!("Singleton"),
        Crossing::Many(_) => export["response_type"] = json!("Stream"),
        Crossing::Stored(_) => {}
    }
    export
}
