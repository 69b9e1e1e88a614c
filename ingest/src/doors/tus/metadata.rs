//! `Upload-Metadata`: comma-separated pairs of a key and a base64 value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::headers::UPLOAD_METADATA;
use crate::problem::Problem;
use crate::receive::Claims;

/// Reads the header's value.
///
/// # Errors
/// 400 naming the field at fault.
pub(super) fn parse(value: &str, most_bytes: usize) -> Result<Claims, Problem> {
    let bad = |why: String| Problem::malformed(UPLOAD_METADATA, why);
    if value.len() > most_bytes {
        return Err(bad(format!("longer than metadata_bytes ({most_bytes})")));
    }
    let mut claims = Claims::default();
    let mut seen = std::collections::BTreeSet::new();
    for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, encoded) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = BASE64.decode(encoded).map_err(|_| bad(format!("{key}: not base64")))?;
        if !seen.insert(key) {
            return Err(bad(format!("{key}: sent twice")));
        }
        claims.set(key, &value).map_err(|e| bad(e.to_string()))?;
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_common_clients_send() {
        let value = "filename Y2xpcC5tcDQ=,filetype dmlkZW8vbXA0,camera QVhXMTAw,relativePath bnVsbA==,empty";
        let claims = parse(value, 4096).unwrap();
        assert_eq!(claims.name.as_deref(), Some("clip.mp4"));
        assert_eq!(claims.media_type.as_deref(), Some("video/mp4"));
        assert_eq!(claims.camera.as_deref(), Some("AXW100"));
        assert_eq!(parse("", 4096).unwrap(), Claims::default());
    }

    #[test]
    fn a_malformed_pair_is_named() {
        for (value, field) in [
            ("filename !!", "filename"),
            ("camera QQ==,camera Qg==", "camera"),
            ("agent-seq eA==", "agent-seq"),
            ("filename  Y2xpcC5tcDQ=", "filename"),
        ] {
            let problem = parse(value, 4096).unwrap_err();
            assert!(problem.to_string().contains(field), "{value}: {problem}");
        }
        assert!(parse(&"a".repeat(11), 10).is_err(), "longer_than_the_limit");
    }

    proptest! {
        #[test]
        fn never_panics(value in "\\PC{0,300}") {
            let _ = parse(&value, 256);
        }

        #[test]
        fn any_name_comes_back(name in "[^\\-]{2,60}") {
            let value = format!("filename {}", BASE64.encode(&name));
            prop_assert_eq!(parse(&value, 4096).unwrap().name, Some(name));
        }
    }
}
