//! kill -9 at every named moment: what random kills hardly ever hit, such as "signed, not yet published".
//!
//! One story for all: a clip is sent and sent again (a duplicate); where the moment is one of transcoding, its derivatives
//! are waited for. Somewhere on that way the server dies, once; it is started again, and nobody may notice afterwards.

#![allow(clippy::print_stdout, reason = "a story that failed is told again from what it printed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use test_machine::s3::Store;
use tests::persistent::{InFlight, everything_is_there};
use tests::seeded::Seeded;
use tests::tus::{Finished, Tus};
use tests::workspace::Device;
use tests::{Server, Workspace, audit, failpoints, footage};

const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn every_named_moment_loses_nothing_acknowledged() {
    // Those of keeping have stories of their own.
    let of_keeping = |name: &String| name.starts_with("backup.") || name.starts_with("move.");
    // Those that begin so, where somebody looks for one.
    let asked = std::env::var("EXHIBIT_MOMENTS").unwrap_or_default();
    let moments = failpoints::named().into_iter().filter(|name| !of_keeping(name));
    let moments = moments.filter(|name| name.starts_with(&asked));
    let moments: Vec<_> = moments.collect();
    assert!(moments.len() >= 10 || !asked.is_empty(), "only {moments:?}");
    for moment in moments {
        println!("killed at {moment}");
        Scene::killed_at(&moment).await.play().await;
    }
}

/// Ten and a half minutes of small pictures, which are made in two ranges and the sound.
fn long() -> Bytes {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let film = folder.path().join("long.mkv");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=5:d=630"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine=r=8000:d=630"]);
    ffmpeg.args(["-c:v", "mpeg4", "-bf", "2", "-g", "50", "-c:a", "pcm_alaw"]).arg(&film);
    assert!(ffmpeg.status().expect("ffmpeg runs").success());
    fs::read(&film).expect("a film").into()
}

/// What ranges have left in the store.
fn files_of_ranges(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files_of_ranges(&path)),
            false if path.to_string_lossy().contains("proxy-range") => found.push(path),
            false => {}
        }
    }
    found
}

/// A server that is armed to kill itself, and what sends to it.
struct Scene {
    moment: String,
    workspace: Workspace,
    device: Device,
    server: Server,
    was_killed: bool,
    /// Where objects rest, if the moment is one of a bucket.
    _store: Option<Store>,
}

impl Scene {
    async fn killed_at(moment: &str) -> Self {
        let store = moment.starts_with("bucket.").then(|| {
            let store = Store::seaweed().expect("SeaweedFS starts");
            store.make_bucket("evidence", true).expect("a bucket");
            store
        });
        let workspace = match &store {
            Some(store) => Workspace::in_bucket(store, "evidence"),
            None => Workspace::new(),
        };
        let device = workspace.enrol("a device whose server is killed");
        let server = Server::start_with(&workspace, &[("EXHIBIT_FAIL", moment)]);
        let moment = moment.to_owned();
        Scene { moment, workspace, device, server, was_killed: false, _store: store }
    }

    async fn play(mut self) {
        // Only a long recording is made in ranges.
        let in_ranges = self.moment.starts_with("ranges.");
        let clip = match in_ranges {
            true => long(),
            false => fs::read(footage::prepared("cctv-1fps.avi")).expect("a clip").into(),
        };
        let (file, finished) = self.send(&clip).await;
        let (_, again) = self.send(&clip).await;
        assert_eq!(finished.item, again.item, "the same recording again is the same item");
        if in_ranges || self.moment.starts_with("transcode.") {
            self.wait_for_derivatives(&finished.item).await;
        }
        assert!(self.was_killed, "{} was not reached", self.moment);

        let sent = [file.sent(finished)];
        everything_is_there(&self.workspace, &self.server, &self.device, &sent).await;
        let item = self.workspace.show(&sent[0].finished.item).ok().json();
        assert_eq!(audit::count_of_events(&item, "item.duplicate"), 1, "{item}");
        let kinds: Vec<_> = item["derivatives"].as_array().into_iter().flatten().collect();
        let distinct: BTreeSet<_> = kinds.iter().map(|d| d["recipe"].to_string()).collect();
        assert_eq!(kinds.len(), distinct.len(), "made twice: {item}");
        let left = files_of_ranges(&self.workspace.data());
        assert!(left.is_empty(), "{}: {left:?}", self.moment);
        assert!(self.server.stop().success());
    }

    async fn send(&mut self, clip: &Bytes) -> (InFlight, Finished) {
        let mut file = InFlight::new("cctv-1fps.avi".to_owned(), clip.clone());
        let mut seeded = Seeded::new(1);
        let started = Instant::now();
        loop {
            let tus = Tus::new(self.server.url(), &self.device.token);
            if let Ok(finished) = file.go_on(&tus, &mut seeded).await {
                return (file, finished);
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{}: {file:?}\n{}",
                self.moment,
                self.server.log()
            );
            tokio::time::sleep(PAUSE).await;
            self.revive();
        }
    }

    async fn wait_for_derivatives(&mut self, item: &str) {
        let started = Instant::now();
        loop {
            self.revive();
            let shown = self.workspace.show(item);
            if shown.code == Some(0) {
                let shown = shown.json();
                assert_eq!(audit::count_of_events(&shown, "item.derivation-failed"), 0, "{shown}");
                if shown["making"].as_array().is_some_and(Vec::is_empty) {
                    return;
                }
            }
            assert!(started.elapsed() < PATIENCE, "{}\n{}", self.moment, self.server.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Starts the server again, unarmed, if it has killed itself.
    fn revive(&mut self) {
        if !self.server.is_running() {
            assert!(!self.was_killed, "{}: it died twice\n{}", self.moment, self.server.log());
            self.was_killed = true;
            self.server = Server::start(&self.workspace);
        }
    }
}
