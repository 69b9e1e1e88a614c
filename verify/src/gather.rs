//! What lies where: the files of a bundle as ranges of real files, whatever container they came in.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use chain_of_custody::bundle::layout::{self, BadPath};
use chain_of_custody::report::{Code, Finding};

/// How much of an unexpected name is shown.
const SHOWN_CHARS: usize = 160;

/// A file of the bundle: a range of a file on disk.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Relative to the bundle, with `/`.
    pub(crate) path: String,
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    pub(crate) size_bytes: u64,
}

impl Place {
    /// A reader of exactly this range.
    pub(crate) fn open(&self) -> io::Result<io::Take<File>> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(file.take(self.size_bytes))
    }
}

/// Everything found, and what is wrong with how it was packed.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) places: Vec<Place>,
    pub(crate) findings: Vec<Finding>,
}

impl Gathered {
    /// Adds a file if its name is one that bundles have, and the first of it; else a finding.
    pub(crate) fn add(&mut self, place: Place) {
        self.add_named(&place.path.clone(), place);
    }

    /// The same for a file that is packed under a longer name, its top folder included.
    pub(crate) fn add_named(&mut self, packed: &str, place: Place) {
        if self.check_name(packed, &place.path) {
            self.places.push(place);
        }
    }

    /// Whether bundles have such a name; else a finding, which shows it as `path`.
    pub(crate) fn check_name(&mut self, name: &str, path: &str) -> bool {
        let Err(bad) = layout::check_path(name) else { return true };
        let (code, message) = match bad {
            BadPath::LeavesFolder => (
                Code::NameLeavesFolder,
                "A name is absolute or leads out of the bundle. It was not followed.",
            ),
            BadPath::Unsafe => (
                Code::NameUnsafe,
                "A name is too long or holds characters that bundles do not have.",
            ),
        };
        self.find(code, path, message);
        false
    }

    pub(crate) fn find(&mut self, code: Code, path: &str, message: impl Into<String>) {
        let class = layout::class_of(path);
        self.findings.push(Finding::at(code, class, &shown(path), message));
    }

    /// Names that are equal, or would be on a system that ignores case, after everything was added.
    pub(crate) fn refuse_equal_names(&mut self) {
        let mut seen = std::collections::BTreeMap::new();
        let places = std::mem::take(&mut self.places);
        for place in places {
            let folded = place.path.to_ascii_lowercase();
            if let Some(first) = seen.insert(folded, place.path.clone()) {
                let message = format!(
                    "Two files have the name {first}: which of them is meant cannot be known."
                );
                self.find(Code::NameTwice, &place.path, message);
            } else {
                self.places.push(place);
            }
        }
    }

    pub(crate) fn place(&self, path: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.path == path)
    }
}

/// A name from outside, as a terminal may show it: escapes and directions made visible, not too long.
pub(crate) fn shown(name: &str) -> String {
    let plain =
        |c: char| c.is_ascii_graphic() || c == ' ' || (c.is_alphanumeric() && !c.is_control());
    let show = |c: char| if plain(c) { c.to_string() } else { c.escape_unicode().to_string() };
    name.chars().take(SHOWN_CHARS).map(show).collect()
}
