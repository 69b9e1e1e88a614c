//! What a minute of footage costs in derivatives, beside one call of the ffmpeg program that makes a viewing copy and a picture.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::servers::{Kind, Place, program, start};
use crate::usage::{children_cpu_s, cpu_s, ended_children_cpu_s};

/// Of the sample that set-up makes from real footage: 720p H.264, a minute.
const SAMPLE: &str = "footage/shift.mp4";
const MINUTES: f64 = 1.0;
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn run(place: &Place) -> Result<()> {
    let sample = place.tools.join(SAMPLE);
    ensure!(sample.exists(), "{} is missing: run scripts/setup bench", sample.display());
    let larger = in_mpeg4(&sample, &place.scratch)?;
    println!(
        "\nDerivatives (cargo run --release -p benches -- derivatives); CPU-s per minute of footage"
    );
    println!("{:<44}{:>10}{:>10}{:>12}", "", "workers", "server", "wall s");
    for (what, clip) in
        [("1080p MPEG-4, made anew", &larger), ("720p H.264, which browsers play", &sample)]
    {
        let cost = derive(place, clip)?;
        println!("{what:<44}{:>10.2}{:>10.2}{:>12.1}", cost.workers_s, cost.server_s, cost.wall_s);
    }
    let (cpu, wall) = by_ffmpeg(&larger, &place.scratch)?;
    println!(
        "{:<44}{cpu:>10.2}{:>10}{wall:>12.1}",
        "1080p MPEG-4 by ffmpeg: viewing copy, picture", ""
    );
    Ok(std::fs::remove_file(larger)?)
}

struct Cost {
    workers_s: f64,
    server_s: f64,
    wall_s: f64,
}

fn derive(place: &Place, clip: &Path) -> Result<Cost> {
    let server = start(Kind::Exhibit, place)?;
    let (cpu, begun) = (cpu_s(server.pid())?, Instant::now());
    let item = exhibit(&server.folder, &["ingest", &clip.display().to_string()])?;
    let item = item["item"].as_str().context("no item")?.to_owned();
    loop {
        let shown = exhibit(&server.folder, &["show", &item])?;
        ensure!(shown["failures"].as_array().is_none_or(Vec::is_empty), "{shown}");
        if shown["derivatives"].as_array().is_some_and(|made| made.len() == 3) {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "{shown}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let wall_s = begun.elapsed().as_secs_f64() / MINUTES;
    let server_s = (cpu_s(server.pid())? - cpu) / MINUTES;
    Ok(Cost { workers_s: children_cpu_s(server.pid())? / MINUTES, server_s, wall_s })
}

fn exhibit(data: &Path, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(program("exhibit")?);
    let output = command.args(arguments).args(["--json", "--data"]).arg(data).output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// As a recorder of ten years ago wrote it.
fn in_mpeg4(sample: &Path, scratch: &Path) -> Result<PathBuf> {
    let made = std::path::absolute(scratch.join("minute-1080p.avi"))?;
    ffmpeg(&[
        "-i",
        &sample.display().to_string(),
        "-vf",
        "scale=1920:1080",
        "-c:v",
        "mpeg4",
        "-q:v",
        "4",
        "-c:a",
        "mp3",
        &made.display().to_string(),
    ])?;
    Ok(made)
}

fn by_ffmpeg(clip: &Path, scratch: &Path) -> Result<(f64, f64)> {
    let (copy, picture) = (scratch.join("copy.mp4"), scratch.join("picture.jpg"));
    let (before, begun) = (ended_children_cpu_s()?, Instant::now());
    ffmpeg(&[
        "-i",
        &clip.display().to_string(),
        "-vf",
        "scale=-2:720",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-c:a",
        "aac",
        &copy.display().to_string(),
        "-frames:v",
        "1",
        &picture.display().to_string(),
    ])?;
    let cost = (ended_children_cpu_s()? - before, begun.elapsed().as_secs_f64());
    [copy, picture].iter().try_for_each(std::fs::remove_file)?;
    Ok((cost.0 / MINUTES, cost.1 / MINUTES))
}

fn ffmpeg(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    let command = command.args(["-nostdin", "-v", "error", "-y"]).args(arguments);
    let ended = command.stdin(Stdio::null()).status().context("ffmpeg: run scripts/setup bench")?;
    ensure!(ended.success(), "ffmpeg ended with {ended}");
    Ok(())
}
