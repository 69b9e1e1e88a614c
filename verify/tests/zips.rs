//! ZIPs: the plain form is read, and every other form is never a match. Hostile ones are made byte by byte.
// A test that panics has failed: that is how they say so.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use chain_of_custody::bundle::layout::MAX_PATH_CHARS;
use chain_of_custody::report::{Code, Outcome, Report};
use common::{CLIP_1, CLIP_2, Made, bundle};
use exhibit_verify::VerifyArgs;
use proptest::prelude::*;
use zip::CompressionMethod;
use zip::write::{FullFileOptions, SimpleFileOptions, ZipWriter};

fn files_of(made: &Made) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    common::list(&made.path(), "JSM_1-2026-11-22/", &mut files);
    files
}

fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .unix_permissions(0o644)
}

/// A ZIP as the portal writes it, with `also` for what a case adds.
fn zip(made: &Made, also: impl FnOnce(&mut ZipWriter<File>)) -> PathBuf {
    let path = made.folder.path().join("bundle.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes) in files_of(made) {
        zip.start_file(name, stored()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    also(&mut zip);
    zip.finish().unwrap();
    path
}

/// The same with another top folder, which the writer itself might refuse to write.
fn zip_under(made: &Made, top: &str) -> PathBuf {
    let path = made.folder.path().join("under.zip");
    let placeholder = "Q".repeat(top.len() + 1);
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    let mut files = Vec::new();
    common::list(&made.path(), &placeholder, &mut files);
    for (name, bytes) in files {
        zip.start_file(name, stored()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    let (mut bytes, top) = (fs::read(&path).unwrap(), format!("{top}/"));
    // Names stand 30 bytes into a header before the data, and 46 bytes into one of the directory.
    for at in 0..bytes.len() {
        let name = match bytes[at..].first_chunk() {
            Some(b"PK\x03\x04") => at + 30,
            Some(b"PK\x01\x02") => at + 46,
            _ => continue,
        };
        if bytes[name..].starts_with(placeholder.as_bytes()) {
            bytes[name..name + top.len()].copy_from_slice(top.as_bytes());
        }
    }
    fs::write(&path, bytes).unwrap();
    path
}

fn check(made: &Made, path: &Path) -> Report {
    exhibit_verify::report(&VerifyArgs {
        path: path.to_owned(),
        policy: Some(made.policy_path()),
        fingerprint: None,
        file: None,
        since: None,
        ledger: None,
        json: true,
        explain: false,
    })
    .unwrap()
}

#[track_caller]
fn expect(report: &Report, result: Outcome, code: Code) {
    assert_eq!(report.result, result, "{:#?}", report.findings);
    assert!(report.findings.iter().any(|f| f.code == code), "no {code} in {:#?}", report.findings);
}

fn patched(path: &Path, from: &[u8], to: &[u8], which: &str) {
    let mut bytes = fs::read(path).unwrap();
    let mut found = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from));
    let at = match which {
        "first" => found.next(),
        _ => found.next_back(),
    };
    let at = at.unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    fs::write(path, bytes).unwrap();
}

#[test]
fn plain() {
    let made = bundle();
    let report = check(&made, &zip(&made, |_| {}));
    assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]));
}

#[test]
fn plain_with_64_bit_sizes() {
    let made = bundle();
    let path = made.folder.path().join("bundle.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes) in files_of(&made) {
        zip.start_file(name, stored().large_file(true)).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    let report = check(&made, &path);
    assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]));
}

#[test]
fn footage_byte_flipped_inside() {
    let made = bundle();
    let path = zip(&made, |_| {});
    let clip = &made.payload[1].1[60_000..60_040];
    let mut other = clip.to_vec();
    other[0] ^= 1;
    patched(&path, clip, &other, "first");
    let report = check(&made, &path);
    expect(&report, Outcome::Mismatch, Code::FootageDiffers);
    let finding = report.findings.iter().find(|f| f.code == Code::FootageDiffers).unwrap();
    assert_eq!(
        (finding.path.as_deref(), finding.byte_range.clone()),
        (Some(CLIP_2), Some(0..65_536))
    );
}

#[test]
fn one_name_twice() {
    let made = bundle();
    // The writer refuses to, so the second gets another name first, which is then overwritten in both headers.
    let name = format!("JSM_1-2026-11-22/{CLIP_1}");
    let placeholder = name.replace("clip_1", "clip_X");
    let path = zip(&made, |zip| {
        zip.start_file(placeholder.as_str(), stored()).unwrap();
        zip.write_all(b"something else").unwrap();
    });
    patched(&path, placeholder.as_bytes(), name.as_bytes(), "first");
    patched(&path, placeholder.as_bytes(), name.as_bytes(), "last");
    expect(&check(&made, &path), Outcome::Mismatch, Code::NameTwice);
}

#[test]
fn names_that_differ_in_case_only() {
    let made = bundle();
    let path = zip(&made, |zip| {
        zip.start_file("JSM_1-2026-11-22/DATA/originals/001-clip_1.mp4", stored()).unwrap();
    });
    expect(&check(&made, &path), Outcome::Mismatch, Code::NameTwice);
}

#[test]
fn symlink() {
    let made = bundle();
    let path = zip(&made, |zip| {
        zip.add_symlink("JSM_1-2026-11-22/data/originals/003.mp4", "/etc/passwd", stored())
            .unwrap();
    });
    expect(&check(&made, &path), Outcome::Mismatch, Code::Symlink);
}

#[test]
fn names_that_leave_the_folder() {
    let top = "JSM_1-2026-11-22";
    let below =
        ["../../x", "data\\..\\..\\x", "data\\..\\..\\x/"].map(|name| format!("{top}/{name}"));
    for name in below.iter().map(String::as_str).chain(["/etc/passwd"]) {
        let made = bundle();
        let placeholder = "Q".repeat(name.len());
        let path = zip(&made, |zip| zip.start_file(placeholder.as_str(), stored()).unwrap());
        patched(&path, placeholder.as_bytes(), name.as_bytes(), "first");
        patched(&path, placeholder.as_bytes(), name.as_bytes(), "last");
        expect(&check(&made, &path), Outcome::Mismatch, Code::NameLeavesFolder);
    }
}

#[test]
fn compressed_bomb() {
    let made = bundle();
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let path = zip(&made, |zip| {
        zip.start_file("JSM_1-2026-11-22/data/originals/bomb.mp4", deflated).unwrap();
        zip.write_all(&vec![0; 50_000_000]).unwrap();
    });
    assert!(fs::metadata(&path).unwrap().len() < 1_000_000);
    expect(&check(&made, &path), Outcome::CannotTell, Code::ZipCompressed);
}

#[test]
fn header_and_directory_disagree() {
    let made = bundle();
    let path = zip(&made, |_| {});
    let name = format!("JSM_1-2026-11-22/{CLIP_1}");
    patched(&path, name.as_bytes(), name.replace("clip_1", "clip_7").as_bytes(), "first");
    let report = check(&made, &path);
    assert_ne!(report.result, Outcome::Match);
    assert!(report.findings.iter().any(|f| f.code == Code::ZipMalformed), "{:#?}", report.findings);
}

#[test]
fn bytes_before_after_and_between() {
    let made = bundle();
    let path = zip(&made, |_| {});
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    expect(&check(&made, &path), Outcome::CannotTell, Code::ZipMalformed);
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    expect(&check(&made, &path), Outcome::CannotTell, Code::ZipMalformed);
}

#[test]
fn overlapping_entries() {
    let made = bundle();
    let path = zip(&made, |_| {});
    // The directory's last entry is made to begin where its first one does, under the first one's name and sizes.
    let mut bytes = fs::read(&path).unwrap();
    let entries: Vec<usize> =
        (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(b"PK\x01\x02")).collect();
    let first = bytes[entries[0]..entries[1]].to_vec();
    let twice = entries[1];
    let end = bytes.len() - 22;
    bytes.splice(twice..twice, first.iter().copied());
    let count =
        u16::from_le_bytes([bytes[end + first.len() + 10], bytes[end + first.len() + 11]]) + 1;
    let size = (end + first.len() - entries[0]) as u32;
    let end = end + first.len();
    bytes[end + 8..end + 10].copy_from_slice(&count.to_le_bytes());
    bytes[end + 10..end + 12].copy_from_slice(&count.to_le_bytes());
    bytes[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    expect(&check(&made, &path), Outcome::Mismatch, Code::ZipOverlap);
}

/// The top folder is a name too: an unpacker follows it like every other.
#[test]
fn top_folder_that_leaves_the_folder_or_hides() {
    let cases = [
        ("..", Code::NameLeavesFolder),
        ("", Code::NameLeavesFolder),
        ("C:", Code::NameLeavesFolder),
        ("..\\..\\x", Code::NameLeavesFolder),
        ("\u{202e}fdp", Code::NameUnsafe),
        ("a\u{7}b", Code::NameUnsafe),
        ("nul", Code::NameUnsafe),
    ];
    for (top, code) in cases {
        let made = bundle();
        let report = check(&made, &zip_under(&made, top));
        expect(&report, Outcome::Mismatch, code);
        assert_eq!(report.findings.len(), 1, "said once: {:#?}", report.findings);
        let footage = report.files.iter().all(|file| file.result == Outcome::Match);
        assert!(footage, "{top:?} changes no footage");
    }
}

#[test]
fn top_folder_counts_in_the_length_of_a_path() {
    let made = bundle();
    let longest = files_of(&made).iter().map(|(name, _)| name.len()).max().unwrap();
    let room = MAX_PATH_CHARS - (longest - "JSM_1-2026-11-22/".len()) - 1;
    assert_eq!(check(&made, &zip_under(&made, &"t".repeat(room))).result, Outcome::Match);
    let report = check(&made, &zip_under(&made, &"t".repeat(room + 1)));
    expect(&report, Outcome::Mismatch, Code::NameUnsafe);
}

/// Info-ZIP obeys a field of this kind before the name: what is unpacked would have other names than what was checked.
#[test]
fn extra_field_with_another_name() {
    const UNICODE_PATH: u16 = 0x7075;
    for central_only in [false, true] {
        let made = bundle();
        let path = zip(&made, |zip| {
            let mut options = FullFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .unix_permissions(0o644);
            let name = b"\x01\0\0\0\0JSM_1-2026-11-22/data/originals/002-clip_2.mp4";
            options.add_extra_field(UNICODE_PATH, name.as_slice(), central_only).unwrap();
            zip.start_file("JSM_1-2026-11-22/data/originals/003-clip.mp4", options).unwrap();
        });
        let report = check(&made, &path);
        assert_ne!(report.result, Outcome::Match);
        let malformed = report.findings.iter().any(|f| f.code == Code::ZipMalformed);
        assert!(malformed, "{:#?}", report.findings);
    }
}

/// Where both ends describe the directory, one reader goes by the one and the next by the other.
#[test]
fn two_ends_that_disagree() {
    let made = bundle();
    let bytes = fs::read(zip(&made, |_| {})).unwrap();
    let path = made.folder.path().join("two-ends.zip");
    let all_ones = |end: &mut [u8]| end[8..20].fill(0xff);
    for alike in [(|_: &mut [u8]| {}) as fn(&mut [u8]), all_ones] {
        fs::write(&path, with_64_bit_end(&bytes, alike)).unwrap();
        let report = check(&made, &path);
        assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]));
    }
    // On this disk's number, the directory's disk, the two counts, the size, the place.
    for at in [4, 6, 8, 10, 12, 16] {
        let mut end = with_64_bit_end(&bytes, |end| end[at] ^= 1);
        fs::write(&path, &end).unwrap();
        expect(&check(&made, &path), Outcome::CannotTell, Code::ZipMalformed);
        // And without the wide one the same contradiction with the directory itself.
        end = bytes.clone();
        let narrow = end.len() - 22;
        end[narrow + at] ^= 1;
        fs::write(&path, &end).unwrap();
        expect(&check(&made, &path), Outcome::CannotTell, Code::ZipMalformed);
    }
}

/// The wide end says how long it is, which disk it is on and how many entries lie there, too.
#[test]
fn wide_end_in_another_form() {
    let made = bundle();
    let bytes = fs::read(zip(&made, |_| {})).unwrap();
    let path = made.folder.path().join("wide.zip");
    let wide = bytes.len() - 22;
    // Its length, its disk, the directory's disk, entries on this disk; in the locator: disk, number of disks.
    for at in [4, 16, 20, 24, 56 + 4, 56 + 16] {
        let mut end = with_64_bit_end(&bytes, |_| {});
        end[wide + at] ^= 4;
        fs::write(&path, &end).unwrap();
        expect(&check(&made, &path), Outcome::CannotTell, Code::ZipMalformed);
    }
}

/// A value beside a size that needs none: readers differ in whether they take it.
#[test]
fn wide_value_that_nothing_asks_for() {
    let made = bundle();
    let path = made.folder.path().join("bundle.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes) in files_of(&made) {
        zip.start_file(name, stored().large_file(true)).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    // The first header has both sizes in its extra field; here the narrow ones are filled in beside it.
    assert_eq!(bytes[18..26], [0xff; 8], "the case is about a header with wide sizes");
    let size = (files_of(&made)[0].1.len() as u32).to_le_bytes();
    let mut both = bytes.clone();
    both[18..22].copy_from_slice(&size);
    both[22..26].copy_from_slice(&size);
    fs::write(&path, both).unwrap();
    let report = check(&made, &path);
    assert_ne!(report.result, Outcome::Match);
    assert!(report.findings.iter().any(|f| f.code == Code::ZipMalformed), "{:#?}", report.findings);
}

/// The same ZIP with a wide end before its narrow one, which `change` may alter.
fn with_64_bit_end(bytes: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let (before, narrow) = bytes.split_at(bytes.len() - 22);
    let at = before.len() as u64;
    let count = u64::from(u16::from_le_bytes([narrow[10], narrow[11]]));
    let wide = |at: usize| u64::from(u32::from_le_bytes(*narrow[at..].first_chunk().unwrap()));
    let mut out = before.to_vec();
    out.extend_from_slice(b"PK\x06\x06");
    out.extend_from_slice(&44_u64.to_le_bytes());
    out.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for value in [count, count, wide(12), wide(16)] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&1_u32.to_le_bytes());
    let mut narrow = narrow.to_vec();
    change(&mut narrow);
    out.extend_from_slice(&narrow);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever single byte of the container's own structure changes, nothing panics.
    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), start in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.zip");
        let head: &[u8] = if start { b"PK\x03\x04" } else { b"PK\x05\x06" };
        let tail = b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2e\0\0\0\0\0\0\0\0\0";
        fs::write(&path, [head, &bytes, tail].concat()).unwrap();
        let report = exhibit_verify::report(&VerifyArgs {
            path, policy: None, fingerprint: None, file: None,
            since: None, ledger: None, json: false, explain: false,
        });
        prop_assert!(report.unwrap().result != Outcome::Match);
    }
}

/// A flipped byte anywhere outside the files' own bytes: no panic, and no other footage is ever believed.
#[test]
fn any_flipped_byte_of_a_zip() {
    let made = bundle();
    let path = zip(&made, |_| {});
    let bytes = fs::read(&path).unwrap();
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for at in (directory..bytes.len()).step_by(23) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        // Times, comments and checksums of the container carry nothing that is believed; all else must be noticed.
        let report = check(&made, &path);
        if report.result == Outcome::Match {
            assert!(report.files.iter().all(|file| file.result == Outcome::Match), "byte {at}");
            assert_eq!(report.files.len(), 3);
        }
    }
}
