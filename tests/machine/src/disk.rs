//! A file system of a size: full when it is full, as a real disk is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::root;

/// A file system in memory, mounted as long as it lives. Mounting needs root.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of `size` (as mount(8) takes it: `24m`) at `at`, a folder that is made if it is missing.
    ///
    /// # Panics
    /// When we are not root, or it cannot be mounted: then nothing would be tested.
    #[track_caller]
    pub fn mount(at: &Path, size: &str) -> Self {
        root::needed_to("mount a small disk");
        fs::create_dir_all(at).expect("a folder to mount on");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at);
        let mounted = mount.output().expect("mount runs");
        let why = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "a small disk cannot be mounted: {why}");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file that is still open must not keep the mount for ever.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
