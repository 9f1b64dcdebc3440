//! The client of a bucket: where it speaks to, for how long, and as whom.

use std::io;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::SpawnedReqwestConnector;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::credentials;
use super::error::told;
use super::place::BucketPlace;
use super::wait::handle;

/// How long a store may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long one request may take: a part on a slow line.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);
/// How long a request that fails in passing is repeated: longer than a store throttles in
/// bursts, and short enough that a commit that fails is told and begun anew.
const REPEAT_WITHIN: Duration = Duration::from_secs(30);
/// Longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Makes the client; nothing is sent yet.
pub(super) fn client(place: &BucketPlace) -> io::Result<AmazonS3> {
    // Another part of the program may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let unusable = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let endpoint = place.endpoint(variable).map_err(unusable)?;
    let in_clear = endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    let options = ClientOptions::new()
        .with_allow_http(in_clear)
        .with_connect_timeout(CONNECT_WITHIN)
        .with_timeout(REQUEST_WITHIN);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            max_backoff: PAUSE_MAX,
            ..BackoffConfig::default()
        },
        max_retries: 10,
        retry_timeout: REPEAT_WITHIN,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&place.bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_virtual_hosted_style_request(!place.settings.path_style)
        .with_client_options(options)
        .with_retry(retry)
        .with_http_connector(SpawnedReqwestConnector::new(handle()?.clone()));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = place.region(variable) {
        builder = builder.with_region(region);
    }
    let file = place.settings.credentials_file.as_deref();
    let builder = credentials::give(builder, file, variable).map_err(io::Error::other)?;
    builder.build().map_err(|error| told(&error))
}
