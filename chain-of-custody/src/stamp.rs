//! Time stamps by outside authorities (RFC 3161): the request, and what an answer says.
//!
//! Here: the DER of the request, and reading imprint, nonce and time out of an answer. Not here: the network, and the
//! authority's signature: that is checked with `openssl ts -verify` (docs/formats/time-stamps.md), since it takes a whole
//! certificate library. Invariant: nothing of an answer is handed out that is not for exactly this imprint and nonce.

use crate::digest::Sha256;
use crate::malformed::Malformed;
use crate::time::Timestamp;

/// Bytes of an answer at most: token and certificates are a few thousand.
pub const MAX_STAMP_BYTES: usize = 64 * 1024;

const STAMP: &str = "time stamp";
/// The fault of a stamp that is for other bytes.
pub const OTHER_DIGEST: Malformed = fault("it is for another digest");
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SET: u8 = 0x31;
const GENERALIZED_TIME: u8 = 0x18;
const EXPLICIT_0: u8 = 0xa0;
/// AlgorithmIdentifier of SHA-256 with its NULL.
const SHA256_ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00];
/// 1.2.840.113549.1.7.2, id-signedData.
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.16.1.4, id-ct-TSTInfo.
const TST_INFO: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];

/// What an authority is asked: a time for a digest. The nonce ties the answer to this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampRequest {
    pub imprint: Sha256,
    /// Random; its highest bit is not used.
    pub nonce: u64,
}

/// An answer that grants a time for the request's digest. Its signature is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// By the authority's clock.
    pub time: Timestamp,
}

impl StampRequest {
    /// The `TimeStampReq` of RFC 3161 section 2.4.1, version 1, asking for the authority's certificate.
    pub fn to_der(&self) -> Vec<u8> {
        let imprint =
            [&SHA256_ALGORITHM[..], &value(OCTET_STRING, self.imprint.as_bytes())].concat();
        let parts = [
            value(INTEGER, &[1]),
            value(SEQUENCE, &imprint),
            value(INTEGER, &self.nonce_bytes()),
            vec![0x01, 0x01, 0xff],
        ];
        value(SEQUENCE, &parts.concat())
    }

    /// Reads a `TimeStampResp` and holds it against this request.
    ///
    /// # Errors
    /// [`Malformed`]: of another form, a refusal, or for another request.
    pub fn read(&self, answer: &[u8]) -> Result<Stamp, Malformed> {
        let (stamp, mut rest) = read_info(answer, &self.imprint)?;
        loop {
            match rest.next()? {
                Some((INTEGER, nonce)) if nonce == self.nonce_bytes() => return Ok(stamp),
                Some((INTEGER, _)) | None => return Err(fault("it is for another request")),
                Some(_) => {}
            }
        }
    }

    /// The shortest two's complement of a positive number.
    fn nonce_bytes(&self) -> Vec<u8> {
        let bytes = (self.nonce & (u64::MAX >> 1)).to_be_bytes();
        let needless = bytes.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
        bytes[needless..].to_vec()
    }
}

/// What an answer that somebody kept says about the bytes of `imprint`. Who signed it is not checked.
///
/// # Errors
/// [`Malformed`]: of another form, a refusal, or ([`OTHER_DIGEST`]) for other bytes.
pub fn read_stamp(answer: &[u8], imprint: &Sha256) -> Result<Stamp, Malformed> {
    read_info(answer, imprint).map(|(stamp, _)| stamp)
}

/// The stamp of an answer for `imprint`, and what follows the time in its `TSTInfo`.
fn read_info<'a>(answer: &'a [u8], imprint: &Sha256) -> Result<(Stamp, Reader<'a>), Malformed> {
    if answer.len() > MAX_STAMP_BYTES {
        return Err(fault("it is too long"));
    }
    let mut answer = Reader(answer);
    let mut response = answer.inside(SEQUENCE)?;
    answer.end()?;
    match response.inside(SEQUENCE)?.take(INTEGER)? {
        [0 | 1] => {}
        _ => return Err(fault("the authority refused")),
    }
    let mut info = token_info(&mut response)?;
    info.take(INTEGER)?;
    info.take(OBJECT_ID)?;
    let imprint = [&SHA256_ALGORITHM[..], &value(OCTET_STRING, imprint.as_bytes())].concat();
    if info.take(SEQUENCE)? != imprint {
        return Err(OTHER_DIGEST);
    }
    info.take(INTEGER)?;
    let time = parse_time(info.take(GENERALIZED_TIME)?)?;
    Ok((Stamp { time }, info))
}

/// ContentInfo, SignedData, encapContentInfo, eContent: down to the `TSTInfo`.
fn token_info<'a>(response: &mut Reader<'a>) -> Result<Reader<'a>, Malformed> {
    let mut content = response.inside(SEQUENCE)?;
    if content.take(OBJECT_ID)? != SIGNED_DATA {
        return Err(fault("its token is not signed data"));
    }
    let mut signed = content.inside(EXPLICIT_0)?.inside(SEQUENCE)?;
    signed.take(INTEGER)?;
    signed.take(SET)?;
    let mut encapsulated = signed.inside(SEQUENCE)?;
    if encapsulated.take(OBJECT_ID)? != TST_INFO {
        return Err(fault("its token holds no time"));
    }
    encapsulated.inside(EXPLICIT_0)?.inside(OCTET_STRING)?.inside(SEQUENCE)
}

/// `YYYYMMDDhhmmss[.f]Z`, to the millisecond.
fn parse_time(bytes: &[u8]) -> Result<Timestamp, Malformed> {
    let bad = fault("its time cannot be read");
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
    let text = text.and_then(|text| text.strip_suffix('Z')).ok_or(bad)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() != 14 || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit()) {
        return Err(bad);
    }
    let part = |from: usize, to: usize| &whole[from..to];
    let (date, time) = (
        [part(0, 4), part(4, 6), part(6, 8)].join("-"),
        [part(8, 10), part(10, 12), part(12, 14)].join(":"),
    );
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{date}T{time}.{millis}Z").parse().map_err(|_| bad)
}

/// One DER value; ours are short.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80);
    let length = length.expect("a request has less than 128 bytes");
    [&[tag, length][..], content].concat()
}

/// Reads DER values one after the other; of definite length only, as DER has them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next value: its tag and content.
    fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        let Some((&tag, rest)) = self.0.split_first() else { return Ok(None) };
        let cut = fault("it is cut off");
        let (&first, rest) = rest.split_first().ok_or(cut)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80)).ok_or(cut)?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return Err(fault("a length is not of DER")),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(cut)?;
        self.0 = rest;
        Ok(Some((tag, content)))
    }

    /// The content of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            Some((found, content)) if found == tag => Ok(content),
            _ => Err(fault("it is not of RFC 3161's form")),
        }
    }

    fn inside(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.take(tag).map(Reader)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(fault("more follows it")) }
    }
}

const fn fault(reason: &'static str) -> Malformed {
    Malformed::new(STAMP, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StampRequest {
        StampRequest { imprint: Sha256([7; 32]), nonce: 0x0102_0304 }
    }

    #[test]
    fn requests_are_shortest_der() {
        let der = request().to_der();
        assert_eq!(der.len(), usize::from(der[1]) + 2);
        assert!(der.ends_with(&[0x02, 0x04, 1, 2, 3, 4, 0x01, 0x01, 0xff]));
        let nonce = |nonce| StampRequest { nonce, ..request() }.nonce_bytes();
        assert_eq!(nonce(0), [0]);
        assert_eq!(nonce(0x80), [0, 0x80]);
        assert_eq!(nonce(u64::MAX)[0], 0x7f);
    }

    #[test]
    fn times_are_read_to_the_millisecond() {
        let read = |text: &str| parse_time(text.as_bytes()).map(|t| t.to_string()).ok();
        assert_eq!(read("20261122180405Z").as_deref(), Some("2026-11-22T18:04:05.000Z"));
        assert_eq!(read("20261122180405.5Z").as_deref(), Some("2026-11-22T18:04:05.500Z"));
        for bad in ["", "20261122180405", "20261322180405Z", "2026112218040Z", "é0261122180405Z"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        for bad in [
            &b""[..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x03, 0x30],
            &[0x30, 0x84, 255, 255, 255, 255],
        ] {
            assert!(request().read(bad).is_err());
        }
        let refused = value(SEQUENCE, &value(SEQUENCE, &value(INTEGER, &[2])));
        assert!(request().read(&refused).unwrap_err().reason.contains("refused"));
    }
}
