//! The headers of tus 1.0, from bytes to values. Whatever a client sends, these parsers answer; they never panic.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chain_of_custody::ids::UploadId;
use http::{HeaderMap, header};

use crate::problem::Problem;

pub(super) const TUS_RESUMABLE: &str = "tus-resumable";
pub(super) const TUS_VERSION: &str = "1.0.0";
pub(super) const UPLOAD_OFFSET: &str = "upload-offset";
pub(super) const UPLOAD_LENGTH: &str = "upload-length";
pub(super) const UPLOAD_DEFER_LENGTH: &str = "upload-defer-length";
pub(super) const UPLOAD_METADATA: &str = "upload-metadata";
pub(super) const UPLOAD_CHECKSUM: &str = "upload-checksum";
pub(super) const UPLOAD_CONCAT: &str = "upload-concat";
pub(super) const METHOD_OVERRIDE: &str = "x-http-method-override";
pub(super) const EXHIBIT_MANIFEST: &str = "exhibit-manifest";
const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

/// Numbers in headers and in the database: SQL has no unsigned integers.
const MAX_NUMBER: u64 = i64::MAX as u64;

/// How long the new upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeclaredLength {
    Bytes(u64),
    Deferred,
}

/// What `Upload-Concat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Concat {
    Partial,
    Final(Vec<UploadId>),
}

/// A digest that the client expects of one PATCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checksum {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

/// The header's text, if it was sent once.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name).iter();
    let Some(first) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(Problem::malformed(name, "sent twice"));
    }
    first.to_str().map(Some).map_err(|_| Problem::malformed(name, "not ASCII"))
}

/// A decimal header without sign, space or leading plus.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|number| digits && *number <= MAX_NUMBER);
    value.map(Some).ok_or_else(|| Problem::malformed(name, "not a number of bytes"))
}

pub(super) fn tus_version(headers: &HeaderMap) -> Result<(), Problem> {
    let version = text(headers, TUS_RESUMABLE)?;
    if version == Some(TUS_VERSION) { Ok(()) } else { Err(Problem::tus_version()) }
}

/// Whether bytes come with the request; another media type than tus' own is refused.
pub(super) fn carries_bytes(headers: &HeaderMap) -> Result<bool, Problem> {
    match text(headers, header::CONTENT_TYPE.as_str())? {
        None => Ok(false),
        Some(OFFSET_OCTET_STREAM) => Ok(true),
        Some(_) => Err(Problem::media_type()),
    }
}

pub(super) fn declared_length(headers: &HeaderMap) -> Result<DeclaredLength, Problem> {
    let length = number(headers, UPLOAD_LENGTH)?;
    match (length, text(headers, UPLOAD_DEFER_LENGTH)?) {
        (Some(bytes), None) => Ok(DeclaredLength::Bytes(bytes)),
        (None, Some("1")) => Ok(DeclaredLength::Deferred),
        (None, None) => Err(Problem::malformed(UPLOAD_LENGTH, "missing")),
        (Some(_), Some(_)) => Err(Problem::malformed(UPLOAD_DEFER_LENGTH, "sent with a length")),
        (None, Some(_)) => Err(Problem::malformed(UPLOAD_DEFER_LENGTH, "not 1")),
    }
}

/// `partial`, or `final;` and the uploads' paths or addresses; only their last segment counts, which must be an id.
pub(super) fn concat(headers: &HeaderMap, most: usize) -> Result<Option<Concat>, Problem> {
    let bad = |why: String| Problem::malformed(UPLOAD_CONCAT, why);
    let Some(value) = text(headers, UPLOAD_CONCAT)? else { return Ok(None) };
    if value == "partial" {
        return Ok(Some(Concat::Partial));
    }
    let list =
        value.strip_prefix("final;").ok_or_else(|| bad("neither partial nor final".into()))?;
    let id = |address: &str| {
        let last = address.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        last.parse::<UploadId>().map_err(|_| bad("not an upload of this server".into()))
    };
    let uploads = list.split_ascii_whitespace().map(id).collect::<Result<Vec<_>, _>>()?;
    let mut seen = std::collections::BTreeSet::new();
    if uploads.is_empty() || uploads.len() > most {
        return Err(bad(format!("1 to {most} uploads (concatenated_uploads)")));
    }
    if !uploads.iter().all(|upload| seen.insert(*upload)) {
        return Err(bad("an upload is named twice".into()));
    }
    Ok(Some(Concat::Final(uploads)))
}

pub(super) fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Problem> {
    let Some(value) = text(headers, UPLOAD_CHECKSUM)? else { return Ok(None) };
    parse_checksum(value).map(Some).map_err(|why| Problem::malformed(UPLOAD_CHECKSUM, why))
}

fn parse_checksum(value: &str) -> Result<Checksum, &'static str> {
    let (algorithm, digest) = value.split_once(' ').ok_or("not '<algorithm> <base64>'")?;
    let digest = BASE64.decode(digest).map_err(|_| "the digest is not base64")?;
    let length = "the digest has another length than the algorithm's";
    match algorithm {
        "sha1" => digest.try_into().map(Checksum::Sha1).map_err(|_| length),
        "sha256" => digest.try_into().map(Checksum::Sha256).map_err(|_| length),
        _ => Err("the algorithms are sha1 and sha256"),
    }
}

/// The dock manifest as its signed note. What the note says is judged later: a wrong claim is quarantine, not refusal.
pub(super) fn manifest(headers: &HeaderMap, most_bytes: usize) -> Result<Option<String>, Problem> {
    let bad = |why: &str| Problem::malformed(EXHIBIT_MANIFEST, why);
    let Some(value) = text(headers, EXHIBIT_MANIFEST)? else { return Ok(None) };
    let bytes = BASE64.decode(value).map_err(|_| bad("not base64"))?;
    if bytes.len() > most_bytes {
        return Err(bad("longer than manifest_bytes"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| bad("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn one(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        headers
    }

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(number(&one(UPLOAD_LENGTH, "0"), UPLOAD_LENGTH).unwrap(), Some(0));
        let most = i64::MAX.to_string();
        assert_eq!(number(&one(UPLOAD_LENGTH, &most), UPLOAD_LENGTH).unwrap(), Some(MAX_NUMBER));
        for bad in ["", "-1", "+1", " 1", "1.0", "0x1", "9223372036854775808", "１"] {
            assert!(number(&one(UPLOAD_LENGTH, bad), UPLOAD_LENGTH).is_err(), "{bad}");
        }
        let mut twice = one(UPLOAD_LENGTH, "1");
        twice.append(UPLOAD_LENGTH, HeaderValue::from_static("2"));
        assert!(number(&twice, UPLOAD_LENGTH).is_err(), "sent_twice");
    }

    #[test]
    fn checksums_of_both_algorithms() {
        let sha1 = format!("sha1 {}", BASE64.encode([1; 20]));
        assert_eq!(parse_checksum(&sha1), Ok(Checksum::Sha1([1; 20])));
        let sha256 = format!("sha256 {}", BASE64.encode([2; 32]));
        assert_eq!(parse_checksum(&sha256), Ok(Checksum::Sha256([2; 32])));
        let short = format!("sha256 {}", BASE64.encode([2; 20]));
        for bad in ["", "sha1", "sha1 ", "md5 AAAA", "sha1 !!", &short, "SHA1 AAAA"] {
            assert!(parse_checksum(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_concatenation_names_uploads_of_ours_once() {
        let id = "0193a7c2-0000-7000-8000-000000000001";
        let good = format!("final;/tus/{id} http://other.example/tus/{}", id.replace("01", "02"));
        let Some(Concat::Final(ids)) = concat(&one(UPLOAD_CONCAT, &good), 2).unwrap() else {
            panic!("not a final upload")
        };
        assert_eq!(ids.len(), 2);
        assert!(concat(&one(UPLOAD_CONCAT, &good), 1).is_err(), "more than allowed");
        let twice = format!("final;/tus/{id} /tus/{id}");
        for bad in ["final;", "final", "Partial", "final;/tus/../etc", &twice] {
            assert!(concat(&one(UPLOAD_CONCAT, bad), 9).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_a_parser_panic(value in "[\\x20-\\x7e\\x80-\\xff]{0,200}") {
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { return Ok(()) };
            for name in [UPLOAD_LENGTH, UPLOAD_DEFER_LENGTH, UPLOAD_CONCAT, UPLOAD_CHECKSUM, EXHIBIT_MANIFEST, "content-type"] {
                let mut headers = HeaderMap::new();
                headers.insert(name, value.clone());
                let _ = (tus_version(&headers), carries_bytes(&headers), declared_length(&headers));
                let _ = (concat(&headers, 4), checksum(&headers), manifest(&headers, 64));
            }
        }

        #[test]
        fn what_a_checksum_says_is_what_is_read(digest in any::<[u8; 32]>()) {
            let header = one(UPLOAD_CHECKSUM, &format!("sha256 {}", BASE64.encode(digest)));
            prop_assert_eq!(checksum(&header).unwrap(), Some(Checksum::Sha256(digest)));
        }
    }
}
