//! How long a log witness takes to answer: the real process, a ledger that grows, durable before each answer.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chain_of_custody::checkpoint::{Checkpoint, Origin};
use chain_of_custody::ids::TreeSize;
use chain_of_custody::log_witness::AddCheckpoint;
use chain_of_custody::merkle::{ConsistencyProof, leaf_hash};
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::tile::{TileEdge, TileHashes, TilePath};

use crate::servers::{Place, program};

const ORIGIN: &str = "ledger.bench";
/// Checkpoints sent one after the other.
const CHECKPOINTS: usize = 300;
/// Entries that each has more than the one before.
const STEP: u64 = 7;

/// Sends growing checkpoints and prints how long each answer took.
pub(crate) fn run(place: &Place) -> Result<()> {
    println!("\nlog witness: {CHECKPOINTS} checkpoints, one after the other (benches witness)");
    let folder = tempfile::tempdir_in(&place.scratch)?;
    let log = SigningKey::from_seed(ORIGIN, [1; 32])?;
    let store = folder.path().join("store");
    let mut command = Command::new(program("exhibit")?);
    command.args(["ledger", "witness", "--name", "witness.bench", "--listen", "127.0.0.1:0"]);
    command.arg("--store").arg(&store).args(["--log", &log.vkey().to_string()]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let _running = Running(child);
    let url = wait_for(|| fs::read_to_string(store.join("listening")).ok())?;
    let url = format!("{}/add-checkpoint", url.trim());
    let requests = requests(&log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut took = runtime.block_on(async {
        ::ingest::agent::choose_tls();
        let client = reqwest::Client::new();
        let mut took = Vec::new();
        for body in requests {
            let begun = Instant::now();
            let answer = client.post(&url).body(body).send().await?;
            let status = answer.status();
            answer.bytes().await?;
            took.push(begun.elapsed());
            ensure!(status == 200, "it answered {status}");
        }
        Ok(took)
    })?;
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!(
        "  median {:.1} ms, 95th {:.1} ms, 99th {:.1} ms (aim: 20 ms)",
        at(50),
        at(95),
        at(99)
    );
    Ok(())
}

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bodies, each with the proof from the checkpoint before.
fn requests(log: &SigningKey) -> Result<Vec<String>> {
    let (mut edge, mut tiles) = (TileEdge::new(), std::collections::HashMap::new());
    let mut requests = Vec::with_capacity(CHECKPOINTS);
    for _ in 0..CHECKPOINTS {
        let old = edge.size();
        for entry in old.0..old.0 + STEP {
            edge.append(leaf_hash(&entry.to_be_bytes()));
        }
        tiles.extend(edge.take_writes().into_iter().map(|write| (write.path, write.bytes)));
        let size = edge.size();
        let fetch = |path: &TilePath| tiles.get(path).cloned().ok_or(());
        let proof = ConsistencyProof::generate(old, size, &mut TileHashes::new(size, fetch));
        let proof = proof.map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let head =
            Checkpoint { origin: Origin::new(ORIGIN)?, size: TreeSize(size.0), root: edge.root() };
        requests.push(AddCheckpoint::new(proof, head.sign(log)?)?.to_string());
    }
    Ok(requests)
}

fn wait_for(mut ready: impl FnMut() -> Option<String>) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(text) = ready().filter(|text| text.ends_with('\n')) {
            return Ok(text);
        }
        ensure!(Instant::now() < deadline, "it did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}
