//! Who knocks: a device with its bearer token.

use axum::extract::ConnectInfo;
use chain_of_custody::digest::Sha256;
use http::{Extensions, HeaderMap, header};
use std::net::SocketAddr;
use storage::records::TokenOwner;

use crate::devices;
use crate::problem::Problem;
use crate::receive::{Receiver, Refused, Source};

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 256;

/// The device that the request's token belongs to. A refusal is recorded.
pub(super) async fn authenticate(
    receiver: &Receiver,
    headers: &HeaderMap,
    extensions: &Extensions,
    door: &str,
) -> Result<Source, Problem> {
    let token = bearer(headers);
    let owner = match token {
        Some(token) => devices::authenticate(receiver, token).await?,
        None => None,
    };
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
    let (reason_code, device, problem) = match owner {
        Some(TokenOwner::Device(device)) => {
            let token = Sha256::of(token.unwrap_or_default().as_bytes());
            return Ok(Source::device(device, door).with_token(token));
        }
        Some(TokenOwner::Revoked(device)) => ("device-revoked", Some(device), Problem::revoked()),
        None => ("unknown-token", None, Problem::unauthorised()),
    };
    receiver.note_refusal(Refused { reason_code, device, peer });
    Err(problem)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let fits = scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN_BYTES;
    fits.then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_counts() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(with("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(with("bearer abc").as_deref(), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer", &format!("Bearer {}", "a".repeat(257))] {
            assert_eq!(with(bad), None, "{bad}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
