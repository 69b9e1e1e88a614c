//! The worker by itself, beside the ffmpeg program: a viewing copy's cost and quality, memory, start, two at once, and two at one recording.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use transcode::protocol::{OriginalDigests, Recipe};
use transcode::ranges::{self, OneBehindTheOther};
use transcode::source::RangeSource;
use transcode::supervise::{Allowance, Supervisor, Wanted};

use crate::derivatives::{SAMPLE, VIEWING_COPY, ffmpeg, in_mpeg4, words};
use crate::servers::{Place, program};
use crate::simulate;
use crate::usage::{ended_children_cpu_s, median};

/// Starts of each, of which the median is printed.
const STARTS: usize = 21;
/// Clips for one worker at a time, and for two.
const CLIPS: usize = 16;
const CLIP_SECONDS: &str = "5";
/// A recording that is made in ranges: four, and the sound.
const LONG_MINUTES: u32 = 20;

pub(crate) fn run(place: &Place) -> Result<()> {
    let sample = place.tools.join(SAMPLE);
    ensure!(sample.exists(), "{} is missing: run scripts/setup bench", sample.display());
    println!("\nThe worker (cargo run --release -p benches -- worker)");
    let larger = in_mpeg4(&sample, &place.scratch)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        starts().await?;
        viewing_copy(place, &larger).await?;
        memory(&larger).await?;
        two_at_once(place, &larger).await?;
        in_ranges(place, &larger).await
    })?;
    Ok(std::fs::remove_file(larger)?)
}

fn supervisor() -> Result<Supervisor> {
    Ok(Supervisor::new(program("exhibit-transcode")?, Allowance::default()))
}

async fn make(recipes: Vec<Recipe>, original: &Bytes) -> Result<Vec<Vec<u8>>> {
    let digests = OriginalDigests { sha256: "-".into(), blake3: "-".into() };
    let wanted = recipes.into_iter().map(|recipe| Wanted { recipe, sink: Vec::new() });
    let mut wanted: Vec<_> = wanted.collect();
    let finished = supervisor()?.run(digests, original, &mut wanted).await?;
    for ended in finished.ended {
        ended?;
    }
    Ok(wanted.into_iter().map(|one| one.sink).collect())
}

/// From nothing to a confined worker that has said why a file of noise is none, beside `ffmpeg -version`.
async fn starts() -> Result<()> {
    let noise = Bytes::from(vec![0xa7; 1000]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        let refused = make(vec![transcode::recipe::first()], &noise).await;
        ensure!(refused.is_err(), "noise is no footage");
        ours.push(began.elapsed().as_secs_f64() * 1000.0);
        let began = Instant::now();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.arg("-version").stdout(Stdio::null()).status().context("ffmpeg")?;
        theirs.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "start, confinement and end: {ours:.0} ms, ffmpeg -version {theirs:.0} ms, {:.0} ms more",
        ours - theirs
    );
    Ok(())
}

/// At the same settings: CPU, size, and how near each is to the original at that size.
async fn viewing_copy(place: &Place, clip: &Path) -> Result<()> {
    let original = Bytes::from(std::fs::read(clip)?);
    let file = |name: &str| std::path::absolute(place.scratch.join(name));
    let (ours, theirs) = (file("ours.mp4")?, file("theirs.mp4")?);
    let before = ended_children_cpu_s()?;
    let made = make(vec![Recipe::Proxy(Default::default())], &original).await?;
    let ours_s = ended_children_cpu_s()? - before;
    std::fs::write(&ours, &made[0])?;
    let before = ended_children_cpu_s()?;
    let mut arguments = vec!["-i".to_owned(), clip.display().to_string()];
    arguments.extend(words(VIEWING_COPY));
    arguments.push(theirs.display().to_string());
    ffmpeg(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let theirs_s = ended_children_cpu_s()? - before;
    println!(
        "{:<40}{:>10}{:>10}{:>12}",
        "viewing copy of a minute of 1080p", "CPU-s", "MB", "PSNR, dB"
    );
    for (whose, cpu, made) in [("exhibit", ours_s, &ours), ("ffmpeg", theirs_s, &theirs)] {
        let megabytes = std::fs::metadata(made)?.len() as f64 / 1e6;
        println!("{whose:<40}{cpu:>10.2}{megabytes:>10.2}{:>12.2}", psnr(made, clip)?);
        std::fs::remove_file(made)?;
    }
    println!("CPU ratio {:.2}", ours_s / theirs_s);
    Ok(())
}

fn psnr(made: &Path, original: &Path) -> Result<f64> {
    let graph = "[1:v]scale=-2:720:flags=bicubic,settb=1/90000[b];[0:v]settb=1/90000[a];[a][b]psnr";
    let mut judge = Command::new("ffmpeg");
    judge.args(["-nostdin", "-i"]).arg(made).arg("-i").arg(original);
    let judged = judge.args(["-lavfi", graph, "-an", "-f", "null", "-"]).output()?;
    let text = String::from_utf8_lossy(&judged.stderr).into_owned();
    let found = text.rsplit_once("average:").and_then(|(_, rest)| rest.split(' ').next());
    found.and_then(|number| number.parse().ok()).with_context(|| text.clone())
}

/// The most that one worker has had resident, of everything that is made of 1080p.
async fn memory(clip: &Path) -> Result<()> {
    let original = Bytes::from(std::fs::read(clip)?);
    let all: Vec<_> = transcode::recipe::standard().into_iter().skip(1).collect();
    let work = tokio::spawn(async move { make(all, &original).await });
    let mut most = 0;
    while !work.is_finished() {
        for pid in children()? {
            most = most.max(crate::usage::peak_memory_bytes(pid).unwrap_or(0));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    work.await??;
    println!("most memory of a worker, everything of 1080p: {:.0} MB", most as f64 / 1e6);
    Ok(())
}

/// Processes of ours.
fn children() -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(found)
}

async fn two_at_once(place: &Place, minute: &Path) -> Result<()> {
    let clip: PathBuf = std::path::absolute(place.scratch.join("clip.avi"))?;
    let (from, to) = (minute.display().to_string(), clip.display().to_string());
    ffmpeg(&["-i", &from, "-t", CLIP_SECONDS, "-c", "copy", &to])?;
    let original = Bytes::from(std::fs::read(&clip)?);
    let mut walls = Vec::new();
    for workers in [1, 2] {
        let began = Instant::now();
        let line = |_| async {
            for _ in 0..CLIPS / workers {
                make(transcode::recipe::standard(), &original).await?;
            }
            anyhow::Ok(())
        };
        futures_util::future::try_join_all((0..workers).map(line)).await?;
        walls.push(began.elapsed().as_secs_f64());
    }
    println!(
        "{CLIPS} clips of {CLIP_SECONDS} s: {:.1} s by one worker, {:.1} s by two, {:.2} times the throughput",
        walls[0],
        walls[1],
        walls[0] / walls[1]
    );
    let each_s = walls[0] / CLIPS as f64;
    let simulated = simulate::last_done_s(2, (0..CLIPS).map(|_| (0.0, each_s)));
    println!(
        "  the same by two, simulated from one: {simulated:.1} s, {:.2} of the measured",
        simulated / walls[1]
    );
    simulate::print_shift(each_s * 60.0 / CLIP_SECONDS.parse::<f64>()?, playable(place).await?);
    Ok(std::fs::remove_file(clip)?)
}

/// A file to read from.
struct Lying(Arc<File>, u64);

impl RangeSource for Lying {
    fn size_bytes(&self) -> u64 {
        self.1
    }

    async fn read(&self, range: std::ops::Range<u64>) -> std::io::Result<Bytes> {
        let (file, mut bytes) = (Arc::clone(&self.0), vec![0; (range.end - range.start) as usize]);
        let read = move || file.read_exact_at(&mut bytes, range.start).map(|()| bytes.into());
        tokio::task::spawn_blocking(read).await?
    }
}

/// The viewing copy of a long recording: in one, in ranges by one worker, and in ranges by two.
async fn in_ranges(place: &Place, minute: &Path) -> Result<()> {
    let long: PathBuf = std::path::absolute(place.scratch.join("long.avi"))?;
    let (from, to) = (minute.display().to_string(), long.display().to_string());
    let times = (LONG_MINUTES - 1).to_string();
    ffmpeg(&["-stream_loop", &times, "-i", &from, "-c", "copy", &to])?;
    let source = Lying(Arc::new(File::open(&long)?), std::fs::metadata(&long)?.len());
    let probe = one(transcode::recipe::first(), &source).await?;
    let probe = transcode::protocol::Probe::parse(&probe).context("a probe")?;
    let next = transcode::recipe::after(&transcode::recipe::media_text(&probe)).into_iter();
    let copy = next.rev().find(|recipe| !ranges::of(recipe).is_empty());
    let parts = ranges::of(&copy.context("it is not made in ranges")?);
    let began = Instant::now();
    one(Recipe::Proxy(Default::default()), &source).await?;
    println!("{LONG_MINUTES} minutes of 1080p in one: {:.1} s", began.elapsed().as_secs_f64());
    let (mut walls, mut made) = (Vec::new(), Vec::new());
    for workers in [1, 2] {
        let began = Instant::now();
        let each = parts.iter().map(|part| one(part.clone(), &source));
        let done: Vec<_> = stream::iter(each).buffered(workers).try_collect().await?;
        let done = OneBehindTheOther(done.into_iter().map(Bytes::from).collect());
        made.push(one(ranges::joined(&done), &done).await?);
        walls.push(began.elapsed().as_secs_f64());
    }
    ensure!(made[0] == made[1], "the same bytes by one worker and by two");
    println!(
        "  in {} ranges and the sound: {:.1} s by one worker, {:.1} s by two, {:.2} times the throughput",
        parts.len() - 1,
        walls[0],
        walls[1],
        walls[0] / walls[1]
    );
    Ok(std::fs::remove_file(long)?)
}

async fn one(recipe: Recipe, source: &impl RangeSource) -> Result<Vec<u8>> {
    let digests = OriginalDigests { sha256: "-".into(), blake3: "-".into() };
    let mut wanted = [Wanted { recipe, sink: Vec::new() }];
    let finished = supervisor()?.run(digests, source, &mut wanted).await?;
    for ended in finished.ended {
        ended?;
    }
    let [Wanted { sink, .. }] = wanted;
    Ok(sink)
}

/// Seconds of one worker for a minute that browsers play: everything but a viewing copy.
async fn playable(place: &Place) -> Result<f64> {
    let original = Bytes::from(std::fs::read(place.tools.join(SAMPLE))?);
    let all = transcode::recipe::standard().into_iter();
    let recipes = all.filter(|recipe| !matches!(recipe, Recipe::Proxy(_))).collect();
    let began = Instant::now();
    make(recipes, &original).await?;
    Ok(began.elapsed().as_secs_f64())
}
