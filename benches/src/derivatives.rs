//! What a minute of footage costs in derivatives, beside the ffmpeg program that makes the same set: in one call, each output with
//! filters of its own, and in the calls of a good script.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::servers::{Kind, Place, program, start};
use crate::usage::{children_cpu_s, cpu_s, ended_children_cpu_s};

/// Of the sample that set-up makes from real footage: 720p H.264, a minute.
pub(crate) const SAMPLE: &str = "footage/shift.mp4";
const MINUTES: f64 = 1.0;
const PATIENCE: Duration = Duration::from_secs(600);

/// What ffmpeg is told for each output, as our recipes have it: the encoder's settings are the same.
pub(crate) const VIEWING_COPY: &str = "-vf scale=-2:720:flags=bicubic -c:v libx264 -preset veryfast -crf 23 -bf 0 -g 60 -c:a aac -b:a 128k -ar 48000 \
    -movflags frag_keyframe+empty_moov+default_base_moof";
const POSTER: &str = "-vf select='gte(t,3)',scale=640:-2 -frames:v 1 -q:v 4";
const SHEET: &str = "-vf fps=1,scale=160:-2,tile=10x6 -frames:v 1 -q:v 6";
const SCENES: &str = "-an -vf scale=64:36:flags=neighbor,format=gray,scdet=t=10 -f null";
const WAVEFORM: &str = "-vn -ac 1 -ar 8000 -f s8";

pub(crate) fn run(place: &Place) -> Result<()> {
    let sample = place.tools.join(SAMPLE);
    ensure!(sample.exists(), "{} is missing: run scripts/setup bench", sample.display());
    let larger = in_mpeg4(&sample, &place.scratch)?;
    println!(
        "\nDerivatives (cargo run --release -p benches -- derivatives); CPU-s per minute of footage"
    );
    println!("{:<52}{:>10}{:>10}{:>10}", "", "workers", "server", "wall s");
    for (what, clip) in
        [("1080p MPEG-4, made anew", &larger), ("720p H.264, which browsers play", &sample)]
    {
        let ours = derive(place, clip)?;
        println!("{what:<52}{:>10.2}{:>10.2}{:>10.1}", ours.workers_s, ours.server_s, ours.wall_s);
        let all = ours.workers_s + ours.server_s;
        for (how, calls) in [("one call", one_call()), ("five calls", five_calls())] {
            let (cpu, wall) = by_ffmpeg(clip, &place.scratch, &calls)?;
            println!(
                "{:<52}{cpu:>10.2}{:>10}{wall:>10.1}",
                format!("  the same by ffmpeg, {how}"),
                ""
            );
            println!("  CPU ratio {:.2}", all / cpu);
        }
    }
    std::fs::remove_file(larger)?;
    ten_minutes(place, &sample)
}

/// How soon a long recording that browsers play can be watched after its receipt, and when everything is made.
fn ten_minutes(place: &Place, sample: &Path) -> Result<()> {
    let file = |name: &str| std::path::absolute(place.scratch.join(name));
    let (minute, recording) = (file("minute.mp4")?, file("ten-minutes.mp4")?);
    let (from, minute_name) = (sample.display().to_string(), minute.display().to_string());
    let h264 = "-vf scale=1920:1080 -c:v libx264 -preset ultrafast -b:v 8M -c:a copy";
    let encoded: Vec<_> = ["-i".to_owned(), from].into_iter().chain(words(h264)).collect();
    let encoded: Vec<_> = encoded.iter().map(String::as_str).chain([&*minute_name]).collect();
    ffmpeg(&encoded)?;
    let to = recording.display().to_string();
    ffmpeg(&["-stream_loop", "9", "-i", &minute_name, "-c", "copy", &to])?;
    let server = start(Kind::Exhibit, place)?;
    let item = exhibit(&server.folder, &["ingest", &to])?;
    let (received, mut watchable) = (Instant::now(), None);
    let item = item["item"].as_str().context("no item")?.to_owned();
    let shown = loop {
        let shown = exhibit(&server.folder, &["show", &item])?;
        let derivatives = shown["derivatives"].as_array().context("no derivatives")?;
        if derivatives.iter().any(|made| made["media"]["browser"]["plays"] == true) {
            watchable.get_or_insert_with(|| received.elapsed());
        }
        if shown["making"].as_array().is_some_and(Vec::is_empty) {
            break shown;
        }
        ensure!(received.elapsed() < PATIENCE, "{shown}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let watchable = watchable.context("browsers do not play it")?.as_secs_f64();
    let made = shown["derivatives"].as_array().context("no derivatives")?;
    let made: u64 = made.iter().filter_map(|one| one["size_bytes"].as_u64()).sum();
    let percent = made as f64 * 100.0 / shown["size_bytes"].as_f64().context("no size")?;
    println!(
        "ten minutes of 1080p H.264, {:.0} MB: watched {watchable:.2} s after its receipt, everything made after {:.1} s, {percent:.2} % of it",
        std::fs::metadata(&recording)?.len() as f64 / 1e6,
        received.elapsed().as_secs_f64()
    );
    [minute, recording].iter().try_for_each(std::fs::remove_file)?;
    Ok(())
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
        if shown["making"].as_array().is_some_and(Vec::is_empty) {
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
pub(crate) fn in_mpeg4(sample: &Path, scratch: &Path) -> Result<PathBuf> {
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

/// Each call: what goes before the input, and its outputs.
type Call = (&'static str, Vec<(&'static str, &'static str)>);

fn one_call() -> Vec<Call> {
    let outputs = vec![
        (VIEWING_COPY, "copy.mp4"),
        (POSTER, "poster.jpg"),
        (SHEET, "sheet.jpg"),
        (SCENES, "-"),
        (WAVEFORM, "waveform"),
    ];
    vec![("", outputs)]
}

/// The sheet is made of keyframes only, the picture is sought for.
fn five_calls() -> Vec<Call> {
    vec![
        ("", vec![(VIEWING_COPY, "copy.mp4")]),
        ("-ss 3", vec![("-vf scale=640:-2 -frames:v 1 -q:v 4", "poster.jpg")]),
        ("-skip_frame nokey", vec![(SHEET, "sheet.jpg")]),
        ("", vec![(SCENES, "-")]),
        ("", vec![(WAVEFORM, "waveform")]),
    ]
}

fn by_ffmpeg(clip: &Path, scratch: &Path, calls: &[Call]) -> Result<(f64, f64)> {
    let folder = std::path::absolute(scratch.join("by-ffmpeg"))?;
    std::fs::create_dir_all(&folder)?;
    let (before, begun) = (ended_children_cpu_s()?, Instant::now());
    for (before_input, outputs) in calls {
        let mut arguments: Vec<String> = words(before_input).collect();
        arguments.extend(["-i".to_owned(), clip.display().to_string()]);
        for (how, name) in outputs {
            arguments.extend(words(how));
            arguments.push(match *name {
                "-" => "-".to_owned(),
                name => folder.join(name).display().to_string(),
            });
        }
        ffmpeg(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    let cost = (ended_children_cpu_s()? - before, begun.elapsed().as_secs_f64());
    std::fs::remove_dir_all(folder)?;
    Ok((cost.0 / MINUTES, cost.1 / MINUTES))
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

pub(crate) fn ffmpeg(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    let command = command.args(["-nostdin", "-v", "error", "-y"]).args(arguments);
    let ended = command.stdin(Stdio::null()).status().context("ffmpeg: run scripts/setup bench")?;
    ensure!(ended.success(), "ffmpeg ended with {ended}");
    Ok(())
}
