//! Bytes in: what a gibibyte costs, how long a receipt takes, what many uploads at once need.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::client::{concatenate, upload};
use crate::servers::{Kind, Place, start};
use crate::usage::{
    cpu_s, ended_children_cpu_s, median, peak_memory_bytes, percentile, written_bytes,
};

pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const MIB: u64 = 1 << 20;

/// One way to send a gibibyte.
struct Contender {
    kind: Kind,
    patch: u64,
    label: &'static str,
}

/// What was measured of one contender.
#[derive(Default)]
struct Figures {
    cpu_s: Vec<f64>,
    wall_s: Vec<f64>,
}

/// Server CPU-seconds and wall time per GiB. The peers hash nothing and sync nothing, so what `openssl dgst -sha256`
/// and `b3sum` cost over the result is added to theirs.
pub(crate) fn throughput(place: &Place) -> Result<()> {
    let contenders = [
        Contender { kind: Kind::Exhibit, patch: GIB, label: "exhibit, one PATCH" },
        Contender { kind: Kind::Exhibit, patch: 8 * MIB, label: "exhibit, 8 MiB" },
        Contender { kind: Kind::TusNode, patch: GIB, label: "@tus/server, one PATCH, + hashes" },
        Contender { kind: Kind::Rustus, patch: 8 * MIB, label: "rustus, 8 MiB, + hashes" },
    ];
    let mut figures: Vec<Figures> = contenders.iter().map(|_| Figures::default()).collect();
    for round in 0..=place.rounds {
        for (contender, figures) in contenders.iter().zip(&mut figures) {
            let (cpu, wall) =
                one_gibibyte(contender, place, round as u64).with_context(|| contender.label)?;
            if round > 0 {
                figures.cpu_s.push(cpu);
                figures.wall_s.push(wall);
            }
        }
    }
    println!(
        "\nIngest of 1 GiB (cargo run --release -p benches -- ingest; medians of {} rounds)",
        place.rounds
    );
    println!("{:<36}{:>14}{:>10}", "", "CPU-s per GiB", "wall s");
    let medians: Vec<(f64, f64)> =
        figures.iter_mut().map(|f| (median(&mut f.cpu_s), median(&mut f.wall_s))).collect();
    for (contender, (cpu, wall)) in contenders.iter().zip(&medians) {
        println!("{:<36}{cpu:>14.2}{wall:>10.2}", contender.label);
    }
    let best_wall = medians[2].1.min(medians[3].1);
    println!("CPU: one PATCH / @tus/server = {:.2} (aim ≤ 0.7)", medians[0].0 / medians[2].0);
    println!("CPU: 8 MiB / rustus          = {:.2} (aim 1.0)", medians[1].0 / medians[3].0);
    println!("wall: one PATCH / better peer = {:.2} (aim ≤ 1.0)", medians[0].1 / best_wall);
    Ok(())
}

fn one_gibibyte(contender: &Contender, place: &Place, seed: u64) -> Result<(f64, f64)> {
    let server = start(contender.kind, place)?;
    let before = cpu_s(server.pid())?;
    let started = Instant::now();
    upload(&server.endpoint, GIB, contender.patch, seed + 1)?;
    let mut wall = started.elapsed().as_secs_f64();
    let mut cpu = cpu_s(server.pid())? - before;
    if contender.kind != Kind::Exhibit {
        let (hash_cpu, hash_wall) = hash_with_tools(&largest_file(&server.folder)?)?;
        cpu += hash_cpu;
        wall += hash_wall;
    }
    Ok((cpu, wall))
}

fn hash_with_tools(file: &Path) -> Result<(f64, f64)> {
    ensure!(file.metadata()?.len() == GIB, "{} is not what was sent", file.display());
    let (before, started) = (ended_children_cpu_s()?, Instant::now());
    for (program, args) in [("openssl", &["dgst", "-sha256"][..]), ("b3sum", &[][..])] {
        let status = Command::new(program).args(args).arg(file).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{program} ended with {status}");
    }
    Ok((ended_children_cpu_s()? - before, started.elapsed().as_secs_f64()))
}

fn largest_file(folder: &Path) -> Result<PathBuf> {
    let mut waiting = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => waiting.push(entry.path()),
                false => files.push((entry.metadata()?.len(), entry.path())),
            }
        }
    }
    Ok(files.into_iter().max().context("the server stored nothing")?.1)
}

/// From the last byte sent to the answer, which carries the receipt.
pub(crate) fn latency(place: &Place) -> Result<()> {
    let server = start(Kind::Exhibit, place)?;
    let sizes = [(64 * 1024, 200), (8 * MIB, 60), (256 * MIB, 12)];
    println!(
        "\nLast byte to receipt (cargo run --release -p benches -- latency), one upload after another"
    );
    println!("{:>10}{:>8}{:>12}{:>12}", "size", "uploads", "median ms", "p99 ms");
    for (size, count) in sizes {
        let mut waits = (0..count)
            .map(|n| Ok(upload(&server.endpoint, size, size, n ^ size)?.as_secs_f64() * 1e3))
            .collect::<Result<Vec<f64>>>()?;
        let (middle, worst) = (median(&mut waits), percentile(&mut waits, 99));
        println!("{:>7} KiB{count:>8}{middle:>12.1}{worst:>12.1}", size / 1024);
    }
    println!("aim: p99 ≤ 100 ms at every size");
    Ok(())
}

/// Partial uploads joined into one item: nothing is copied, and everything is read once more for its SHA-256.
pub(crate) fn concatenation(place: &Place) -> Result<()> {
    const PARTS: u64 = 4;
    println!(
        "\nConcatenation of {PARTS} x {} MiB (cargo run --release -p benches -- concatenate; median of {} rounds)",
        GIB / PARTS / MIB,
        place.rounds
    );
    let mut seconds = (0..place.rounds)
        .map(|_| {
            let server = start(Kind::Exhibit, place)?;
            Ok(concatenate(&server.endpoint, GIB, PARTS)?.as_secs_f64())
        })
        .collect::<Result<Vec<f64>>>()?;
    println!("{:.2} s per GiB (aim ≤ 1.2)", median(&mut seconds));
    Ok(())
}

/// A shift's end: 64 uploads at once.
pub(crate) fn many(place: &Place) -> Result<()> {
    const UPLOADS: u64 = 64;
    const EACH: u64 = 32 * MIB;
    let server = start(Kind::Exhibit, place)?;
    let (cpu, written, started) =
        (cpu_s(server.pid())?, written_bytes(server.pid())?, Instant::now());
    std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|n| {
                scope.spawn({
                    let e = &server.endpoint;
                    move || upload(e, EACH, EACH, n + 1)
                })
            })
            .collect();
        uploads.into_iter().try_for_each(|u| u.join().expect("a client thread").map(drop))
    })?;
    let gib = (UPLOADS * EACH) as f64 / GIB as f64;
    let ratio = (written_bytes(server.pid())? - written) as f64 / (UPLOADS * EACH) as f64;
    println!(
        "\n{UPLOADS} uploads of {} MiB at once (cargo run --release -p benches -- many)",
        EACH / MIB
    );
    println!("peak memory {:>8.0} MB (aim ≤ 256)", peak_memory_bytes(server.pid())? as f64 / 1e6);
    println!("disk bytes written per byte received {ratio:.3} (aim ≤ 1.05)");
    println!(
        "CPU-s per GiB {:.2}, wall s per GiB {:.2}",
        (cpu_s(server.pid())? - cpu) / gib,
        started.elapsed().as_secs_f64() / gib
    );
    Ok(())
}
