//! Checking a bundle: how fast against a tool that only hashes the same files once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::client::upload;
use crate::servers::{Kind, Place, Server, program, start};
use crate::usage::{ended_children_cpu_s, median};

const MIB: u64 = 1 << 20;
const CLIPS: u64 = 4;
const CLIP_BYTES: u64 = 96 * MIB;

/// A bundle as a force would make it, and the policy to check it against. Gone when dropped.
struct Bundle {
    folder: tempfile::TempDir,
}

impl Bundle {
    fn path(&self) -> PathBuf {
        self.folder.path().join("bundle")
    }

    fn policy(&self) -> PathBuf {
        self.folder.path().join("force.policy")
    }
}

/// Seconds of one way to read the bundle.
#[derive(Default)]
struct Figures {
    cpu_s: Vec<f64>,
    wall_s: Vec<f64>,
}

/// `exhibit-verify`, which computes SHA-256 and BLAKE3 and checks the record, against `openssl dgst -sha256` over every
/// file of the same bundle.
pub(crate) fn verify(place: &Place) -> Result<()> {
    let bundle = make(place)?;
    let files = files_under(&bundle.path())?;
    let bytes = files.iter().map(|file| Ok(file.metadata()?.len())).sum::<Result<u64>>()?;
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for round in 0..=place.rounds {
        let mut check = Command::new(program("exhibit-verify")?);
        check.arg(bundle.path()).arg("--policy").arg(bundle.policy());
        let mut hash = Command::new("openssl");
        hash.args(["dgst", "-sha256"]).args(&files);
        for (command, figures) in [(&mut check, &mut ours), (&mut hash, &mut theirs)] {
            let (cpu, wall) = timed(command)?;
            if round > 0 {
                figures.cpu_s.push(cpu);
                figures.wall_s.push(wall);
            }
        }
    }
    println!(
        "\nChecking a bundle of {} files, {} MiB (cargo run --release -p benches -- verify; medians of {} rounds)",
        files.len(),
        bytes / MIB,
        place.rounds
    );
    println!("{:<36}{:>10}{:>10}{:>10}", "", "CPU s", "wall s", "MB/s");
    let print = |label: &str, figures: &mut Figures| {
        let (cpu, wall) = (median(&mut figures.cpu_s), median(&mut figures.wall_s));
        println!("{label:<36}{cpu:>10.2}{wall:>10.2}{:>10.0}", bytes as f64 / wall / 1e6);
        wall
    };
    let ours = print("exhibit-verify", &mut ours);
    let theirs = print("openssl dgst -sha256", &mut theirs);
    println!("speed: exhibit-verify / openssl = {:.2} (aim ≥ 0.8)", theirs / ours);
    Ok(())
}

/// CPU-seconds and wall time of a program that must end well: for ours that means the bundle matches.
fn timed(command: &mut Command) -> Result<(f64, f64)> {
    let (before, started) = (ended_children_cpu_s()?, Instant::now());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(status.success(), "{:?} ended with {status}", command.get_program());
    Ok((ended_children_cpu_s()? - before, started.elapsed().as_secs_f64()))
}

/// Sends the clips to a server and has it hand them over. The server is gone before anything is timed.
fn make(place: &Place) -> Result<Bundle> {
    let scratch = std::path::absolute(&place.scratch)?;
    let bundle = Bundle { folder: tempfile::tempdir_in(scratch)? };
    let server = start(Kind::Exhibit, place)?;
    for clip in 0..CLIPS {
        upload(&server.endpoint, CLIP_BYTES, CLIP_BYTES, clip + 1)?;
    }
    let found: serde_json::Value = serde_json::from_slice(&ask(&server, &["search", "--json"])?)?;
    let found = found["items"].as_array().context("no list of items")?;
    ensure!(found.len() as u64 == CLIPS, "{} items of {CLIPS} were found", found.len());
    let output = bundle.path();
    let output = output.to_str().context("the scratch folder's name is not text")?;
    let mut create =
        vec!["bundle", "create", "--for", "internal", "--to", "bench", "--output", output];
    for item in found {
        create.extend(["--item", item["item"].as_str().context("an item without an id")?]);
    }
    ask(&server, &create)?;
    std::fs::write(bundle.policy(), ask(&server, &["keys", "publish"])?)?;
    Ok(bundle)
}

/// What our program says about the server's data folder.
fn ask(server: &Server, command: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program("exhibit")?)
        .args(command)
        .arg("--data")
        .arg(&server.folder)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "exhibit {} {said}", command.join(" "));
    Ok(output.stdout)
}

fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut waiting = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => waiting.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}
