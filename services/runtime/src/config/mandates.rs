//! Who may give mandates, as the settings name them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use countersign_domain::mandate::Algorithm;
use serde::{Deserialize, Serialize};

use super::Mandates;
use super::check::Problems;

/// Issuers: each is asked for its keys now and again, one after the other.
const ISSUERS_MAX: usize = 100;
/// Characters of `issuer` and `audience`: they are compared for every mandate.
const NAME_CHARS_MAX: usize = 512;
/// Hosts that plain HTTP may reach: what is on the way to others could swap the keys.
const OWN_HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Somebody who may give mandates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MandateIssuer {
    /// The claim `iss` of its mandates.
    pub issuer: String,
    /// The claim `aud` of its mandates for this deployment.
    pub audience: String,
    /// Its keys as a JWKS in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Its keys as a JWKS at an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// How it may sign.
    #[serde(default = "every_algorithm")]
    pub algorithms: Vec<Algorithm>,
}

fn every_algorithm() -> Vec<Algorithm> {
    Algorithm::ALL.to_vec()
}

/// Notes what is wrong with the settings of mandates.
pub(super) fn check(mandates: &Mandates, found: &mut Problems) {
    found.range("mandates.refresh_s", mandates.refresh_s, 30..=86_400);
    if mandates.issuers.len() > ISSUERS_MAX {
        found.add("mandates.issuers", "must be 100 at most");
    }
    let mut named = BTreeSet::new();
    for (name, issuer) in &mandates.issuers {
        let key = format!("mandates.issuers.{}", name.escape_debug());
        check_issuer(issuer, &key, found);
        if !named.insert(&issuer.issuer) {
            found.add(&key, "has an `issuer` that is named twice");
        }
    }
}

fn check_issuer(issuer: &MandateIssuer, key: &str, found: &mut Problems) {
    for (part, text) in [("issuer", &issuer.issuer), ("audience", &issuer.audience)] {
        if !(1..=NAME_CHARS_MAX).contains(&text.chars().count()) {
            found.add(&format!("{key}.{part}"), "must have 1 to 512 characters");
        }
    }
    if issuer.algorithms.is_empty() {
        found.add(
            &format!("{key}.algorithms"),
            "must name at least one algorithm",
        );
    }
    match (&issuer.jwks_file, &issuer.jwks_url) {
        (Some(_), None) => {}
        (None, Some(url)) => check_url(url, &format!("{key}.jwks_url"), found),
        (Some(_), Some(_)) | (None, None) => {
            found.add(key, "must have one of `jwks_file` and `jwks_url`");
        }
    }
}

fn check_url(url: &str, key: &str, found: &mut Problems) {
    found.url(key, url, &["https", "http"]);
    let Some(rest) = url.strip_prefix("http://") else {
        return;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let own = OWN_HOSTS.iter().any(|host| {
        let port = authority.strip_prefix(host);
        port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
    });
    if !own || authority.contains('@') {
        found.add(
            key,
            "must begin with https://, but for an address of this machine",
        );
    }
}
