//! What may arrive instead of footage without anybody's ill will: cut, empty, random. Always a reason, never a hang. What
//! somebody made to do harm is in `hostile_footage.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::*;
use transcode::Failure;
use transcode::protocol::probe::Verdict;
use transcode::protocol::{Limits, Recipe};
use transcode::supervise::Allowance;

async fn refused(original: &Bytes) -> Vec<(&'static str, String)> {
    let mut reasons = Vec::new();
    for recipe in transcode::recipe::standard() {
        let failure = run(recipe, original).await.expect_err("nothing can be made of this");
        assert!(failure.is_about_the_footage(), "{failure:?}");
        assert!(!failure.is_worth_another_attempt(), "{failure:?}");
        reasons.push((failure.code(), failure.to_string()));
    }
    reasons
}

fn index_at_front() -> Bytes {
    let faststart = ["-c", "copy", "-movflags", "+faststart"];
    ffmpeg(&footage(&format!("{HELLO}.mp4")), &faststart, "mp4")
}

#[tokio::test]
async fn a_recording_without_its_index_says_so() {
    let whole = ffmpeg(&footage(&format!("{HELLO}.mp4")), &["-c", "copy"], "mp4");
    let cut = whole.slice(..whole.len() / 2);
    for (code, reason) in refused(&cut).await {
        assert_eq!(code, "unreadable");
        assert!(reason.contains("index (moov) of this MP4 file is missing"), "{reason}");
        assert!(reason.contains("bytes are missing at the end"), "{reason}");
    }
}

#[tokio::test]
async fn a_recording_cut_to_a_third_is_found_out_and_still_shown() {
    let whole = index_at_front();
    let cut = whole.slice(..whole.len() / 3);
    let claimed = seconds(&ffprobe(&cut)["format"]["duration"]);
    assert!(claimed > 8.0, "its header still says that it is whole");
    let probe = probe(&cut).await;
    assert_eq!(probe.coverage.verdict, Verdict::Truncated, "{:?}", probe.coverage);
    assert_eq!(probe.coverage.missing_bytes, Some((whole.len() - cut.len()) as u64));
    let missing = probe.coverage.missing_us.unwrap();
    assert!((5_000_000..6_500_000).contains(&missing), "{missing}");
    assert!(probe.coverage.missing_packets.unwrap() > 100);
    let (_, made) = proxy(&cut).await;
    let shown = seconds(&ffprobe(&made)["format"]["duration"]);
    assert!((2.0..3.5).contains(&shown), "what is there is shown: {shown}");
    assert_eq!(complaints(&made), "");
}

#[tokio::test]
async fn cut_copies_of_other_containers_are_found_out() {
    for path in [format!("{HELLO}.avi"), format!("{HELLO}.ogg"), CCTV.to_owned()] {
        let whole = footage(&path);
        let probe = probe(&whole.slice(..whole.len() / 3)).await;
        assert_eq!(probe.coverage.verdict, Verdict::Truncated, "{path}: {:?}", probe.coverage);
        assert!(!probe.coverage.reasons.is_empty());
    }
    let whole = ffmpeg(&footage(PHONE), &["-c", "copy"], "mkv");
    let probe = probe(&whole.slice(..whole.len() / 3)).await;
    // A shorter loss than a second is below what a Matroska header lets us tell.
    assert_eq!(probe.coverage.verdict, Verdict::Truncated, "{:?}", probe.coverage);
}

/// A title in the character set of twenty years ago.
#[tokio::test]
async fn a_tag_that_is_no_utf8_is_shown_as_far_as_it_goes() {
    let title = ["-c", "copy", "-metadata", "title=Cafe before midnight"];
    let mut clip = ffmpeg(&footage(&format!("{HELLO}.mp4")), &title, "mp4").to_vec();
    let at = clip.windows(4).position(|window| window == b"Cafe").unwrap();
    clip[at + 3] = 0xe9;
    let probe = probe(&clip.into()).await;
    let tag = probe.tags.iter().find(|tag| tag.name == "title").unwrap();
    assert_eq!(tag.value, "Caf\u{fffd} before midnight");
}

/// A recorder that wakes when something moves. All but the viewing copy is made, and why it is not is said.
#[tokio::test]
async fn a_gap_that_no_copy_can_say_has_a_reason() {
    let recorded = |hours: u32| {
        let times = format!("scale=64:48,setpts='(N+if(gte(N,2),{hours}*3600,0))/TB'");
        let four = ["-an", "-vf", &times, "-vsync", "passthrough", "-frames:v", "4"];
        ffmpeg(&footage(CCTV), &[&four[..], &["-c:v", "mjpeg"]].concat(), "mkv")
    };
    let (_, copy) = proxy(&recorded(6)).await;
    assert!(seconds(&ffprobe(&copy)["format"]["duration"]) > 6.0 * 3600.0);
    let asleep = recorded(7);
    let failure = run(Recipe::Proxy(Default::default()), &asleep).await.unwrap_err();
    assert_eq!(failure.code(), "nothing-to-make");
    assert!(
        failure.to_string().contains("a gap of 7.0 hours, and a copy can have one of 6.6"),
        "{failure}"
    );
    run(Recipe::Frames(Default::default()), &asleep).await.unwrap();
}

#[tokio::test]
async fn nothing_and_noise_are_unreadable() {
    let noise: Vec<u8> = std::iter::successors(Some(1u64), |x| {
        Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|x| (x >> 33) as u8)
    .take(300_000)
    .collect();
    for original in [Bytes::new(), Bytes::from_static(b"x"), Bytes::from(noise)] {
        for (code, reason) in refused(&original).await {
            assert_eq!(code, "unreadable", "{reason}");
        }
    }
}

#[tokio::test]
async fn memory_and_time_are_limited() {
    let original = footage(PHONE);
    let little = |memory_bytes, cpu_seconds, wall_ms| Allowance {
        worker: Limits { memory_bytes, cpu_seconds },
        wall_time: Duration::from_millis(wall_ms),
        ..Allowance::default()
    };
    let always =
        transcode::protocol::ProxyParameters { preset: "veryslow".into(), ..Default::default() };
    let recipe = || Recipe::Proxy(always.clone());
    let memory = run_with(little(200 << 20, 600, 240_000), recipe(), &original).await.unwrap_err();
    assert!(memory.is_about_the_footage(), "{memory:?}");
    assert!(matches!(memory.code(), "out-of-memory" | "crashed" | "internal"), "{memory:?}");
    let cpu = run_with(little(2 << 30, 1, 240_000), recipe(), &original).await.unwrap_err();
    assert_eq!(cpu.to_string(), "stopped at the limit: processor time of 1 s");
    let wall = run_with(little(2 << 30, 600, 300), recipe(), &original).await.unwrap_err();
    assert_eq!(wall.code(), "limit-reached", "{wall:?}");
    assert!(wall.to_string().contains("wall time"), "{wall}");
}

/// Something that fails to read is our trouble, not the footage's.
#[tokio::test]
async fn a_store_that_fails_is_not_blamed_on_the_footage() {
    struct Broken(Bytes);
    impl transcode::source::RangeSource for Broken {
        fn size_bytes(&self) -> u64 {
            self.0.len() as u64
        }
        async fn read(&self, range: std::ops::Range<u64>) -> std::io::Result<Bytes> {
            if range.start > 1 << 20 {
                return Err(std::io::Error::other("range does not verify"));
            }
            Ok(self.0.slice(range.start as usize..range.end as usize))
        }
    }
    let supervisor = transcode::Supervisor::new(worker(), allowance());
    let source = Broken(footage(&format!("{HELLO}.avi")));
    let mut output = Vec::new();
    let probe = Recipe::Probe(Default::default());
    let failure = run_one(&supervisor, probe, &source, &mut output).await.unwrap_err();
    assert!(matches!(failure, Failure::Source(_)), "{failure:?}");
    assert!(!failure.is_about_the_footage());
}
