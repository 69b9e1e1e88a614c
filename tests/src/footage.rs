//! Where footage lies: what packages bring, and what `scripts/footage` makes from it.

use std::path::{Path, PathBuf};

use crate::programs::repository;

const SAMPLES: &str = "/usr/share/forensics-samples/original-files";
const CCTV: &str = "/usr/share/doc/opencv-doc/examples/data";

/// A handheld telephone: H.264 1080p of variable frame rate, AAC, a GPS tag.
pub fn handheld() -> PathBuf {
    installed(Path::new(SAMPLES).join("movie1/VID_20191220_170832.mp4"))
}

/// One webcam recording with speech in four containers: mp4, avi, mpeg, ogg.
pub fn speech(container: &str) -> PathBuf {
    installed(Path::new(SAMPLES).join(format!("movie2/movie-hello.{container}")))
}

/// A photograph: JPEG, 1,280 pixels wide.
pub fn photograph() -> PathBuf {
    installed(Path::new(SAMPLES).join("pic1/IMG_1054.JPG"))
}

/// A fixed camera above pedestrians: MS-MPEG4 in AVI, 10 pictures a second.
pub fn cctv() -> PathBuf {
    installed(Path::new(CCTV).join("vtest.avi"))
}

/// A clip that setup made or fetched, by its name in `scripts/footage`: `shift.mp4`, `bikes.mp4`, `cut-index-last.mp4`, …
pub fn prepared(name: &str) -> PathBuf {
    installed(repository().join(".tools/footage").join(name))
}

#[track_caller]
fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run scripts/setup test", path.display());
    path
}
