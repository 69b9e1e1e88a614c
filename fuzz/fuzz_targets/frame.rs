//! Frames of the worker protocol, read as the parent reads them: the worker may have been taken over by its input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transcode_protocol::{Frame, HEADER_BYTES, Header};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return;
    };
    let Ok(header) = Header::parse(head) else {
        return;
    };
    let announced = header.payload_bytes as usize;
    let Some(payload) = rest.get(..announced) else {
        return;
    };
    if let Ok(frame) = Frame::decode(header.kind, payload) {
        assert_eq!(frame.kind(), header.kind);
        let written = frame.encode().expect("what was read can be written");
        assert_eq!(&written[..4], &head[..4]);
    }
});
