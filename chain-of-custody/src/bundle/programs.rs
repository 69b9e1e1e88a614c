//! Programs in a bundle: each lies under its own digest, by which recipes name it.

use super::Files;
use super::layout::PROGRAMS;
use crate::report::{Class, Code, Notes};

pub(super) fn check(files: &Files<'_>, notes: &mut Notes) {
    for file in files.under(PROGRAMS) {
        let named = file.path.strip_prefix(PROGRAMS).unwrap_or_default();
        if file.digests.sha256.to_string() != named {
            let message = format!("{} is not the program that its name says.", file.path);
            notes.note(Code::ProgramDiffers, Class::Record, &file.path, message);
        }
    }
}
