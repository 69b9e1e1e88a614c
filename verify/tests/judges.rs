//! Judges that we did not write: BagIt's own library, coreutils, b3sum, ssh-keygen. And the program as people run it.
// A test that panics has failed: that is how they say so.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{CLIP_1, bundle};

fn run(folder: &Path, program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

#[track_caller]
fn accepted(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// `make setup` puts it there.
fn bagit() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/bagit.py");
    assert!(tools.is_file(), "{} is missing: run `make setup`", tools.display());
    tools
}

#[test]
fn bagit_accepts_it_and_sees_a_flipped_byte() {
    let made = bundle();
    let python = bagit().with_file_name("python");
    let validate = || {
        run(
            made.folder.path(),
            python.to_str().unwrap(),
            &[bagit().to_str().unwrap(), "--validate", "bundle"],
        )
    };
    accepted(&validate());
    let mut bytes = fs::read(made.file(CLIP_1)).unwrap();
    bytes[7] ^= 1;
    fs::write(made.file(CLIP_1), bytes).unwrap();
    assert!(!validate().status.success());
}

#[test]
fn sha256sum_and_b3sum_read_the_lists() {
    let made = bundle();
    accepted(&run(&made.path(), "sha256sum", &["--strict", "-c", "manifest-sha256.txt"]));
    accepted(&run(&made.path(), "sha256sum", &["--strict", "-c", "tagmanifest-sha256.txt"]));
    accepted(&run(&made.path(), "b3sum", &["-c", "evidence/blake3sums.txt"]));
}

#[test]
fn ssh_keygen_verifies_the_signature() {
    let made = bundle();
    let verify = || {
        Command::new("ssh-keygen")
            .args(["-Y", "verify", "-f", "evidence/keys/claimed-by-sender/allowed_signers"])
            .args([
                "-I",
                "bundle@essex.example",
                "-n",
                "exhibit-bundle",
                "-s",
                "tagmanifest-sha256.txt.sig",
            ])
            .current_dir(made.path())
            .stdin(Stdio::from(fs::File::open(made.file("tagmanifest-sha256.txt")).unwrap()))
            .output()
            .unwrap()
    };
    accepted(&verify());
    let list = fs::read_to_string(made.file("tagmanifest-sha256.txt")).unwrap();
    fs::write(made.file("tagmanifest-sha256.txt"), list.replace("bagit", "bagiT")).unwrap();
    assert!(!verify().status.success());
}

/// And the other way round: what ssh-keygen signs, we read.
#[test]
fn we_read_what_ssh_keygen_signs() {
    let folder = tempfile::tempdir().unwrap();
    accepted(&run(folder.path(), "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "key"]));
    fs::write(folder.path().join("list"), "the list").unwrap();
    accepted(&run(
        folder.path(),
        "ssh-keygen",
        &["-Y", "sign", "-f", "key", "-n", "exhibit-bundle", "list"],
    ));
    let armour = fs::read(folder.path().join("list.sig")).unwrap();
    let signature = chain_of_custody::bundle::sshsig::SshSignature::parse(&armour).unwrap();
    assert!(signature.fits(b"the list") && !signature.fits(b"the lisT"));
    assert_eq!(signature.to_armour().as_bytes(), armour, "and write it byte for byte as it does");
}

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_exhibit-verify")).args(args).output().unwrap()
}

#[test]
fn exit_codes_and_words() {
    let made = bundle();
    let (path, policy) = (made.path(), made.policy_path());
    let (path, policy) = (path.to_str().unwrap(), policy.to_str().unwrap());
    let good = program(&[path, "--policy", policy, "--explain"]);
    let words = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{words}");
    assert!(words.starts_with("MATCH. 2 of 2 files of footage match."), "{words}");
    assert!(
        words.contains("hash (3 of 3 held): This file's fingerprint equals the one recorded."),
        "{words}"
    );
    assert!(words.contains("withheld field"), "{words}");
    assert_eq!(program(&[path]).status.code(), Some(2));
    assert_eq!(program(&["/no/such/bundle", "--policy", policy]).status.code(), Some(64));
    assert_eq!(program(&[path, "--no-such-option"]).status.code(), Some(64));
    assert_eq!(program(&["--help"]).status.code(), Some(0));
    let mut bytes = fs::read(made.file(CLIP_1)).unwrap();
    bytes[100_000] ^= 1;
    fs::write(made.file(CLIP_1), bytes).unwrap();
    let bad = program(&[path, "--policy", policy, "--json"]);
    assert_eq!(bad.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(report["result"], "mismatch");
    let finding = &report["findings"][0];
    assert_eq!(finding["code"], "footage-differs");
    assert_eq!(finding["class"], "footage");
    assert_eq!(finding["byte_range"], serde_json::json!([65_536, 131_072]));
    for word in ["tamper", "forge"] {
        assert!(!String::from_utf8_lossy(&bad.stdout).contains(word));
    }
}
