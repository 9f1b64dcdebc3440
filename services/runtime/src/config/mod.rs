//! The one configuration file, `countersign.toml`.
//!
//! Later sources win: defaults, the file, `COUNTERSIGN_<SECTION>__<KEY>` variables, flags.
//! Unknown keys are errors, values are checked as a whole before anything starts, and
//! relative paths are relative to the file. Secrets stand in files of their own, named
//! here and never held, so that a configuration may be printed.

mod check;
mod documented;
mod error;
mod layers;
mod mandates;
mod sections;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Toml};
use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use layers::NOT_SETTINGS;
pub use mandates::MandateIssuer;
pub use sections::{
    ApprovalCoordinator, Archive, AuditArchiver, AuditQuery, Deployment, EmbeddedNats, Keys,
    LogFormat, Mandates, Nats, Policy, PolicyChecker, Telemetry, ToolExecutor,
};

use documented::write_section;
use layers::Layer;

/// The name of the file in a deployment's directory.
pub const FILE_NAME: &str = "countersign.toml";
/// Below this likeness (Jaro-Winkler) another key is no help.
const LIKENESS_MIN: f64 = 0.7;

/// All settings of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the whole deployment agrees on.
    pub deployment: Deployment,
    /// The NATS servers and our credentials on them.
    pub nats: Nats,
    /// Logs, metrics and traces.
    pub telemetry: Telemetry,
    /// Signing and fingerprint keys.
    pub keys: Keys,
    /// The policy bundle.
    pub policy: Policy,
    /// Mandates.
    pub mandates: Mandates,
    /// The policy checker.
    pub policy_checker: PolicyChecker,
    /// The approval coordinator.
    pub approval_coordinator: ApprovalCoordinator,
    /// The tool executor.
    pub tool_executor: ToolExecutor,
    /// The audit archiver.
    pub audit_archiver: AuditArchiver,
    /// The bucket that the archive lies in.
    pub archive: Archive,
    /// SQL over the archive.
    pub audit_query: AuditQuery,
}

impl Config {
    /// Reads the file and this process's variables.
    ///
    /// # Errors
    /// When the file is missing, a key is unknown or a value cannot be used.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::load_with(file, std::env::vars_os(), &[])
    }

    /// Reads the file, then `variables`, then flags, each `section.key=value`.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_with(
        file: &Path,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let unreadable = |reason: std::io::Error| ConfigError::Unreadable {
            file: file.to_owned(),
            reason: reason.to_string(),
        };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let mut figment = Figment::from(Toml::string(&text));
        for (name, value) in variables {
            let layer = Layer::from_variable(&name.to_string_lossy(), &value.to_string_lossy());
            if let Some(layer) = layer {
                figment = figment.merge(layer?);
            }
        }
        for flag in flags {
            figment = figment.merge(Layer::from_flag(flag)?);
        }
        let mut config: Self = figment.extract().map_err(|error| explain(file, error))?;
        config.resolve(file.parent().unwrap_or(Path::new("")));
        config.checked(file)
    }

    fn checked(self, file: &Path) -> Result<Self, ConfigError> {
        let problems = check::problems(&self);
        if problems.is_empty() {
            return Ok(self);
        }
        Err(ConfigError::Invalid {
            file: file.to_owned(),
            problems,
        })
    }

    /// Makes every relative path relative to `base`.
    fn resolve(&mut self, base: &Path) {
        let fixed = [
            &mut self.nats.creds_dir,
            &mut self.keys.dir,
            &mut self.policy.dir,
            &mut self.tool_executor.spool_dir,
            &mut self.audit_archiver.dir,
            &mut self.audit_archiver.state_file,
        ];
        let embedded = self.nats.embedded.as_mut();
        let embedded = embedded.map(|own| [&mut own.config, &mut own.store_dir]);
        let optional = embedded.into_iter().flatten();
        let issuers = self.mandates.issuers.values_mut();
        for path in fixed
            .into_iter()
            .chain(optional)
            .chain(&mut self.nats.tls_ca)
            .chain(&mut self.audit_archiver.witnesses)
            .chain(&mut self.archive.credentials_file)
            .chain(issuers.filter_map(|issuer| issuer.jwks_file.as_mut()))
        {
            *path = base.join(&*path);
        }
    }

    /// The credential of a service: `creds/service-<name>.creds`.
    #[must_use]
    pub fn service_creds(&self, name: &str) -> PathBuf {
        self.nats.creds_dir.join(format!("service-{name}.creds"))
    }

    /// A file with every setting at its default, each under its documentation.
    #[must_use]
    pub fn example() -> String {
        let mut out = String::from(
            "# Countersign: every setting with its default. Generated; a test compares it with\n\
             # the program. Relative paths are relative to this file. A variable\n\
             # COUNTERSIGN_<SECTION>__<KEY> overrides a setting, a flag overrides both.\n\n",
        );
        write_section::<Deployment>("deployment", false, &mut out);
        write_section::<Nats>("nats", false, &mut out);
        write_section::<EmbeddedNats>("nats.embedded", true, &mut out);
        write_section::<Telemetry>("telemetry", false, &mut out);
        write_section::<Keys>("keys", false, &mut out);
        write_section::<Policy>("policy", false, &mut out);
        write_section::<Mandates>("mandates", false, &mut out);
        write_section::<PolicyChecker>("policy_checker", false, &mut out);
        write_section::<ApprovalCoordinator>("approval_coordinator", false, &mut out);
        write_section::<ToolExecutor>("tool_executor", false, &mut out);
        write_section::<AuditArchiver>("audit_archiver", false, &mut out);
        write_section::<Archive>("archive", false, &mut out);
        write_section::<AuditQuery>("audit_query", false, &mut out);
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

impl fmt::Display for Config {
    /// The settings in force, as TOML. They hold no secret: see the module's head.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Names file, key and, for an unknown key, the nearest known one.
fn explain(file: &Path, error: figment::Error) -> ConfigError {
    // Our own layers name themselves; everything else comes from the file's text.
    let origin = error
        .metadata
        .as_ref()
        .map(|metadata| metadata.name.as_ref())
        .filter(|name| name.starts_with("variable ") || name.starts_with("flag "))
        .map_or_else(|| file.display().to_string(), str::to_owned);
    let path = error.path.join(".");
    match error.kind {
        Kind::UnknownField(field, known) => {
            let parent = parent_of(&path, &field);
            ConfigError::UnknownKey {
                nearest: nearest(&field, known).map(|key| join(parent, key)),
                key: join(parent, &shown(&field)),
                origin,
            }
        }
        kind => ConfigError::BadValue {
            origin,
            key: path,
            reason: one_line(&kind.to_string()),
        },
    }
}

/// The words of a parser's message without its drawing of the place.
fn one_line(message: &str) -> String {
    let words = message.lines().filter(|line| !line.contains('|'));
    words.map(str::trim).collect::<Vec<_>>().join(": ")
}

fn nearest(field: &str, known: &'static [&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(field, key), *key))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

/// The section of an unknown key: some formats report it with the key, some without.
fn parent_of<'a>(path: &'a str, field: &str) -> &'a str {
    match path.strip_suffix(field) {
        Some(parent) => parent.trim_end_matches('.'),
        None => path,
    }
}

fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
