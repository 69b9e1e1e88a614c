//! The log witness protocol: requests as a log witness reads them, answers as a ledger does.
#![no_main]

use chain_of_custody::ids::TreeSize;
use chain_of_custody::log_witness::{AddCheckpoint, Answer, decide, read_answer};
use chain_of_custody::note::{Signer as _, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = AddCheckpoint::parse(bytes) else { return };
    assert_eq!(request.to_string().as_bytes(), bytes);
    let log = SigningKey::from_seed("log.example", [1; 32]).expect("a name");
    assert!(decide(&request, &[log.vkey()], None).is_err(), "nobody but the log signs as the log");
    let witness = SigningKey::for_cosignatures("witness.example", [2; 32]).expect("a name");
    let lines: Vec<u8> = request
        .checkpoint
        .note()
        .signatures()
        .iter()
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect();
    let answer = Answer { status: 200, content_type: None, body: lines };
    assert!(read_answer(&answer, TreeSize(0), &request.checkpoint, &witness.vkey()).is_err());
});
