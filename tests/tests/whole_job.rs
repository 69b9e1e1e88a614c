//! The whole job as people run it: the demo, the commands and what they answer, the server's stop.

use std::path::PathBuf;

use chain_of_custody::digest::Digests;
use serde_json::Value;
use tests::programs::{exhibit, program};
use tests::{Answer, Server, Workspace, audit, footage};

#[test]
fn the_demo_tells_its_story_to_the_end() {
    let place = tempfile::tempdir().expect("a folder");
    let kept = place.path().join("demo");
    let told = Answer::of(
        std::process::Command::new(program("exhibit"))
            .args(["demo", "--json", "--keep"])
            .arg(&kept)
            .args([footage::handheld(), footage::speech("mp4"), footage::cctv()]),
    );
    let told = told.ok().json();
    assert_eq!(told["ok"], true, "{told}");
    let said = told["steps"].to_string();
    for expected in [
        "3 of 3 safe. 0 waiting. 0 problems. You may leave.",
        "genuine bundle: match",
        "forged bundle: mismatch",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    // What the probe found reaches the page for people: 79 s of CCTV.
    let page = std::fs::read_to_string(kept.join("bundle/READ-ME-FIRST.html")).expect("the page");
    assert!(page.contains("1:19"), "the CCTV clip's length is not on the page");
}

#[test]
fn a_workstation_brings_in_footage_and_what_cannot_be_read() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let clip = footage::speech("mp4");
    let noise = workspace.write("noise.avi", &[7; 50_000]);

    let taken = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
    for key in [
        "item",
        "state",
        "name",
        "size_bytes",
        "digests",
        "device",
        "received_at",
        "events",
        "derivatives",
    ] {
        assert!(!taken[key].is_null(), "{key} is missing in {taken}");
    }
    assert_eq!(taken["state"], "stored");
    assert_eq!(taken["name"], "movie-hello.mp4");

    let unreadable = workspace.exhibit(&["ingest", &noise.display().to_string()]).ok().json();
    let id = unreadable["item"].as_str().expect("an id").to_owned();
    let shown = workspace.settled(&id);
    assert_eq!(shown["state"], "stored", "unreadable footage is kept");
    assert_eq!(audit::count_of_events(&shown, "item.derivation-failed"), 1);
    let reason = shown["failures"][0]["reason"].as_str().expect("a reason people can read");
    assert!(!reason.is_empty());

    let shown = workspace.settled(taken["item"].as_str().expect("an id"));
    let kinds: Vec<&str> = shown["derivatives"]
        .as_array()
        .expect("derivatives")
        .iter()
        .map(|d| d["kind"].as_str().expect("a kind"))
        .collect();
    assert!(kinds.contains(&"poster") && kinds.contains(&"thumbnails"), "{kinds:?}");
    let by_digest = format!("blake3:{}", shown["digests"]["blake3"].as_str().expect("hex"));
    assert_eq!(workspace.show(&by_digest).ok().json()["item"], shown["item"]);

    let cut = footage::prepared("cut-index-first.mp4").display().to_string();
    let cut = workspace.exhibit(&["ingest", &cut]).ok().json();
    let cut = cut["item"].as_str().expect("an id");
    workspace.settled(cut);
    let mut show = std::process::Command::new(tests::programs::program("exhibit"));
    let read = tests::Answer::of(show.args(["show", cut, "--data"]).arg(workspace.data())).ok();
    let says = format!("{}{}", read.text(), read.stderr);
    assert!(says.contains("beyond the end of the file"), "what is missing is said: {says}");
    assert!(server.stop().success(), "a stop that was asked for is a success");
    audit::ledger_is_clean(&workspace);
}

#[test]
fn commands_work_without_a_server_and_say_what_is_wrong() {
    let workspace = Workspace::new();
    let clip = workspace.write("a.bin", b"no server is up");
    let taken = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
    assert_eq!(workspace.items().len(), 1);

    let missing = workspace.exhibit(&["ingest", "/nowhere/clip.mp4"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("/nowhere/clip.mp4"), "{}", missing.stderr);
    let unknown = workspace.exhibit(&["show", "0193a7c2-0000-7000-8000-000000000001"]);
    assert!(unknown.code != Some(0) && unknown.stderr.contains("search"), "{}", unknown.stderr);

    let mistyped = workspace.path("dota");
    for command in [&["search"][..], &["keys", "publish"], &["ledger", "audit"]] {
        let refused = exhibit(&mistyped, command);
        assert_eq!(refused.code, Some(1), "{command:?}");
        assert!(refused.stderr.contains("no data folder at"), "{}", refused.stderr);
    }
    assert!(!mistyped.exists(), "a mistyped name is no second ledger");

    std::fs::write(workspace.in_data("exhibit.toml"), "[limits]\nitem_byte = 1\n")
        .expect("written");
    let misspelt = workspace.exhibit(&["search"]);
    assert_eq!(misspelt.code, Some(1));
    assert!(misspelt.stderr.contains("limits.item_bytes"), "{}", misspelt.stderr);
    std::fs::remove_file(workspace.in_data("exhibit.toml")).expect("removed");
    assert_eq!(workspace.items()[0]["item"], taken["item"]);
}

#[test]
fn a_bundle_leaves_for_somebody_and_checks_out_by_policy_or_fingerprint() {
    let workspace = Workspace::new();
    let clip = workspace.write("a.bin", &[1; 200_000]);
    let taken = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
    let bundle = workspace.path("bundle.zip").display().to_string();
    let item = taken["item"].as_str().expect("an id");
    workspace
        .exhibit(&[
            "bundle", "create", "--item", item, "--for", "cps", "--to", "CPS East", "-o", &bundle,
        ])
        .ok();
    let policy = workspace.write("policy", audit::policy_of(&workspace).as_bytes());
    let policy = policy.display().to_string();
    let published = workspace.exhibit(&["keys", "publish", "--fingerprint"]).ok().json();
    let fingerprint = published["fingerprint"].as_str().expect("a fingerprint");

    let verified = |arguments: &[&str]| {
        let mut command = std::process::Command::new(program("exhibit"));
        let answer = Answer::of(command.args(["verify", &bundle, "--json"]).args(arguments));
        (answer.code, answer.json())
    };
    let (code, report) = verified(&["--policy", &policy]);
    assert_eq!((code, &report["result"]), (Some(0), &Value::from("match")), "{report}");
    let said = report["rests_on"].to_string();
    assert!(said.contains("nobody outside the force has confirmed"), "{said}");
    assert_eq!(verified(&["--fingerprint", fingerprint]).0, Some(0));
    let (code, report) = verified(&[]);
    assert_eq!((code, &report["result"]), (Some(2), &Value::from("cannot-tell")), "{report}");

    let again = workspace.exhibit(&[
        "bundle", "create", "--item", item, "--for", "cps", "--to", "CPS East", "-o", &bundle,
    ]);
    assert!(again.code != Some(0) && again.stderr.contains("exists"), "{}", again.stderr);
}

#[test]
fn a_passphrase_protects_the_keys_and_is_missed() {
    let workspace = Workspace::new();
    let passphrase = workspace.write("passphrase", b"correct horse\n");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&passphrase, private).expect("chmod");
    std::fs::create_dir_all(workspace.data()).expect("data");
    let setting = format!("[keys]\npassphrase_file = \"{}\"\n", passphrase.display());
    std::fs::write(workspace.in_data("exhibit.toml"), setting).expect("written");
    workspace.exhibit(&["keys", "publish"]).ok();
    let key = std::fs::read(workspace.in_data("keys/log.key")).expect("a key file");
    assert!(key.starts_with(b"age-encryption.org/v1"), "the key file is not encrypted");

    std::fs::write(workspace.in_data("exhibit.toml"), "").expect("written");
    let without = exhibit(&workspace.data(), &["keys", "publish"]);
    assert_eq!(without.code, Some(1));
    assert!(without.stderr.contains("passphrase"), "{}", without.stderr);
}

/// Made again, each derivative is the same bytes; one that is not is named, and whether the tools were others.
#[test]
fn derivatives_are_made_again_and_compared() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let ingest = |clip: PathBuf| {
        let taken = workspace.exhibit(&["ingest", &clip.display().to_string()]).ok().json();
        let item = taken["item"].as_str().expect("an id").to_owned();
        let made = workspace.settled(&item)["derivatives"].as_array().map_or(0, Vec::len);
        (item, made)
    };
    let reproduce = |item: &str, more: &[&str]| {
        let answer = workspace.exhibit(&[&["reproduce", item][..], more].concat());
        (answer.code, answer.json())
    };
    // One that is made anew, one that browsers play.
    let (recorder, made) = ingest(footage::speech("avi"));
    assert_eq!(made, 7);
    for (item, made) in [(recorder.clone(), made), ingest(footage::handheld())] {
        let (code, told) = reproduce(&item, &[]);
        assert_eq!((code, &told["result"]), (Some(0), &Value::from("match")), "{told}");
        let compared = told["derivatives"].as_array().expect("derivatives");
        assert_eq!(compared.len(), made, "{told}");
        assert!(compared.iter().all(|one| one["result"] == "match"), "{told}");
    }
    let (code, told) = reproduce(&recorder, &["--derivative", "nothing"]);
    assert_eq!(code, Some(1), "{told}");
    the_program_goes_along(&workspace, &recorder);
    assert!(server.stop().success());

    // What stands in the records is not what comes out: of the same program, then of another.
    let other = "UPDATE derivatives SET sha256 = replace(sha256, substr(sha256, 1, 8), '00000000') WHERE kind IN ('poster', 'proxy')";
    workspace.sql(other);
    for (kind, result, code) in [("poster", "mismatch", 1), ("frames", "match", 0)] {
        let told = reproduce(&recorder, &["--derivative", kind]);
        assert_eq!((told.0, &told.1["result"]), (Some(code), &Value::from(result)), "{told:?}");
    }
    workspace.sql("UPDATE derivatives SET recipe = replace(recipe, '\"libavcodec\":\"', '\"libavcodec\":\"0.')");
    let (code, told) = reproduce(&recorder, &["--derivative", "poster"]);
    // Its digest is not the recorded one, with other libraries; what it shows is.
    assert_eq!((code, &told["result"]), (Some(0), &Value::from("same-pictures")), "{told}");
    assert!(told.to_string().contains("libavcodec then 0."), "{told}");
}

/// The program that a recipe names was kept, and leaves in a bundle where somebody asks for it.
fn the_program_goes_along(workspace: &Workspace, item: &str) {
    let output = workspace.path("with-programs");
    let create = |output: &std::path::Path, more: &[&str]| {
        let output = output.display().to_string();
        let asked = ["bundle", "create", "--item", item, "--for", "internal"];
        let to = ["--to", "an expert", "--output", &output];
        workspace.exhibit(&[&asked[..], &to, more].concat())
    };
    create(&output, &["--programs"]).ok();
    let worker = std::fs::read(program("exhibit-transcode")).expect("the worker");
    let digest = Digests::of(&worker).sha256.to_string();
    let kept = std::fs::read(output.join("evidence/programs").join(&digest)).expect("it is there");
    assert!(kept == worker, "another program lies there");
    let entries = std::fs::read_to_string(output.join("evidence/ledger/openings.jsonl"));
    assert!(entries.expect("openings").contains(&digest), "the ledger names it");
    let published = workspace.exhibit(&["keys", "publish", "--fingerprint"]).ok().json();
    let fingerprint = published["fingerprint"].as_str().expect("a fingerprint");
    let mut verify = std::process::Command::new(program("exhibit"));
    verify.arg("verify").arg(&output).args(["--json", "--fingerprint", fingerprint]);
    let report = Answer::of(&mut verify).ok().json();
    assert_eq!(report["result"], "match", "{report}");
    let without = workspace.path("without");
    create(&without, &[]).ok();
    assert!(!without.join("evidence/programs").exists());
    let programs = workspace.in_data("objects/ledger");
    let moved = remove_file_called(&programs, &digest);
    assert!(moved, "it is kept beside the ledger");
    let refused = create(&workspace.path("again"), &["--programs"]);
    assert!(refused.stderr.contains("was not kept"), "{}", refused.stderr);
}

fn remove_file_called(folder: &std::path::Path, name: &str) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.into_iter().any(|entry| match entry.path() {
        path if path.is_dir() => remove_file_called(&path, name),
        path => {
            path.file_name().is_some_and(|own| own == name) && std::fs::remove_file(path).is_ok()
        }
    })
}

/// The command is killed while its worker is at work; what it asked for is taken up by the next.
fn ends_in_the_middle(workspace: &Workspace, arguments: &[&str]) {
    let (script, begun) = (workspace.in_data("worker"), workspace.in_data("begun"));
    // The probe is the real one's; the second worker listens until nobody speaks to it.
    let text = format!(
        "#!/bin/sh\nn=$(cat {begun} 2>/dev/null)\necho 1$n > {begun}\n[ -z \"$n\" ] && exec {worker}\nexec cat >/dev/null\n",
        begun = begun.display(),
        worker = program("exhibit-transcode").display(),
    );
    std::fs::write(&script, text).expect("written");
    let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, may_run).expect("chmod");
    let mut command = std::process::Command::new(program("exhibit"));
    command.args(arguments).args(["--reason", "for a test", "--data"]).arg(workspace.data());
    let mut running = command.env("EXHIBIT_TRANSCODE", &script).spawn().expect("it starts");
    let is_at_work = || std::fs::read_to_string(&begun).is_ok_and(|n| n.trim() == "11");
    while !is_at_work() {
        assert!(running.try_wait().expect("asked").is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    running.kill().expect("killed");
    running.wait().expect("it ends");
}

/// A part of a recording, and a copy without what must not be shown, with and without a server.
#[test]
fn parts_and_redactions_are_made_saved_and_recorded() {
    let workspace = Workspace::new();
    let clip = footage::speech("avi").display().to_string();
    let taken = workspace.exhibit(&["ingest", &clip]).ok().json();
    let item = taken["item"].as_str().expect("an id");
    let list = workspace.in_data("list.json");
    let area = r#"{"from_ms": 0, "to_ms": 1000, "x": 10, "y": 10, "width": 64, "height": 64, "cover": "box"}"#;
    let text = format!(r#"{{"v": 1, "areas": [{area}], "keep": {{"from_ms": 0, "to_ms": 1500}}}}"#);
    std::fs::write(&list, text).expect("written");
    let list = list.display().to_string();
    let make = |name: &str, arguments: &[&str]| {
        let file = workspace.in_data(name).display().to_string();
        let more = ["--reason", "for a test", "--output", &file];
        let answer = workspace.exhibit(&[arguments, &more[..]].concat());
        if answer.code == Some(0) {
            let saved = std::fs::read(&file).expect("it was saved");
            let digests = answer.json()["derivatives"][0]["digests"].clone();
            assert_eq!(digests["sha256"], Digests::of(&saved).sha256.to_string(), "{name}");
        }
        answer
    };
    let exact = ["extract", item, "--from", "0:01", "--to", "2.5", "--exact"];
    ends_in_the_middle(&workspace, &exact);
    make("exact.mp4", &exact).ok();
    let server = Server::start(&workspace);
    make("redacted.mp4", &["redact", item, "--list", &list]).ok();
    make("copied.mov", &["extract", item, "--from", "1", "--to", "2"]).ok();
    make("again.mp4", &exact).ok();
    let there = make("again.mp4", &exact);
    assert!(there.code == Some(1) && there.stderr.contains("there already"), "{}", there.stderr);
    let beyond = make("beyond.mp4", &["extract", item, "--from", "2:00:00", "--to", "2:00:01"]);
    assert!(beyond.stderr.contains("nothing between 7200000 ms"), "{}", beyond.stderr);
    let backwards = make("backwards.mp4", &["extract", item, "--from", "2", "--to", "1"]);
    assert!(backwards.stderr.contains("ends before it begins"), "{}", backwards.stderr);

    let shown = workspace.settled(item);
    let events = shown["events"].as_array().expect("events");
    let by_hand = |kind: &str| {
        let of = |event: &&Value| event["type"] == kind && event["by"] != "exhibit-transcode";
        events.iter().filter(of).count()
    };
    assert_eq!(
        by_hand("item.derived"),
        3 + 1,
        "what it rests on, a probe, was made for the first: {shown}"
    );
    assert_eq!(by_hand("item.downloaded"), 4, "{shown}");
    assert_eq!(by_hand("item.derivation-failed"), 1, "{shown}");
    assert!(server.stop().success());
    workspace.exhibit(&["ledger", "audit"]).ok();
    let told = workspace.exhibit(&["reproduce", item]).ok().json();
    assert_eq!(told["derivatives"].as_array().map(Vec::len), Some(10), "{told}");
}
