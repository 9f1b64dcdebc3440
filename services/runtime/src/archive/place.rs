//! Where an archive lies.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::http::Uri;
use object_store::path::Path as ObjectPath;

use crate::config::{Archive, Config};

/// What the URL of a bucket begins with.
const SCHEME: &str = "s3://";
/// Longest name of a bucket: what any store takes is shorter.
const BUCKET_CHARS_MAX: usize = 255;

/// Where an archive lies: a directory of this machine, or a prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    Dir(PathBuf),
    /// A bucket of an S3-compatible store.
    Bucket(BucketPlace),
}

/// A prefix of a bucket, and how to reach it. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlace {
    pub(super) bucket: String,
    pub(super) prefix: ObjectPath,
    pub(super) settings: Archive,
}

/// A place that cannot be one of an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The URL is not one of a bucket.
    #[error("`{0}` is no place of an archive: write s3://bucket/prefix")]
    Url(String),
    /// The store would be spoken to in clear over a network.
    #[error(
        "the store's endpoint `{0}` would be spoken to in clear: use https://, or set \
         `archive.allow_http` where the network is your own"
    )]
    InClear(String),
    /// A URL with a password in it would be printed.
    #[error(
        "the place of an archive and its endpoint must not hold a user or password: name them in \
         `archive.credentials_file`, or in the standard variables"
    )]
    User,
    /// The endpoint is no URL of a host.
    #[error("the store's endpoint `{0}` is not a URL such as https://host:port")]
    Endpoint(String),
}

impl Place {
    /// Where the archive of a deployment lies.
    ///
    /// # Errors
    /// When the configured URL is none of a bucket.
    pub fn of(config: &Config) -> Result<Self, PlaceError> {
        match &config.archive.url {
            Some(url) => Ok(Self::Bucket(BucketPlace::new(url, &config.archive)?)),
            None => Ok(Self::Dir(config.audit_archiver.dir.clone())),
        }
    }

    /// The place that somebody named on the command line: a directory or a URL, reached as
    /// `settings` say.
    ///
    /// # Errors
    /// When it begins like a URL of a bucket and is none.
    pub fn named(name: &Path, settings: &Archive) -> Result<Self, PlaceError> {
        match name.to_str().filter(|name| name.starts_with(SCHEME)) {
            Some(url) => Ok(Self::Bucket(BucketPlace::new(url, settings)?)),
            None => Ok(Self::Dir(name.to_owned())),
        }
    }

    /// The directory, if it is one.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Dir(dir) => Some(dir),
            Self::Bucket(_) => None,
        }
    }

    /// Whether both are the same place, whatever they are called.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dir(one), Self::Dir(other)) => {
                one.canonicalize().ok() == other.canonicalize().ok()
            }
            (Self::Bucket(one), Self::Bucket(other)) => {
                (&one.bucket, &one.prefix) == (&other.bucket, &other.prefix)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(dir) => dir.display().fmt(f),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl From<PathBuf> for Place {
    fn from(dir: PathBuf) -> Self {
        Self::Dir(dir)
    }
}

impl From<&PathBuf> for Place {
    fn from(dir: &PathBuf) -> Self {
        Self::Dir(dir.clone())
    }
}

impl From<&Path> for Place {
    fn from(dir: &Path) -> Self {
        Self::Dir(dir.to_owned())
    }
}

impl From<&Self> for Place {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

impl BucketPlace {
    /// Reads `s3://bucket/prefix`.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(url: &str, settings: &Archive) -> Result<Self, PlaceError> {
        if url.contains('@') {
            return Err(PlaceError::User);
        }
        let fail = || PlaceError::Url(url.to_owned());
        let rest = url.strip_prefix(SCHEME).ok_or_else(fail)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let known = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if bucket.is_empty() || bucket.len() > BUCKET_CHARS_MAX || !bucket.chars().all(known) {
            return Err(fail());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-=/".contains(c);
        if !prefix.chars().all(plain) {
            return Err(fail());
        }
        let prefix = ObjectPath::parse(prefix.trim_end_matches('/')).map_err(|_| fail())?;
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix,
            settings: settings.clone(),
        })
    }

    /// The endpoint with the bucket where it belongs; `None` for that of AWS itself.
    pub(super) fn endpoint(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, PlaceError> {
        let named = self.settings.endpoint.clone();
        let named = named.or_else(|| variable("AWS_ENDPOINT_URL_S3"));
        let Some(endpoint) = named.or_else(|| variable("AWS_ENDPOINT_URL")) else {
            return Ok(None);
        };
        check_endpoint(&endpoint, self.settings.allow_http)?;
        if self.settings.path_style {
            return Ok(Some(endpoint));
        }
        let (scheme, rest) = endpoint
            .split_once("://")
            .ok_or_else(|| PlaceError::Endpoint(endpoint.clone()))?;
        Ok(Some(format!("{scheme}://{}.{rest}", self.bucket)))
    }

    /// Where the store's requests are signed for.
    pub(super) fn region(&self, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        let named = self.settings.region.clone();
        named
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
    }
}

impl fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        match self.prefix.as_ref() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

/// Whether a store may be spoken to there.
///
/// # Errors
/// When it is no URL of a host, or in clear over a network without leave.
pub(crate) fn check_endpoint(endpoint: &str, allow_http: bool) -> Result<(), PlaceError> {
    if endpoint.contains('@') {
        return Err(PlaceError::User);
    }
    let fail = || PlaceError::Endpoint(endpoint.to_owned());
    let uri: Uri = endpoint.parse().map_err(|_| fail())?;
    let host = uri.host().ok_or_else(fail)?;
    // The bucket comes right after the host.
    if uri.path() != "/" || uri.query().is_some() {
        return Err(fail());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if loopback || allow_http => Ok(()),
        Some("http") => Err(PlaceError::InClear(endpoint.to_owned())),
        _ => Err(fail()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(url: &str) -> Result<BucketPlace, PlaceError> {
        BucketPlace::new(url, &Archive::default())
    }

    #[test]
    fn urls_of_buckets_and_nothing_else() {
        for (url, told) in [
            ("s3://audit", "s3://audit"),
            ("s3://audit/", "s3://audit"),
            ("s3://audit/acme/archive/", "s3://audit/acme/archive"),
        ] {
            assert_eq!(bucket(url).unwrap().to_string(), told);
        }
        for bad in [
            "",
            "s3://",
            "s3:///x",
            "S3://audit",
            "http://audit/x",
            "s3://au dit/x",
            "s3://audit/a//b",
            "s3://audit/../b",
            "s3://audit/a?versionId=1",
        ] {
            let error = bucket(bad).unwrap_err();
            assert!(error.to_string().contains("s3://bucket/prefix"), "{bad}");
        }
    }

    #[test]
    fn a_name_is_a_directory_unless_it_begins_as_a_url() {
        let settings = Archive::default();
        let dir = Place::named(Path::new("audit/x"), &settings).unwrap();
        assert_eq!(dir.dir(), Some(Path::new("audit/x")));
        let place = Place::named(Path::new("s3://audit/x"), &settings).unwrap();
        assert_eq!(
            (place.dir(), place.to_string().as_str()),
            (None, "s3://audit/x")
        );
        assert!(place.is_same(&place) && !place.is_same(&dir));
        assert!(Place::named(Path::new("s3://"), &settings).is_err());
    }

    #[test]
    fn nothing_is_sent_in_clear_over_a_network_without_leave() {
        for good in [
            "https://s3.example.com",
            "http://localhost:9000",
            "http://127.0.0.1:5000/",
            "http://[::1]:5000",
        ] {
            assert_eq!(check_endpoint(good, false), Ok(()), "{good}");
        }
        let store = "http://store.internal:9000";
        let error = check_endpoint(store, false).unwrap_err().to_string();
        assert!(error.contains("archive.allow_http"), "{error}");
        assert_eq!(check_endpoint(store, true), Ok(()));
        for bad in [
            "",
            "store:9000",
            "ftp://store",
            "https://store/path",
            "http://localhost.example.com:1?x",
        ] {
            assert!(check_endpoint(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_told() {
        let (word, settings) = ("s3cret", Archive::default());
        let url = format!("s3://key:{word}@audit/x");
        let place = BucketPlace::new(&url, &settings).unwrap_err();
        let endpoint = check_endpoint(&format!("https://key:{word}@store"), true).unwrap_err();
        for error in [place, endpoint] {
            assert_eq!(error, PlaceError::User);
            assert!(!error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn settings_come_before_the_standard_variables() {
        let variable = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("https://any.example.com".to_owned()),
            "AWS_ENDPOINT_URL_S3" => Some("https://s3.example.com".to_owned()),
            "AWS_DEFAULT_REGION" => Some("eu-west-1".to_owned()),
            _ => None,
        };
        let mut place = bucket("s3://audit/x").unwrap();
        assert_eq!(place.endpoint(|_| None), Ok(None));
        let of_s3 = Some("https://s3.example.com".to_owned());
        assert_eq!(place.endpoint(variable), Ok(of_s3));
        assert_eq!(place.region(variable).as_deref(), Some("eu-west-1"));
        place.settings.endpoint = Some("https://own.example.com:9000".to_owned());
        place.settings.region = Some("here".to_owned());
        place.settings.path_style = false;
        let own = Some("https://audit.own.example.com:9000".to_owned());
        assert_eq!(place.endpoint(variable), Ok(own));
        assert_eq!(place.region(variable).as_deref(), Some("here"));
    }
}
