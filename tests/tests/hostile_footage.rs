//! Hostile footage through the whole server: every item is stored and receipted as any other, what could not be made of it
//! says why, nothing that it names is touched, and the server goes on.
//!
//! Ten thousand inputs through the worker alone: `transcode/tests/hostile_footage.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use test_machine::hostile::{Canary, Maker};
use tests::persistent::{Sent, everything_is_there};
use tests::tus::Tus;
use tests::workspace::Device;
use tests::{Server, Workspace, audit, footage};

/// As in the trial of the worker, so that its numbers name the same inputs.
const SEED: u64 = 20_261_130;
/// Two rounds of what is made, less one: flipped bits, lying structures, oddities, baits.
const INPUTS: u64 = 40;
const CHUNK_BYTES: usize = 256 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_is_kept_receipted_and_says_what_could_not_be_made() {
    let canary = Canary::new();
    let maker = Maker::new(SEED, &canary);
    let workspace = Workspace::new();
    let server = tokio::task::block_in_place(|| Server::start(&workspace));
    let device = workspace.enrol("a device of somebody who means harm");
    let mut sent = Vec::new();
    for number in 0..INPUTS {
        let input = maker.input(number);
        sent.push(send(&server, &device, &input.what, input.bytes.into()).await);
    }
    let mut endings = BTreeSet::new();
    for one in &sent {
        endings.extend(ended(&workspace.settled(&one.finished.item)));
    }
    for ending in ["made", "unreadable", "format-refused", "not-decodable"] {
        assert!(endings.contains(ending), "{ending} is not among {endings:?}");
    }
    assert_eq!(canary.heard(), [""; 0]);

    // A decoder that crashes, whatever it is given, is tried once more; then that is what became of it.
    let crashing = Crashing::workers_of(&server);
    let clip = fs::read(footage::cctv()).expect("the clip").into();
    sent.push(send(&server, &device, "a clip that crashes decoders", clip).await);
    let shown = workspace.settled(&sent[sent.len() - 1].finished.item);
    assert_eq!(ended(&shown), BTreeSet::from(["crashed".to_owned()]), "{shown}");
    drop(crashing);

    let clip = fs::read(footage::speech("avi")).expect("the clip").into();
    sent.push(send(&server, &device, "a clip like any other", clip).await);
    let shown = workspace.settled(&sent[sent.len() - 1].finished.item);
    assert_eq!(ended(&shown), BTreeSet::from(["made".to_owned()]), "{shown}");
    everything_is_there(&workspace, &server, &device, &sent).await;
    audit::ledger_is_clean(&workspace);
    assert!(server.stop().success(), "it does not stop in order");
}

async fn send(server: &Server, device: &Device, name: &str, bytes: Bytes) -> Sent {
    let tus = Tus::new(server.url(), &device.token);
    let finished = tus.upload(name, &bytes, CHUNK_BYTES).await.expect("it is taken as it is");
    Sent { bytes, finished }
}

/// What became of the recipes of an item that has been decided about: `made`, or the code of a failure, which has words too.
fn ended(shown: &Value) -> BTreeSet<String> {
    assert_eq!(shown["state"], "stored", "{shown}");
    let failures = shown["failures"].as_array().expect("a list");
    let derivatives = shown["derivatives"].as_array().expect("a list");
    assert!(failures.len() + derivatives.len() > 0, "nothing became of it: {shown}");
    let codes = failures.iter().map(|failure| {
        let words = failure["reason"].as_str().unwrap_or_default();
        assert!(words.contains(' '), "no reason that people can read: {failure}");
        failure["reason_code"].as_str().expect("a code").to_owned()
    });
    codes.chain(derivatives.iter().map(|_| "made".to_owned())).collect()
}

/// Ends every worker of a server by a segmentation fault, as long as it lives.
struct Crashing {
    over: Arc<AtomicBool>,
    at_it: Option<thread::JoinHandle<()>>,
}

impl Crashing {
    fn workers_of(server: &Server) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, server) = (Arc::clone(&over), server.pid());
        let at_it = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for worker in workers(server) {
                    // One that has ended meanwhile needs none.
                    let _ = kill_process(worker, Signal::SEGV);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { over, at_it: Some(at_it) }
    }
}

impl Drop for Crashing {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.at_it.take().map(thread::JoinHandle::join);
    }
}

fn workers(server: u32) -> Vec<Pid> {
    let parent = format!("PPid:\t{server}");
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let children = processes.filter(|process| {
        let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line == parent)
    });
    children.filter_map(|child| Pid::from_raw(child.file_name().to_str()?.parse().ok()?)).collect()
}
