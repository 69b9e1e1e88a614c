//! A probe, read as the server reads it: the worker that wrote it may have been taken over by its input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transcode_protocol::Probe;

fuzz_target!(|bytes: &[u8]| {
    if let Some(probe) = Probe::parse(bytes) {
        let written = serde_json::to_vec(&probe).expect("what was read can be written");
        assert_eq!(Probe::parse(&written), Some(probe));
    }
});
