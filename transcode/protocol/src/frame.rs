//! Frames: 8 bytes of header, then the payload.
//!
//! `"EX"` · version (u8) · kind (u8) · payload length (u32, big-endian) · payload.

use crate::job::{Confinement, Job, MAX_RECIPES, WorkerFailure};
use crate::report::Ended;
use crate::{MAX_CHUNK_BYTES, MAX_JSON_BYTES, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, PROTOCOL_VERSION};

/// Bytes of a frame before its payload.
pub const HEADER_BYTES: usize = 8;
const MAGIC: [u8; 2] = *b"EX";

/// Everything that crosses the socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Server to worker, first: what to make of which original.
    Job(Box<Job>),
    /// Server to worker: the bytes of a range, verified, never fewer than asked.
    Bytes { offset: u64, data: Vec<u8> },
    /// Server to worker: so many more bytes of output may be sent.
    Credit { bytes: u64 },
    /// Worker to server: confined as described, about to look at the first byte.
    Ready(Confinement),
    /// Worker to server: asks for a range of the original.
    Range { offset: u64, len: u32 },
    /// Worker to server: the next bytes of an output.
    Output { name: String, data: Vec<u8> },
    /// Worker to server, once for an output, after all of it: what comes before it.
    Head { name: String, data: Vec<u8> },
    /// Worker to server: thousandths of the job done.
    Progress { permille: u16 },
    /// Worker to server, last: what became of each recipe, in the order of the job.
    Done(Vec<Ended>),
    /// Worker to server, last: why there is nothing of any.
    Failed(WorkerFailure),
}

/// The kind byte of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Job = 0x01,
    Bytes = 0x02,
    Credit = 0x03,
    Ready = 0x11,
    Range = 0x12,
    Output = 0x13,
    Progress = 0x14,
    Done = 0x15,
    Failed = 0x16,
    Head = 0x17,
}

/// A checked header: the payload it announces fits the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub payload_bytes: u32,
}

/// Why bytes are no frame of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("not a frame of the worker protocol")]
    Magic,
    #[error("worker protocol version {0} is not supported (this is version {PROTOCOL_VERSION})")]
    Version(u8),
    #[error("unknown kind of frame 0x{0:02x}")]
    Kind(u8),
    #[error("a payload of {bytes} bytes is longer than the limit of {limit}")]
    TooLong { bytes: u64, limit: u64 },
    #[error("malformed {0:?} frame")]
    Malformed(Kind),
}

impl Header {
    /// Checks a header before anybody makes room for its payload.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        if bytes[..2] != MAGIC {
            return Err(FrameError::Magic);
        }
        if bytes[2] != PROTOCOL_VERSION {
            return Err(FrameError::Version(bytes[2]));
        }
        let kind = Kind::from_byte(bytes[3]).ok_or(FrameError::Kind(bytes[3]))?;
        let payload_bytes = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let limit = kind.limit();
        if payload_bytes > limit {
            return Err(FrameError::TooLong { bytes: payload_bytes.into(), limit: limit.into() });
        }
        Ok(Self { kind, payload_bytes })
    }
}

impl Frame {
    /// The frame as it crosses the socket. Refuses what the other side would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let kind = self.kind();
        let mut out = Vec::with_capacity(HEADER_BYTES + 64);
        out.extend_from_slice(&MAGIC);
        out.push(PROTOCOL_VERSION);
        out.push(kind as u8);
        out.extend_from_slice(&[0; 4]);
        self.encode_payload(&mut out)?;
        let payload = (out.len() - HEADER_BYTES) as u64;
        let limit = kind.limit();
        match u32::try_from(payload) {
            Ok(length) if length <= limit => {
                out[4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
                Ok(out)
            }
            _ => Err(FrameError::TooLong { bytes: payload, limit: limit.into() }),
        }
    }

    /// Reads the payload that a checked header announced.
    pub fn decode(kind: Kind, payload: &[u8]) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed(kind);
        match kind {
            Kind::Job => json(payload).map(|job| Self::Job(Box::new(job))),
            Kind::Ready => json(payload).map(Self::Ready),
            Kind::Failed => json(payload).map(Self::Failed),
            Kind::Done => json::<Vec<Ended>>(payload)
                .filter(|all| all.len() <= MAX_RECIPES && all.iter().all(Ended::is_within_limits))
                .map(Self::Done),
            Kind::Bytes => {
                split_u64(payload).map(|(offset, data)| Self::Bytes { offset, data: data.to_vec() })
            }
            Kind::Credit => whole_u64(payload).map(|bytes| Self::Credit { bytes }),
            Kind::Range => split_u64(payload).and_then(|(offset, rest)| {
                let len = u32::from_be_bytes(rest.try_into().ok()?);
                (1..=MAX_CHUNK_BYTES).contains(&len).then_some(Self::Range { offset, len })
            }),
            Kind::Output => named(payload).map(|(name, data)| Self::Output { name, data }),
            Kind::Head => named(payload).map(|(name, data)| Self::Head { name, data }),
            Kind::Progress => <[u8; 2]>::try_from(payload).ok().and_then(|bytes| {
                let permille = u16::from_be_bytes(bytes);
                (permille <= 1000).then_some(Self::Progress { permille })
            }),
        }
        .ok_or(malformed)
    }

    /// The kind of this frame.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Job(_) => Kind::Job,
            Self::Bytes { .. } => Kind::Bytes,
            Self::Credit { .. } => Kind::Credit,
            Self::Ready(_) => Kind::Ready,
            Self::Range { .. } => Kind::Range,
            Self::Output { .. } => Kind::Output,
            Self::Head { .. } => Kind::Head,
            Self::Progress { .. } => Kind::Progress,
            Self::Done(_) => Kind::Done,
            Self::Failed(_) => Kind::Failed,
        }
    }

    fn encode_payload(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        match self {
            Self::Job(job) => put_json(out, job),
            Self::Ready(confinement) => put_json(out, confinement),
            Self::Failed(failure) => put_json(out, failure),
            Self::Done(all) => put_json(out, all),
            Self::Bytes { offset, data } => {
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(data);
            }
            Self::Credit { bytes } => out.extend_from_slice(&bytes.to_be_bytes()),
            Self::Range { offset, len } => {
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&len.to_be_bytes());
            }
            Self::Output { name, data } | Self::Head { name, data } => {
                let length = u8::try_from(name.len())
                    .ok()
                    .filter(|length| usize::from(*length) <= MAX_NAME_BYTES)
                    .ok_or(FrameError::Malformed(self.kind()))?;
                out.push(length);
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(data);
            }
            Self::Progress { permille } => out.extend_from_slice(&permille.to_be_bytes()),
        }
        Ok(())
    }
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Job,
            Self::Bytes,
            Self::Credit,
            Self::Ready,
            Self::Range,
            Self::Output,
            Self::Progress,
            Self::Done,
            Self::Failed,
            Self::Head,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    fn limit(self) -> u32 {
        match self {
            Self::Job | Self::Ready | Self::Done | Self::Failed => MAX_JSON_BYTES as u32,
            Self::Bytes => MAX_CHUNK_BYTES + 8,
            Self::Output | Self::Head => MAX_PAYLOAD_BYTES,
            Self::Credit => 8,
            Self::Range => 12,
            Self::Progress => 2,
        }
    }
}

/// The name of an output, and bytes of it: some, and not too many.
fn named(payload: &[u8]) -> Option<(String, Vec<u8>)> {
    let (length, rest) = payload.split_first()?;
    let length = usize::from(*length);
    if length > MAX_NAME_BYTES || rest.len() < length {
        return None;
    }
    let (name, data) = rest.split_at(length);
    if data.is_empty() || data.len() > MAX_CHUNK_BYTES as usize {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?.to_owned(), data.to_vec()))
}

fn json<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

fn put_json<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("plain data with string keys is always JSON");
}

fn split_u64(payload: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = payload.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn whole_u64(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(frame: &Frame) -> Frame {
        let bytes = frame.encode().unwrap();
        let header = Header::parse(bytes[..HEADER_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(header.payload_bytes as usize, bytes.len() - HEADER_BYTES);
        Frame::decode(header.kind, &bytes[HEADER_BYTES..]).unwrap()
    }

    #[test]
    fn frames_come_back_as_they_went() {
        let frames = [
            Frame::Bytes { offset: u64::MAX, data: vec![7; 9] },
            Frame::Credit { bytes: 12 },
            Frame::Range { offset: 1 << 40, len: MAX_CHUNK_BYTES },
            Frame::Output { name: "proxy.mp4".into(), data: vec![1] },
            Frame::Head { name: "proxy.mp4".into(), data: vec![2] },
            Frame::Progress { permille: 1000 },
            Frame::Done(vec![made(""), failed()]),
        ];
        for frame in frames {
            assert_eq!(round_trip(&frame), frame);
        }
    }

    fn failed() -> Ended {
        let code = crate::FailureCode::NotDecodable;
        Ended::Failed(WorkerFailure { code, message: "no picture".into() })
    }

    fn made(note: &str) -> Ended {
        Ended::Made(crate::Report {
            made_with: crate::MadeWith {
                program: "exhibit-transcode".into(),
                version: "0".into(),
                libraries: Default::default(),
                codecs: Default::default(),
                threads: 1,
            },
            notes: vec![note.into()],
        })
    }

    #[test]
    fn reports_are_bounded() {
        for bad in [vec![made(&"x".repeat(10_000))], vec![made(""); MAX_RECIPES + 1]] {
            let encoded = Frame::Done(bad).encode().unwrap();
            let decoded = Frame::decode(Kind::Done, &encoded[HEADER_BYTES..]);
            assert_eq!(decoded, Err(FrameError::Malformed(Kind::Done)));
        }
    }

    #[test]
    fn header_refuses_what_it_does_not_know() {
        let good = Frame::Credit { bytes: 1 }.encode().unwrap();
        let parse = |at: usize, byte: u8| {
            let mut header: [u8; HEADER_BYTES] = good[..HEADER_BYTES].try_into().unwrap();
            header[at] = byte;
            Header::parse(&header)
        };
        assert_eq!(parse(0, b'X'), Err(FrameError::Magic));
        assert_eq!(parse(2, 9), Err(FrameError::Version(9)));
        assert_eq!(parse(3, 0x7f), Err(FrameError::Kind(0x7f)));
        assert_eq!(
            parse(7, 9),
            Err(FrameError::TooLong { bytes: 9, limit: 8 }),
            "each kind has its own limit"
        );
    }

    #[test]
    fn payloads_outside_the_limits_are_malformed() {
        let range = |len: u32| {
            let mut payload = 0u64.to_be_bytes().to_vec();
            payload.extend_from_slice(&len.to_be_bytes());
            Frame::decode(Kind::Range, &payload)
        };
        assert!(range(1).is_ok());
        assert_eq!(range(0), Err(FrameError::Malformed(Kind::Range)));
        assert_eq!(range(MAX_CHUNK_BYTES + 1), Err(FrameError::Malformed(Kind::Range)));
        let cases: [(Kind, &[u8]); 7] = [
            (Kind::Output, &[]),
            (Kind::Head, &[]),
            (Kind::Output, &[200, b'x', 0]),
            (Kind::Output, &[1, 0xff, 0]),
            (Kind::Progress, &[0xff, 0xff]),
            (Kind::Done, b"{}"),
            (Kind::Failed, b"{\"code\":"),
        ];
        for (kind, payload) in cases {
            assert_eq!(Frame::decode(kind, payload), Err(FrameError::Malformed(kind)));
        }
    }
}
