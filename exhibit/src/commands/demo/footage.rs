//! Real footage from packages: what `make setup` installs.

use std::path::{Path, PathBuf};

use crate::control::Failure;

/// Where the packages put their clips.
const SAMPLES: [&str; 7] = [
    "/usr/share/forensics-samples/original-files/movie1/VID_20191220_170832.mp4",
    "/usr/share/forensics-samples/original-files/movie2/movie-hello.mp4",
    "/usr/share/forensics-samples/original-files/movie2/movie-hello.avi",
    "/usr/share/forensics-samples/original-files/movie2/movie-hello.mpeg",
    "/usr/share/forensics-samples/original-files/movie2/movie-hello.ogg",
    "/usr/share/doc/opencv-doc/examples/data/vtest.avi",
    "/usr/share/doc/opencv-doc/examples/data/tree.avi",
];

/// The files that were named, or the samples that are installed.
pub(super) fn find(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let found: Vec<PathBuf> =
        SAMPLES.iter().map(Path::new).filter(|path| path.exists()).map(Into::into).collect();
    if found.is_empty() {
        return Err(Failure::new("demo", "no sample footage is installed")
            .advice("run `make demo`, which installs it, or name files: exhibit demo FILE…"));
    }
    Ok(found)
}
