//! Bundles from a real store and a real ledger, judged by the stand-alone checker and by tools that are not ours.
// A test that panics has failed: that is how they say so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;

use bytes::Bytes;
use chain_of_custody::checkpoint::Origin;
use chain_of_custody::command::Command;
use chain_of_custody::digest::{ContentHasher, Digests};
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::{EventId, ItemId, LeafIndex, UploadId};
use chain_of_custody::note::{Signer as _, SigningKey};
use chain_of_custody::policy::Policy;
use chain_of_custody::report::{Class, Code, Outcome, Report};
use exhibit_verify::VerifyArgs;
use portal::bundle::{
    Authorisation, BundleError, BundleRequest, Force, Maker, Output, Purpose, RequestedItem,
};
use storage::clock::SystemClock;
use storage::ledger::{Ledger, LedgerOptions};
use storage::objects::{Kek, ObjectStore, StoredObject};
use storage::records::Records;
use uuid::Uuid;
use zeroize::Zeroizing;

const ORIGIN: &str = "ledger.essex.example";
/// A name that somebody chose who wishes us ill.
const HOSTILE: &str = "\u{202e}<script>alert(1)</script>\"'&.mp4";

struct House {
    folder: tempfile::TempDir,
    maker: Maker,
}

fn event() -> EventId {
    EventId::from_uuid(Uuid::now_v7())
}

fn footage(bytes: usize) -> Vec<u8> {
    let mut state = bytes as u64 | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::sqlite(&folder.path().join("records.sqlite"), ORIGIN).await.unwrap();
        let kek = Kek::new(Zeroizing::new([5; 32]));
        let objects = ObjectStore::open(&folder.path().join("objects"), kek).unwrap();
        let log_key = SigningKey::from_seed(ORIGIN, [1; 32]).unwrap();
        let policy = Policy::of_log(&log_key.vkey()).unwrap();
        fs::write(folder.path().join("policy"), policy.as_bytes()).unwrap();
        let options = LedgerOptions {
            rotations: Vec::new(),
            origin: Origin::new(ORIGIN).unwrap(),
            signer: Arc::new(log_key),
            clock: Arc::new(SystemClock),
        };
        let ledger = Ledger::open(records, objects.clone(), options).await.unwrap();
        let bundle_key = Arc::new(SigningKey::from_seed("bundle.essex.example", [2; 32]).unwrap());
        let force = Force { name: "Essex <Police>".into(), contact: "101 & ask".into() };
        let clock = Arc::new(SystemClock);
        Self { folder, maker: Maker { ledger, objects, bundle_key, policy, force, clock } }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn store(&self, name: &str, bytes: &[u8]) -> StoredObject {
        let upload = UploadId::from_uuid(Uuid::now_v7());
        let mut writer = self.maker.objects.begin(upload, name.parse().unwrap()).await.unwrap();
        let mut hasher = ContentHasher::new();
        writer.append_groups(&hasher.update(bytes)).await.unwrap();
        writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        let (digests, last) = hasher.finish();
        writer.append_groups(&[last]).await.unwrap();
        let sealed = writer.seal().await.unwrap();
        self.maker.objects.complete(sealed, name.parse().unwrap(), digests.blake3).await.unwrap()
    }

    async fn receive(&self, name: &str, bytes: &[u8], restricted: bool) -> ItemId {
        let item = ItemId::from_uuid(Uuid::now_v7());
        let object = self.store(&format!("originals/{item}"), bytes).await;
        let digests = Digests::of(bytes);
        let command = Command::new(EventKind::ItemReceived, event())
            .touching(item)
            .field(field::SHA256, digests.sha256.to_string(), salt())
            .field(field::BLAKE3, digests.blake3.to_string(), salt())
            .field(field::SIZE_BYTES, bytes.len().to_string(), salt())
            .field(field::OBJECT, serde_json::to_string(&object).unwrap(), salt())
            .field(field::STATE, "stored", salt())
            .field(field::DEVICE, "-", salt())
            .field(field::READ_BY, "console", salt())
            .field(field::UPLOAD, Uuid::now_v7().to_string(), salt())
            .field(field::CAMERA_SIGNATURE, "absent", salt())
            .field(field::RESTRICTED, restricted.to_string(), salt())
            .field(field::DISCLOSURE_STATUS, "unassessed", salt())
            .field(field::NAME, name, salt())
            .field(field::BY, "PC 1234 Example", salt());
        self.maker.ledger.submit(command).await.unwrap();
        item
    }

    async fn derive(&self, item: ItemId, original: &[u8], bytes: &[u8]) {
        self.derive_as(item, "proxy", original, bytes, "{\"duration-us\":62000000}").await;
    }

    async fn derive_as(
        &self,
        item: ItemId,
        kind: &str,
        original: &[u8],
        bytes: &[u8],
        media: &str,
    ) {
        let object = self.store(&format!("derivatives/{item}/{kind}"), bytes).await;
        let digests = Digests::of(bytes);
        let command = Command::new(EventKind::ItemDerived, event())
            .touching(item)
            .field(field::KIND, kind, salt())
            .field(field::RECIPE, "{}", salt())
            .field(field::RECIPE_ID, Digests::of(kind.as_bytes()).sha256.to_string(), salt())
            .field(field::SHA256, digests.sha256.to_string(), salt())
            .field(field::BLAKE3, digests.blake3.to_string(), salt())
            .field(field::SIZE_BYTES, bytes.len().to_string(), salt())
            .field(field::OBJECT, serde_json::to_string(&object).unwrap(), salt())
            .field(field::ORIGINAL_SHA256, Digests::of(original).sha256.to_string(), salt())
            .field(field::MEDIA, media, salt())
            .field(field::BY, "exhibit-transcode", salt());
        self.maker.ledger.submit(command).await.unwrap();
    }

    fn request(&self, items: &[ItemId], output: &str) -> BundleRequest {
        BundleRequest {
            event: event(),
            items: items.iter().copied().map(RequestedItem::from).collect(),
            purpose: Purpose::Internal,
            recipient: "DC <b>Reader</b>".into(),
            by: "root".into(),
            authorised: None,
            completeness: false,
            programs: false,
            case_reference: Some("01AB/1234".into()),
            output: Output::from_path(&self.path(output)),
        }
    }

    fn verify(&self, bundle: &str) -> Report {
        let args = VerifyArgs {
            path: self.path(bundle),
            policy: Some(self.path("policy")),
            fingerprint: None,
            file: None,
            json: true,
            explain: false,
            since: None,
            ledger: None,
        };
        exhibit_verify::report(&args).unwrap()
    }

    fn size(&self) -> u64 {
        self.maker.ledger.latest().unverified().size.0
    }

    /// What lies beside the data: nothing of a bundle that was not made.
    fn left_over(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("out")).collect()
    }
}

fn salt() -> Salt {
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(a.as_bytes());
    salt[16..].copy_from_slice(b.as_bytes());
    Salt(salt)
}

fn person() -> Option<Authorisation> {
    Some(Authorisation { by: "DI Example".into(), reason: "ordered by the court".into() })
}

#[track_caller]
fn accepted(folder: &Path, program: &str, args: &[&str]) {
    let output = Program::new(program).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_and_a_zip_that_everybody_accepts() {
    let house = House::new().await;
    let (one, two) = (footage(3_000_000), footage(70_000));
    let items =
        [house.receive(HOSTILE, &one, false).await, house.receive("b.mkv", &two, false).await];
    house.derive(items[0], &one, &footage(200_000)).await;
    let made = house.maker.create(&house.request(&items, "out")).await.unwrap();
    assert_eq!((made.files, made.name.as_str().starts_with("01AB_1234-20")), (3, true));
    house.maker.create(&house.request(&items, "out.zip")).await.unwrap();
    for name in ["out", "out.zip"] {
        let report = house.verify(name);
        assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]), "{name}");
        assert_eq!(report.files.len(), 3);
    }
    let folder = house.path("out");
    accepted(&folder, "sha256sum", &["--strict", "--quiet", "-c", "manifest-sha256.txt"]);
    accepted(&folder, "sha256sum", &["--strict", "--quiet", "-c", "tagmanifest-sha256.txt"]);
    accepted(&folder, "b3sum", &["--quiet", "-c", "evidence/blake3sums.txt"]);
    accepted(house.folder.path(), "unzip", &["-tq", "out.zip"]);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin");
    let bagit = tools.join("bagit.py");
    assert!(bagit.is_file(), "run `make setup` first");
    let python = tools.join("python");
    accepted(
        house.folder.path(),
        python.to_str().unwrap(),
        &[bagit.to_str().unwrap(), "--validate", "out"],
    );
    assert_eq!(house.left_over().len(), 2, "{:?}", house.left_over());
}

/// Browsers play the full-quality pictures from the folder; both halves of the file are what the ledger has.
#[tokio::test(flavor = "multi_thread")]
async fn an_original_leaves_behind_its_front_once_more() {
    let house = House::new().await;
    let (one, front) = (footage(3_000_000), footage(70_001));
    let item = house.receive("a.mkv", &one, false).await;
    let media = r#"{"browser":{"plays":false,"plays_behind_front":true},"duration-us":62000000}"#;
    house.derive_as(item, "probe", &one, b"{}", media).await;
    house.derive_as(item, "front", &one, &front, "").await;
    let played = "data/derivatives/001-front-1.mp4";
    for name in ["out", "out.zip"] {
        let request = BundleRequest { purpose: Purpose::Cps, ..house.request(&[item], name) };
        house.maker.create(&request).await.unwrap();
        let report = house.verify(name);
        assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]), "{name}");
    }
    let file = house.path("out").join(played);
    let whole = fs::read(&file).unwrap();
    assert!(whole == [&front[..], &one].concat(), "the front, and the original behind it");
    let page = fs::read_to_string(house.path("out/READ-ME-FIRST.html")).unwrap();
    assert!(page.contains(&format!("src=\"{played}\"")), "{page}");
    assert!(page.contains("(the full-quality pictures, in a file that browsers play)"), "{page}");
    accepted(
        &house.path("out"),
        "sha256sum",
        &["--strict", "--quiet", "-c", "manifest-sha256.txt"],
    );
    // A byte of either half, one taken from between them, another original behind it.
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let shorter = [&whole[..front.len() - 1], &whole[front.len()..]].concat();
    let other = [&front[..], &footage(3_000_000)[1..], &[7]].concat();
    for bad in [flipped(0), flipped(front.len()), flipped(whole.len() - 1), shorter, other, front] {
        fs::write(&file, &bad).unwrap();
        let report = house.verify("out");
        let found = report.files.iter().find(|file| file.path == played).unwrap();
        assert_eq!((report.result, found.result), (Outcome::Mismatch, Outcome::Mismatch));
        let codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&Code::DerivativeDiffers), "{codes:?}");
    }
}

/// Where somebody was stays inside the force; that the camera signed is for everybody who may want to check it.
#[tokio::test(flavor = "multi_thread")]
async fn places_stay_inside_and_a_signature_is_said() {
    let house = House::new().await;
    let one = footage(100_000);
    let item = house.receive("a.mp4", &one, false).await;
    let media = r#"{"signatures":[{"kind":"onvif-media-signing","stream":0,"units":9}]}"#;
    house.derive_as(item, "probe", &one, b"{}", media).await;
    for kind in ["proxy", "proxy-small", "location"] {
        house.derive_as(item, kind, &one, kind.as_bytes(), "").await;
    }
    for (purpose, inside) in [(Purpose::Internal, true), (Purpose::Cps, false)] {
        let output = format!("{purpose:?}");
        let mut request = house.request(&[item], &output);
        request.purpose = purpose;
        house.maker.create(&request).await.unwrap();
        let there = fs::read_dir(house.path(&format!("{output}/data/derivatives"))).unwrap();
        let there: Vec<_> = there.map(|file| file.unwrap().file_name()).collect();
        let has = |name: &str| there.iter().any(|file| file.to_string_lossy().contains(name));
        assert!(has("001-proxy-") && there.len() == if inside { 4 } else { 1 }, "{there:?}");
        for name in [".geojson", "proxy-small", "probe"] {
            assert_eq!(has(name), inside, "{output}: {name}");
        }
        let page = fs::read_to_string(house.path(&format!("{output}/READ-ME-FIRST.html"))).unwrap();
        assert!(page.contains("The camera itself signed Item 1."), "{output}");
        assert!(!page.contains("Camera signature of"), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_escaped_and_free_of_script() {
    let house = House::new().await;
    let one = footage(100_000);
    let item = house.receive(HOSTILE, &one, false).await;
    house.derive(item, &one, &footage(5_000)).await;
    house.maker.create(&house.request(&[item], "out")).await.unwrap();
    let page = fs::read_to_string(house.path("out/READ-ME-FIRST.html")).unwrap();
    let lower = page.to_lowercase();
    for never in [
        "<script",
        "javascript:",
        " onclick",
        " onerror",
        " onload",
        "http://",
        "https://",
        "<iframe",
        "<b>reader",
    ] {
        assert!(!lower.contains(never), "{never}");
    }
    for always in [
        "<html lang=\"en-GB\">",
        "<video controls",
        "data/derivatives/001-proxy-1.mp4",
        "1:02",
        "(viewing copy)",
        "It does not say who, why or when",
        "Nobody outside has confirmed it.",
        "this folder makes no statement about other material",
        "Essex &#60;Police&#62;",
        "scope=\"row\"",
    ] {
        assert!(page.contains(always), "no {always:?} in the page");
    }
    assert!(!page.contains(&house.maker.policy.fingerprint().to_string()), "get it elsewhere");
    // Every link leads to a file of the bundle.
    for link in page.split(['"']).filter(|text| text.starts_with("data/")) {
        assert!(house.path("out").join(link).is_file(), "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_leave_by_the_list_only() {
    let house = House::new().await;
    let item = house.receive("clip.mp4", &footage(1_000), false).await;
    let text = |name: &str| {
        fs::read_to_string(house.path(name).join("evidence/ledger/openings.jsonl")).unwrap()
    };
    house.maker.create(&house.request(&[item], "out-inside")).await.unwrap();
    assert!(text("out-inside").contains("PC 1234 Example"));
    let outside = BundleRequest {
        purpose: Purpose::DefenceUnused,
        authorised: person(),
        ..house.request(&[item], "out-defence")
    };
    house.maker.create(&outside).await.unwrap();
    assert_eq!(house.verify("out-defence").result, Outcome::Match);
    let mut all = String::new();
    for entry in walk(&house.path("out-defence")) {
        all += &String::from_utf8_lossy(&fs::read(entry).unwrap());
    }
    let receipt = house.path(&format!("out-defence/evidence/receipts/{item}.tlog-proof"));
    let receipt = chain_of_custody::receipt::Receipt::parse(&fs::read(receipt).unwrap()).unwrap();
    let named = |name: &str| receipt.unverified_openings().iter().any(|o| o.name.as_str() == name);
    assert!(
        named(field::SHA256) && !named(field::BY) && !named(field::OBJECT) && !named(field::NAME)
    );
    let object = format!("originals/{item}");
    for sealed in ["PC 1234 Example", "DI Example", "clip.mp4", object.as_str(), "crc64nvme"] {
        assert!(!all.contains(sealed), "{sealed} left the force");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_authorised_does_not_leave() {
    let house = House::new().await;
    let item = house.receive("a.mp4", &footage(1_000), false).await;
    let restricted = house.receive("b.mp4", &footage(2_000), true).await;
    let before = house.size();
    let court = BundleRequest { purpose: Purpose::Court, ..house.request(&[item], "out") };
    let sensitive =
        BundleRequest { purpose: Purpose::Court, ..house.request(&[restricted], "out") };
    let refused = [
        sensitive,
        house.request(&[restricted], "out"),
        BundleRequest { completeness: true, ..house.request(&[item], "out") },
    ];
    for request in refused {
        let error = house.maker.create(&request).await.unwrap_err();
        assert!(matches!(error, BundleError::NeedsAuthorisation(_)), "{error}");
    }
    let unknown = ItemId::from_uuid(Uuid::now_v7());
    let error = house.maker.create(&house.request(&[unknown], "out")).await.unwrap_err();
    assert!(matches!(error, BundleError::NoSuchItem(_)), "{error}");
    assert_eq!(
        (house.size(), house.left_over()),
        (before, vec![]),
        "nothing recorded, nothing written"
    );
    let authorised = BundleRequest { authorised: person(), ..court };
    let made = house.maker.create(&authorised).await.unwrap();
    let placed = house.maker.ledger.placed(made.export).await.unwrap();
    let value = |name: &str| {
        placed.openings.iter().find(|o| o.name.as_str() == name).unwrap().value.clone()
    };
    assert_eq!(value(field::AUTHORISED_BY), "DI Example");
    assert_eq!(value(field::REASON), "ordered by the court");
    // For an item that nobody has assessed yet, whoever asks is the named person, and recorded as that.
    let taken_on = BundleRequest {
        event: event(),
        authorised: None,
        output: Output::from_path(&house.path("out-taken-on")),
        ..authorised
    };
    let made = house.maker.create(&taken_on).await.unwrap();
    let placed = house.maker.ledger.placed(made.export).await.unwrap();
    let by = placed.openings.iter().find(|o| o.name.as_str() == field::AUTHORISED_BY).unwrap();
    assert_eq!(by.value, taken_on.by);
    assert_eq!(value(field::BUNDLE_DIGEST), made.bundle_digest.to_string());
}

/// I13: when the store turns out to be damaged on the way, the hand-over is in the ledger already, and nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_before_the_first_byte_and_whole_or_nothing() {
    let house = House::new().await;
    let item = house.receive("a.mp4", &footage(3_000_000), false).await;
    let stored = house.path(&format!("objects/originals/{item}"));
    let mut bytes = fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&stored, &bytes).unwrap();
    let request = house.request(&[item], "out");
    for output in ["out", "out.zip"] {
        let request =
            BundleRequest { output: Output::from_path(&house.path(output)), ..request.clone() };
        let error = house.maker.create(&request).await.unwrap_err();
        assert!(matches!(error, BundleError::Store(_)), "{error}");
        assert_eq!(house.left_over(), Vec::<String>::new());
    }
    let events = house.maker.ledger.records().events_of(&item.into()).await.unwrap();
    let exports = events.iter().filter(|event| event.kind == "bundle.exported").count();
    assert_eq!(exports, 1, "recorded once, although asked twice with one event id");
    bytes[middle] ^= 1;
    fs::write(&stored, bytes).unwrap();
    let made = house.maker.create(&request).await.unwrap();
    assert_eq!(
        made.export,
        events.last().unwrap().leaf_index,
        "and mended, it is the same hand-over"
    );
    assert_eq!(house.verify("out").result, Outcome::Match);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_write_lets_nothing_leave() {
    let house = House::new().await;
    let item = house.receive("a.mp4", &footage(1_000), false).await;
    // The key for bundles is published by the first: from the second on the hand-over itself is all that is entered.
    house.maker.create(&house.request(&[item], "before")).await.unwrap();
    house.maker.ledger.close().await;
    let error = house.maker.create(&house.request(&[item], "out")).await.unwrap_err();
    assert!(matches!(error, BundleError::Ledger(_)), "{error}");
    assert_eq!(house.left_over(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ever_replaced() {
    let house = House::new().await;
    let item = house.receive("a.mp4", &footage(1_000), false).await;
    fs::write(house.path("out"), "mine").unwrap();
    let before = house.size();
    let error = house.maker.create(&house.request(&[item], "out")).await.unwrap_err();
    assert!(matches!(error, BundleError::OutputExists(_)), "{error}");
    assert_eq!(house.size(), before);
    assert_eq!(fs::read_to_string(house.path("out")).unwrap(), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn completeness_covers_every_entry_of_its_items() {
    let house = House::new().await;
    let one = footage(100_000);
    let item = house.receive("a.mp4", &one, false).await;
    house.derive(item, &one, &footage(5_000)).await;
    house.maker.create(&house.request(&[item], "out-before")).await.unwrap();
    let request =
        BundleRequest { completeness: true, authorised: person(), ..house.request(&[item], "out") };
    house.maker.create(&request).await.unwrap();
    let report = house.verify("out");
    assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]));
    // The entry of the earlier hand-over is counted; without it there is a gap.
    let entries = house.path("out/evidence/ledger/entries.jsonl");
    let text = fs::read_to_string(&entries).unwrap();
    let first = |line: &&str| line.contains("bundle.exported");
    let index: LeafIndex = {
        let line = text.lines().find(first).unwrap();
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        LeafIndex(value["index"].as_u64().unwrap())
    };
    let dropped = text.lines().find(first).unwrap();
    fs::write(&entries, text.replace(&format!("{dropped}\n"), "")).unwrap();
    fs::remove_file(house.path(&format!("out/evidence/ledger/proofs/{index}.tlog-proof"))).unwrap();
    let report = house.verify("out");
    assert!(
        report.findings.iter().any(|f| f.code == Code::Gap && f.class == Class::Record),
        "{report:#?}"
    );
    let footage = report.files.iter().filter(|file| file.class == Class::Footage);
    assert!(footage.into_iter().all(|file| file.result == Outcome::Match));
}

/// A completeness statement brings entries of earlier hand-overs along: what they were, to whom and of what stays sealed.
#[tokio::test(flavor = "multi_thread")]
async fn other_hand_overs_stay_sealed() {
    let house = House::new().await;
    let item = house.receive("a.mp4", &footage(1_000), false).await;
    let unserved = house.receive("b.mp4", &footage(2_000), false).await;
    let earlier = BundleRequest {
        recipient: "Chief Crown Prosecutor".into(),
        purpose: Purpose::Cps,
        case_reference: Some("99ZZ/0007".into()),
        authorised: person(),
        ..house.request(&[item, unserved], "out-earlier")
    };
    let earlier = house.maker.create(&earlier).await.unwrap();
    for purpose in Purpose::ALL {
        let name = format!("out-{purpose}");
        let request = BundleRequest {
            purpose,
            completeness: true,
            authorised: person(),
            ..house.request(&[item], &name)
        };
        let made = house.maker.create(&request).await.unwrap();
        let report = house.verify(&name);
        assert_eq!((report.result, &report.findings), (Outcome::Match, &vec![]), "{purpose}");
        let openings = house.path(&name).join("evidence/ledger/openings.jsonl");
        let openings = fs::read_to_string(openings).unwrap();
        let opened = |index: LeafIndex| {
            let lines = openings.lines().map(|line| serde_json::from_str(line).unwrap());
            let mut lines = lines.filter(|line: &serde_json::Value| line["index"] == index.0);
            lines.next().unwrap()["openings"].as_array().unwrap().len()
        };
        assert_eq!(opened(earlier.export), 0, "{purpose}");
        assert!(opened(made.export) >= 3, "and its own is opened: {openings}");
        for sealed in [unserved.to_string().as_str(), "Chief Crown Prosecutor", "99ZZ/0007"] {
            assert!(!openings.contains(sealed), "{sealed} in a bundle for {purpose}");
        }
    }
}
