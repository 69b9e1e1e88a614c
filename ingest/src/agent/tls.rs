//! TLS to the server: whose certificates are trusted, and the one implementation of its arithmetic.

use std::error::Error;
use std::io;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder};

use super::error::AgentError;
use super::retry::Trouble;

/// Chooses ring for every TLS connection of this process. Call it before the first HTTP client is made; again is harmless.
pub fn choose_tls() {
    // Refused when it was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Trusts the certificates in `ca_file` (PEM) and no others; without one, those that the system trusts.
pub(super) fn trusting(
    builder: ClientBuilder,
    ca_file: Option<&Path>,
) -> Result<ClientBuilder, AgentError> {
    let Some(file) = ca_file else { return Ok(builder) };
    let bad = |reason: &dyn std::fmt::Display| AgentError::Setting {
        setting: "ca-file",
        reason: format!("{}: {reason}", file.display()),
    };
    let pem = std::fs::read(file).map_err(|e| bad(&e))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| bad(&e))?;
    if certificates.is_empty() {
        return Err(bad(&"it holds no certificate in PEM"));
    }
    Ok(builder.tls_certs_only(certificates))
}

/// The trouble with the server's certificate, if that is why a request failed.
pub(super) fn distrust(error: &reqwest::Error) -> Option<Trouble> {
    let mut causes = std::iter::successors(error.source(), |cause| next_cause(*cause));
    let reason = causes.find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(reason)) => Some(reason.to_string()),
        _ => None,
    })?;
    Some(Trouble::Untrusted { reason })
}

/// What is wrapped in an [`io::Error`] is not among its sources, but what is wrapped in that is.
fn next_cause<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| cause.source())
}
