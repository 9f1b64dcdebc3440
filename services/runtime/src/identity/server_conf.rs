//! The text of the server's configuration: `server.conf`, made once and then the
//! operator's own, and `accounts.conf`, rewritten at every change of identities.

use std::fmt::Write as _;
use std::path::PathBuf;

use countersign_schemas::limits::SERVER_PAYLOAD_BYTES_MAX;

use super::crossings::{Crossing, crossings};
use super::permissions::Permissions;
use super::principal::Account;
use super::registry::{Entry, Registry};

/// How long an answer may take: far longer than the five minutes that a tool may run.
const RESPONSE_EXPIRES: &str = "65m";

/// TLS of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate chain, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authority that signed the other side, PEM.
    pub ca: PathBuf,
}

/// How a server finds the others of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's name.
    pub name: String,
    /// Where this server listens for the others, `host:port`.
    pub listen: String,
    /// Where all of them listen, `host:port`.
    pub routes: Vec<String>,
    /// TLS between the servers.
    pub tls: Option<Tls>,
}

/// One server's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConf {
    /// The server's name, unique in its cluster.
    pub name: String,
    /// Where clients connect, `host:port`.
    pub listen: String,
    /// Where JetStream keeps its files.
    pub store_dir: PathBuf,
    /// TLS for clients.
    pub tls: Option<Tls>,
    /// The cluster; a server alone syncs every write instead.
    pub cluster: Option<Cluster>,
    /// Name of the environment variable with the key that encrypts files at rest.
    pub encryption_key_env: Option<String>,
}

impl ServerConf {
    /// The text of `server.conf`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        out.push_str(
            "# One nats-server of a Countersign deployment. Yours to edit: identities are in\n\
             # accounts.conf, which `countersign identity` rewrites and reloads.\n\n",
        );
        line(&mut out, &format!("server_name: {}", quoted(&self.name)));
        line(&mut out, &format!("listen: {}", quoted(&self.listen)));
        out.push_str(
            "\n# Larger than what a stream stores: a body that is too big is then answered in\n\
             # words by the stream instead of by a closed connection.\n",
        );
        line(
            &mut out,
            &format!("max_payload: {SERVER_PAYLOAD_BYTES_MAX}"),
        );
        out.push('\n');
        self.render_jetstream(&mut out);
        if let Some(tls) = &self.tls {
            out.push('\n');
            render_tls(&mut out, tls, "", false);
        }
        if let Some(cluster) = &self.cluster {
            out.push('\n');
            render_cluster(&mut out, cluster);
        }
        out.push_str("\ninclude \"accounts.conf\"\n");
        out
    }

    fn render_jetstream(&self, out: &mut String) {
        line(out, "jetstream {");
        let store = quoted(&self.store_dir.display().to_string());
        line(out, &format!("  store_dir: {store}"));
        if self.cluster.is_none() {
            line(
                out,
                "  # One server: an acknowledged message must be on disk. The default syncs every\n  \
                 # two minutes and would lose what was acknowledged since.",
            );
            line(out, "  sync_interval: always");
        }
        if let Some(variable) = &self.encryption_key_env {
            line(
                out,
                "  # Files at rest are encrypted with the key in this environment variable.",
            );
            line(out, "  cipher: chachapoly");
            line(out, &format!("  key: ${variable}"));
        }
        line(out, "}");
    }
}

fn render_cluster(out: &mut String, cluster: &Cluster) {
    line(out, "cluster {");
    line(out, &format!("  name: {}", quoted(&cluster.name)));
    line(out, &format!("  listen: {}", quoted(&cluster.listen)));
    line(out, "  routes: [");
    for route in &cluster.routes {
        line(
            out,
            &format!("    {}", quoted(&format!("nats-route://{route}"))),
        );
    }
    line(out, "  ]");
    if let Some(tls) = &cluster.tls {
        render_tls(out, tls, "  ", true);
    }
    line(out, "}");
}

fn render_tls(out: &mut String, tls: &Tls, indent: &str, verify: bool) {
    line(out, &format!("{indent}tls {{"));
    let parts = [
        ("cert_file", &tls.cert),
        ("key_file", &tls.key),
        ("ca_file", &tls.ca),
    ];
    for (word, path) in parts {
        let path = quoted(&path.display().to_string());
        line(out, &format!("{indent}  {word}: {path}"));
    }
    if verify {
        line(out, &format!("{indent}  verify: true"));
    }
    line(out, &format!("{indent}}}"));
}

/// The text of `accounts.conf`: every account, what crosses between them, and one user
/// for each identity.
#[must_use]
pub fn render_accounts(registry: &Registry) -> String {
    let mut out = String::from(
        "# Written by `countersign identity`; changes made by hand are lost at the next change.\n\
         # A user may do what is listed and nothing else. Nothing crosses between accounts but\n\
         # what is exported here, to the accounts named.\n\n",
    );
    line(&mut out, &format!("system_account: {}", Account::Sys));
    line(&mut out, "accounts {");
    for account in Account::ALL {
        render_account(&mut out, account, registry);
    }
    line(&mut out, "}");
    out
}

fn render_account(out: &mut String, account: Account, registry: &Registry) {
    line(out, &format!("  {account} {{"));
    if account == Account::Core {
        line(out, "    jetstream: enabled");
    }
    render_exports(out, account);
    render_imports(out, account);
    line(out, "    users: [");
    for entry in registry.in_account(account) {
        render_user(out, entry);
    }
    line(out, "    ]");
    line(out, "  }");
}

fn render_exports(out: &mut String, exporter: Account) {
    let exports: Vec<String> = Account::ALL
        .into_iter()
        .flat_map(|importer| {
            crossings(exporter, importer)
                .iter()
                .map(move |crossing| match crossing {
                    Crossing::Service(subject) => {
                        format!("{{service: {}, accounts: [{importer}]}}", quoted(subject))
                    }
                    Crossing::Many(subject) => format!(
                        "{{service: {}, response_type: stream, accounts: [{importer}]}}",
                        quoted(subject)
                    ),
                    Crossing::Stored(subject) => format!(
                        "{{stream: {}, accounts: [{importer}]}}",
                        quoted(&format!("out.{subject}"))
                    ),
                })
        })
        .collect();
    render_list(out, "exports", &exports);
}

fn render_imports(out: &mut String, importer: Account) {
    let imports: Vec<String> = Account::ALL
        .into_iter()
        .flat_map(|exporter| {
            crossings(exporter, importer)
                .iter()
                .map(move |crossing| match crossing {
                    Crossing::Service(subject) | Crossing::Many(subject) => format!(
                        "{{service: {{account: {exporter}, subject: {}}}}}",
                        quoted(subject)
                    ),
                    Crossing::Stored(subject) => format!(
                        "{{stream: {{account: {exporter}, subject: {}}}, to: {}}}",
                        quoted(&format!("out.{subject}")),
                        quoted(subject)
                    ),
                })
        })
        .collect();
    render_list(out, "imports", &imports);
}

fn render_list(out: &mut String, word: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    line(out, &format!("    {word}: ["));
    for item in items {
        line(out, &format!("      {item}"));
    }
    line(out, "    ]");
}

fn render_user(out: &mut String, entry: &Entry) {
    let grants = Permissions::of(&entry.principal);
    line(out, &format!("      # {}", entry.principal));
    line(
        out,
        &format!("      {{nkey: {}, permissions: {{", entry.public_key),
    );
    // An empty list of allowed subjects would mean "everything" to the server.
    let deny_all = [">".to_owned()];
    let deny = if grants.publish.is_empty() {
        &deny_all[..]
    } else {
        &grants.publish_deny
    };
    line(out, "        publish: {");
    render_subjects(out, "allow", &grants.publish);
    render_subjects(out, "deny", deny);
    line(out, "        }");
    line(out, "        subscribe: {");
    render_subjects(out, "allow", &grants.subscribe);
    line(out, "        }");
    if grants.responses {
        line(
            out,
            &format!("        allow_responses: {{max: 1, expires: \"{RESPONSE_EXPIRES}\"}}"),
        );
    }
    line(out, "      }}");
}

fn render_subjects(out: &mut String, word: &str, subjects: &[String]) {
    if subjects.is_empty() {
        return;
    }
    line(out, &format!("          {word}: ["));
    for subject in subjects {
        line(out, &format!("            {}", quoted(subject)));
    }
    line(out, "          ]");
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    writeln!(out, "{text}").ok();
}

/// A string of the server's configuration language. Subjects and names are tokens; paths
/// may hold anything.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests;
