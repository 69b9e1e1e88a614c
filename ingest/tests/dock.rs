//! The dock agent through the real door: lines that break, deaths on either side, files that change, lies.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chain_of_custody::event::field;
use chain_of_custody::policy::Policy;
use chain_of_custody::receipt::Receipt;
use ingest::agent::breaking_line::{BreakingLine, Faults};
use ingest::agent::{
    AgentError, ClipEvent, Notice, Observer, Problem, PushConfig, PushReport, Safe, Source,
    Standing, Token, push,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::{Meddling, Site, policy_file};

const MIB: usize = 1024 * 1024;

/// A dock's folder with clips, and the agent's folder beside it.
struct Dock {
    folder: tempfile::TempDir,
    token: String,
    clips: Vec<(PathBuf, Vec<u8>)>,
}

impl Dock {
    async fn at(site: &Site, sizes: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (_, token) = site.enrol().await;
        let mut dock = Self { folder, token, clips: Vec::new() };
        for (number, size) in sizes.iter().enumerate() {
            dock.add(&format!("clip {number}.mp4"), *size);
        }
        dock
    }

    fn add(&mut self, name: &str, size: usize) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut bytes = vec![0; size];
        let seed = self.clips.len() as u64 + size as u64;
        StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
        std::fs::write(&path, &bytes).unwrap();
        self.clips.push((path.clone(), bytes));
        path
    }

    fn config(&self, server: &str) -> PushConfig {
        let token = Token::new(self.token.clone()).unwrap();
        let mut config = PushConfig::new(server, token, self.state_dir());
        config.idle = Duration::from_secs(3);
        config.patience = Duration::from_secs(120);
        config
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    fn sources(&self) -> Vec<Source> {
        self.clips.iter().map(|(path, _)| path.clone().into()).collect()
    }

    fn contents(&self) -> Vec<&[u8]> {
        self.clips.iter().map(|(_, bytes)| &bytes[..]).collect()
    }

    async fn push(&self, server: &str) -> PushReport {
        push(&self.config(server), self.sources(), &()).await.unwrap()
    }
}

fn safe(report: &PushReport) -> Vec<&Safe> {
    let standing = |clip: &'_ ingest::agent::ClipReport| match &clip.standing {
        Standing::Safe(_) => (),
        other => panic!("{:?}: {other:?}", clip.path),
    };
    report.clips.iter().for_each(standing);
    let safe = report.clips.iter().filter_map(|clip| match &clip.standing {
        Standing::Safe(safe) => Some(safe),
        _ => None,
    });
    safe.collect()
}

/// What the receipts on the dock's disk say in one field, each checked once more against the policy.
fn receipts_say(report: &PushReport, policy: &Path, name: &str) -> Vec<String> {
    let policy = Policy::parse(&std::fs::read(policy).unwrap()).unwrap();
    let say = |safe: &&Safe| {
        let receipt = Receipt::parse(&std::fs::read(&safe.receipt).unwrap()).unwrap();
        receipt.verify(&policy).unwrap().value(name).unwrap().to_owned()
    };
    safe(report).iter().map(say).collect()
}

fn faults(seed: u64, after_bytes: std::ops::Range<u64>, breaks: u32) -> Faults {
    Faults { seed, after_bytes, breaks, freeze_one_in: 0, freeze: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_arrives_over_a_line_that_breaks_and_freezes() {
    let site = Site::start().await;
    let sizes = [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB, 70 * MIB];
    let dock = Dock::at(&site, &sizes).await;
    let faults = Faults {
        freeze_one_in: 4,
        // Longer than this test may take: the agent must notice by itself.
        freeze: Duration::from_secs(3600),
        ..faults(7, 1_000..8_000_000, 14)
    };
    let line = BreakingLine::start(site.address(), faults).await.unwrap();
    let url = format!("http://{}", line.address());
    let report = tokio::time::timeout(Duration::from_secs(300), dock.push(&url)).await.unwrap();
    assert_eq!(report.to_string(), "7 of 7 safe. 0 waiting. 0 problems. You may leave.");
    assert!(line.broken() >= 10, "only {} breaks", line.broken());
    site.holds_exactly(&dock.contents()).await;
    let digests = receipts_say(&report, &policy_file(dock.folder.path(), 7), field::SIZE_BYTES);
    assert_eq!(digests, sizes.map(|size| size.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_at_random_goes_on_and_numbers_each_clip_once() {
    let site = Site::start().await;
    let dock = Dock::at(&site, &[0, 3 * MIB, 9 * MIB, 12 * MIB, 17 * MIB]).await;
    let mut chance = StdRng::seed_from_u64(11);
    let mut kills = 0;
    let report = loop {
        let config = dock.config(&site.url());
        // Short at first, so that a fast machine is not done before it was killed often; then ever longer.
        let life = Duration::from_millis(chance.random_range(1..20 + 15 * kills));
        tokio::select! {
            report = push(&config, dock.sources(), &()) => match report {
                Ok(report) => break report,
                // What the last one was writing when it died keeps the lock for a moment.
                Err(AgentError::InUse { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            () = tokio::time::sleep(life) => kills += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(kills > 3, "only {kills} kills");
    assert!(report.may_leave(), "{report}");
    site.holds_exactly(&dock.contents()).await;
    let policy = policy_file(dock.folder.path(), 7);
    let numbers: BTreeSet<_> =
        receipts_say(&report, &policy, field::AGENT_SEQ).into_iter().collect();
    assert_eq!(numbers.len(), 5, "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_started_again_loses_nothing_it_acknowledged() {
    let mut site = Site::start().await;
    let dock = Dock::at(&site, &[20 * MIB, 40 * MIB, 5]).await;
    let line =
        BreakingLine::start(site.address(), faults(3, 3_000_000..9_000_000, 5)).await.unwrap();
    let config = dock.config(&format!("http://{}", line.address()));
    let restarts = async {
        for pause_ms in [150, 300, 600] {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            site.kill();
            tokio::time::sleep(Duration::from_millis(200)).await;
            site.start_again(Meddling::Nothing).await;
            line.relay_to(site.address()).await;
        }
    };
    let (report, ()) = tokio::join!(push(&config, dock.sources(), &()), restarts);
    assert!(report.as_ref().unwrap().may_leave(), "{report:?}");
    site.holds_exactly(&dock.contents()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_last_reply_is_asked_for_again() {
    let site = Site::start_meddled_with(Meddling::LosesReplies(AtomicU32::new(2))).await;
    let dock = Dock::at(&site, &[5 * MIB, 7]).await;
    assert!(dock.push(&site.url()).await.may_leave());
    site.holds_exactly(&dock.contents()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_safe_stays_safe_and_a_copy_is_a_duplicate() {
    let site = Site::start().await;
    let mut dock = Dock::at(&site, &[3 * MIB, 0]).await;
    let first = dock.push(&site.url()).await;
    let entries = site.receiver().ledger().latest();
    let again = dock.push(&site.url()).await;
    assert_eq!(safe(&first), safe(&again));
    assert_eq!(site.receiver().ledger().latest(), entries, "asking again made entries");

    let copy = dock.folder.path().join("copy.mp4");
    std::fs::copy(&dock.clips[0].0, &copy).unwrap();
    let bytes = dock.clips[0].1.clone();
    dock.clips = vec![(copy, bytes)];
    let third = dock.push(&site.url()).await;
    assert!(safe(&third)[0].duplicate);
    assert_eq!(safe(&third)[0].item, safe(&first)[0].item);
    assert_ne!(safe(&third)[0].receipt, safe(&first)[0].receipt);
}

/// Does something once, when so much of a clip has been sent.
struct When<F: Fn() + Send + Sync> {
    sent: u64,
    act: F,
    done: AtomicBool,
}

impl<F: Fn() + Send + Sync> Observer for When<F> {
    fn clip(&self, _: &Path, event: &ClipEvent) {
        let reached = matches!(event, ClipEvent::Sent { offset } if *offset >= self.sent);
        if reached && !self.done.swap(true, Ordering::Relaxed) {
            (self.act)();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_that_changes_while_it_is_read_is_reported_and_never_mixed() {
    let site = Site::start().await;
    let mut dock = Dock::at(&site, &[12 * MIB]).await;
    let path = dock.clips[0].0.clone();
    let grown = [&dock.clips[0].1[..], b"more"].concat();
    let act = {
        let (path, grown) = (path.clone(), grown.clone());
        move || std::fs::write(&path, &grown).unwrap()
    };
    let watch = When { sent: 2 * MIB as u64, act, done: AtomicBool::new(false) };
    let config = dock.config(&site.url());
    let report = push(&config, dock.sources(), &watch).await.unwrap();
    let standing = &report.clips[0].standing;
    assert!(matches!(standing, Standing::Problem(Problem::Changed { .. })), "{standing:?}");
    assert_eq!(report.exit_code(), 1);
    site.holds_exactly(&[]).await;

    dock.clips = vec![(path, grown)];
    let report = dock.push(&site.url()).await;
    let policy = policy_file(dock.folder.path(), 7);
    assert_eq!(
        receipts_say(&report, &policy, field::AGENT_SEQ),
        ["1"],
        "another clip, another number"
    );
    site.holds_exactly(&dock.contents()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_with_other_bytes_but_the_same_size_and_time_is_noticed_between_runs() {
    let site = Site::start().await;
    let mut dock = Dock::at(&site, &[80 * MIB]).await;
    let (path, mut bytes) = dock.clips.pop().unwrap();
    dock.clips = vec![(path.clone(), bytes.clone())];
    // The first run dies once the server has acknowledged something.
    let dead = tokio::sync::Notify::new();
    struct Dies<'a>(&'a tokio::sync::Notify);
    impl Observer for Dies<'_> {
        fn clip(&self, _: &Path, event: &ClipEvent) {
            if matches!(event, ClipEvent::Sent { offset } if *offset > 70 * MIB as u64) {
                self.0.notify_one();
            }
        }
    }
    let config = dock.config(&site.url());
    let dies = Dies(&dead);
    tokio::select! {
        report = push(&config, dock.sources(), &dies) => panic!("{report:?}"),
        () = dead.notified() => {}
    }
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    bytes[MIB] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let report = dock.push(&site.url()).await;
    let standing = &report.clips[0].standing;
    assert!(matches!(standing, Standing::Problem(Problem::Changed { .. })), "{standing:?}");
    site.holds_exactly(&[]).await;
    dock.clips = vec![(path, bytes)];
    assert!(dock.push(&site.url()).await.may_leave());
    site.holds_exactly(&dock.contents()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definite_refusals_name_each_clip_and_why() {
    let site = Site::start().await;
    let mut dock = Dock::at(&site, &[9, 10]).await;
    let token = std::mem::replace(&mut dock.token, "nobody's".into());
    let report = dock.push(&site.url()).await;
    let words = report.to_string();
    assert_eq!(report.counts().problems, 2, "{words}");
    assert!(words.contains("clip 0.mp4") && words.contains("(401)"), "{words}");
    // The same folder with the right token goes on.
    dock.token = token;
    assert!(dock.push(&site.url()).await.may_leave());
    // Another agent cannot speak for this device.
    std::fs::remove_dir_all(dock.state_dir()).unwrap();
    let words = dock.push(&site.url()).await.to_string();
    assert!(words.contains("another key is registered"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_files_and_folders_are_problems_of_their_own() {
    let site = Site::start().await;
    let mut dock = Dock::at(&site, &[9]).await;
    dock.clips.push((dock.folder.path().join("gone.mp4"), vec![]));
    dock.clips.push((dock.folder.path().to_owned(), vec![]));
    let same = dock.clips[0].clone();
    dock.clips.push(same);
    let report = dock.push(&site.url()).await;
    let counts = report.counts();
    assert_eq!((counts.safe, counts.problems, report.clips.len()), (1, 2, 3), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_given_the_time_it_asks_for() {
    struct Waits<'a>(&'a Mutex<Vec<Duration>>);
    impl Observer for Waits<'_> {
        fn clip(&self, _: &Path, event: &ClipEvent) {
            if let ClipEvent::Retrying { wait, .. } = event {
                self.0.lock().unwrap().push(*wait);
            }
        }
    }
    // Asked for a clip, and before any clip for the keys that were replaced.
    for (below, of_the_clip) in [("/tus", 2), ("/ledger/rotation", 0)] {
        let site = Site::start_meddled_with(Meddling::Busy(below, AtomicU32::new(2))).await;
        let dock = Dock::at(&site, &[9]).await;
        let mut config = dock.config(&site.url());
        config.policy = Some(policy_file(dock.folder.path(), 7));
        let (waits, began) = (Mutex::new(Vec::new()), Instant::now());
        assert!(push(&config, dock.sources(), &Waits(&waits)).await.unwrap().may_leave());
        let waits = waits.into_inner().unwrap();
        assert_eq!(waits.len(), of_the_clip, "{below}");
        assert!(waits.iter().all(|wait| *wait >= Duration::from_secs(1)), "{below}: {waits:?}");
        assert!(began.elapsed() >= Duration::from_secs(2), "{below}: it was told twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_leaves_clips_waiting() {
    let mut site = Site::start().await;
    let dock = Dock::at(&site, &[9]).await;
    let url = site.url();
    site.kill();
    let mut config = dock.config(&url);
    config.patience = Duration::from_millis(500);
    let unpinned = push(&config, dock.sources(), &()).await;
    assert!(matches!(unpinned, Err(AgentError::NoPolicy { .. })), "{unpinned:?}");
    config.policy = Some(policy_file(dock.folder.path(), 7));
    let report = push(&config, dock.sources(), &()).await.unwrap();
    assert_eq!((report.counts().waiting, report.exit_code()), (1, 1), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_by_another_log_is_not_safe() {
    let site = Site::start().await;
    let dock = Dock::at(&site, &[9]).await;
    let mut config = dock.config(&site.url());
    config.policy = Some(policy_file(dock.folder.path(), 99));
    let report = push(&config, dock.sources(), &()).await.unwrap();
    let standing = &report.clips[0].standing;
    assert!(matches!(standing, Standing::Problem(Problem::Unproven { .. })), "{standing:?}");
    // The pin holds: neither the server's policy nor another file replaces it.
    let report = dock.push(&site.url()).await;
    assert_eq!(report.counts().problems, 1, "{report}");
    config.policy = Some(policy_file(dock.folder.path(), 7));
    let differs = push(&config, dock.sources(), &()).await;
    assert!(matches!(differs, Err(AgentError::PolicyDiffers { .. })), "{differs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clips_receipt_is_not_safe_and_the_true_one_heals_it() {
    let mut site = Site::start().await;
    let dock = Dock::at(&site, &[9, 5 * MIB]).await;
    let first = push(&dock.config(&site.url()), vec![dock.clips[0].0.clone().into()], &()).await;
    let receipt = std::fs::read(&safe(&first.unwrap())[0].receipt).unwrap();
    site.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    site.start_again(Meddling::GivesReceipt(receipt)).await;
    let report = dock.push(&site.url()).await;
    assert_eq!((report.counts().safe, report.counts().problems), (1, 1), "{report}");
    assert!(report.to_string().contains("clip 1.mp4"), "{report}");
    site.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    site.start_again(Meddling::Nothing).await;
    assert!(dock.push(&site.url()).await.may_leave());
    site.holds_exactly(&dock.contents()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_altered_on_the_way_end_in_quarantine_and_the_dock_says_so() {
    let site = Site::start_meddled_with(Meddling::FlipsABit).await;
    let dock = Dock::at(&site, &[5 * MIB]).await;
    for run in ["first", "second"] {
        let report = dock.push(&site.url()).await;
        let words = report.to_string();
        assert!(words.contains("quarantine: manifest-differs"), "{run}: {words}");
        assert_eq!(report.exit_code(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_on_another_server_is_refused() {
    let site = Site::start_meddled_with(Meddling::SendsElsewhere).await;
    let dock = Dock::at(&site, &[9]).await;
    let words = dock.push(&site.url()).await.to_string();
    assert!(words.contains("an address on another server"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_pinned_at_first_use_and_its_fingerprint_told() {
    #[derive(Default)]
    struct Notices(Mutex<Vec<Notice>>);
    impl Observer for Notices {
        fn notice(&self, notice: &Notice) {
            self.0.lock().unwrap().push(notice.clone());
        }
    }
    let site = Site::start().await;
    let dock = Dock::at(&site, &[9]).await;
    let notices = Notices::default();
    for _ in 0..2 {
        push(&dock.config(&site.url()), dock.sources(), &notices).await.unwrap();
    }
    let fingerprint = site.receiver().policy().fingerprint();
    let told = notices.0.into_inner().unwrap();
    assert_eq!(told, [Notice::PolicyPinned { fingerprint }, Notice::PolicyInUse { fingerprint }]);
}
