//! An S3 store: how it is reached, and what it really does.
//!
//! What lives here: the connection to a bucket ([`Bucket`]), what goes wrong with it in words that name the setting to
//! change ([`S3Error`]), the calls that objects need, and the [`probe`] that finds out which promises of S3 a store keeps. What
//! does not: what an object is (`objects`).
//!
//! The one invariant to keep: a store is believed for what it was seen to do, never for what it says. Some accept a
//! header and ignore it.

mod calls;
mod error;
pub mod probe;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) use calls::{Precondition, Version};
pub use error::S3Error;

use crate::objects::Crc64;

/// How long a store may take to take a connection, and to answer one request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// What a file of certificates has at least once: one without any would trust nobody, and say so only as a failed connection.
const PEM_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// Stores of one's own know no regions, and take the signature of any.
const ANY_REGION: &str = "us-east-1";

/// Where a bucket is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub bucket: String,
    /// The store's address; none means Amazon's of the region.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// `https://host/bucket/…` in place of `https://bucket.host/…`.
    pub path_style: bool,
    /// Certificates (PEM) to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// None: from the usual chain, which is environment, profile, instance.
    pub credentials: Option<Secret>,
}

/// Credentials for a store. Says nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A bucket that answers.
#[derive(Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// Connects, and asks for the list of nothing: whoever has a bucket has credentials that may use it.
    ///
    /// # Errors
    /// [`S3Error`].
    pub async fn connect(place: &Place) -> Result<Self, S3Error> {
        let bucket = Self { client: client(place).await?, name: place.bucket.clone() };
        let listed = bucket.client.list_objects_v2().bucket(&bucket.name).max_keys(1).send().await;
        listed.map_err(|error| S3Error::of(&error, "listing the bucket"))?;
        Ok(bucket)
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A checksum as S3 writes it: base64 of eight bytes, the highest first.
pub(crate) fn checksum_text(crc: Crc64) -> String {
    STANDARD.encode(crc.0.to_be_bytes())
}

async fn client(place: &Place) -> Result<Client, S3Error> {
    let region = place.region.clone().unwrap_or_else(|| ANY_REGION.to_owned());
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ANSWER_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(
            aws_smithy_http_client::Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .tls_context(trust(place)?)
                .build_https(),
        )
        .region(Region::new(region))
        .timeout_config(timeouts)
        // A repeat after an answer that was lost would look like somebody else's act.
        .retry_config(RetryConfig::disabled());
    if let Some(Secret { access_key, secret_key }) = &place.credentials {
        let known = Credentials::new(access_key, secret_key, None, None, "configuration");
        loader = loader.credentials_provider(known);
    }
    if let Some(endpoint) = &place.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let config = aws_sdk_s3::config::Builder::from(&loader.load().await)
        .force_path_style(place.path_style)
        // Digests are ours to compute: the client's own would hash every byte again.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Ok(Client::from_conf(config))
}

fn trust(place: &Place) -> Result<TlsContext, S3Error> {
    let unusable = |reason: String| S3Error::Authority { reason };
    let store = match &place.ca_file {
        None => TrustStore::default(),
        Some(path) => {
            let named = |what: &dyn fmt::Display| unusable(format!("{}: {what}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|e| named(&e))?;
            if !text.contains(PEM_CERTIFICATE) {
                return Err(named(&"no certificate in it (PEM)"));
            }
            TrustStore::empty().with_pem_certificate(text)
        }
    };
    let context = TlsContext::builder().with_trust_store(store).build();
    context.map_err(|error| unusable(error.to_string()))
}

/// Says nothing of the credentials.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.name)
    }
}
