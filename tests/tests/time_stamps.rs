//! An authority outside the force says when it saw the ledger: openssl as the authority, and as the judge.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tests::{Answer, Workspace, audit};

const TSA_CONFIG: &str = "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\ndefault_policy = 1.2.3.4.1\n\
    digests = sha256\naccuracy = secs:1\nsigner_digest = sha256\ness_cert_id_alg = sha256\n";

#[test]
fn checkpoints_are_stamped_before_an_export_and_openssl_agrees() {
    let workspace = Workspace::new();
    let authority = Authority::new(&workspace.path("authority"));
    let url = authority.serve();
    let replaying = replaying(authority.folder.clone());
    let settings = format!("[ledger]\ntimestamp_authorities = [\"{url}\", \"{replaying}\"]\n");
    fs::create_dir_all(workspace.data()).expect("data");
    fs::write(workspace.in_data("exhibit.toml"), settings).expect("written");
    workspace.found();

    let stamped = workspace.exhibit(&["ledger", "stamp"]).ok().json();
    assert_eq!(stamped["stamps"].as_array().map(Vec::len), Some(1), "{stamped}");
    assert_eq!(stamped["stamps"][0]["authority"], url);
    let missed = stamped["missed"].to_string();
    assert!(missed.contains("another"), "an answer to somebody else's question: {missed}");

    let clip = workspace.write("a.bin", b"some footage");
    workspace.exhibit(&["ingest", &clip.display().to_string()]).ok();
    let folder = workspace.path("ledger");
    workspace.exhibit(&["ledger", "export", "-o", &folder.display().to_string()]).ok();
    let stamps = files(&folder.join("stamps"), "tsr");
    assert_eq!(stamps.len(), 2, "one by hand, one with the export: {stamps:?}");
    for stamp in &stamps {
        let checkpoint = stamp.with_extension("checkpoint");
        assert!(authority.verifies(&checkpoint, stamp), "{}", stamp.display());
        let mut altered = fs::read(&checkpoint).expect("the checkpoint");
        altered[0] ^= 1;
        let altered = workspace.write("altered", &altered);
        assert!(!authority.verifies(&altered, stamp));
    }
    audit::ledger_is_clean(&workspace);
    a_bundle_carries_the_stamp_that_dates_its_item(&workspace, &authority);

    fs::write(workspace.in_data("exhibit.toml"), "").expect("written");
    let none = workspace.exhibit(&["ledger", "stamp"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("timestamp_authorities"), "{}", none.stderr);
}

/// Of the two stamps the one after the item: openssl shows its time, the verifier that the bundle's ledger begins with it.
fn a_bundle_carries_the_stamp_that_dates_its_item(workspace: &Workspace, authority: &Authority) {
    let item = workspace.items()[0]["item"].as_str().expect("an id").to_owned();
    let output = workspace.path("bundle").display().to_string();
    let made = ["bundle", "create", "--item", &item, "--for", "cps", "--to", "CPS", "-o", &output];
    workspace.exhibit(&made).ok();
    let stamps = files(&workspace.path("bundle/evidence/ledger/stamps"), "tsr");
    let [stamp] = stamps.as_slice() else { panic!("one, and not: {stamps:?}") };
    assert!(authority.verifies(&stamp.with_extension("checkpoint"), stamp));
    let policy = workspace.write("policy", audit::policy_of(workspace).as_bytes());
    let mut command = Command::new(tests::programs::program("exhibit-verify"));
    let report = Answer::of(command.args([&output, "--json", "--policy"]).arg(&policy)).ok().json();
    let said = report["rests_on"].to_string();
    assert!(said.contains("a time stamp that says") && said.contains("openssl ts"), "{said}");
}

/// openssl's time-stamp authority, with a certificate of its own.
struct Authority {
    folder: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        fs::write(folder.join("tsa.cnf"), TSA_CONFIG).expect("written");
        let extension = "extendedKeyUsage = critical,timeStamping\n";
        fs::write(folder.join("ext.cnf"), extension).expect("written");
        for command in [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=Test-CA -days 2",
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tsa.key -out tsa.csr -subj /CN=Test-authority",
            "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 2 -extfile ext.cnf",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            openssl(folder, &words).ok();
        }
        Self { folder: folder.to_owned() }
    }

    /// Answers over HTTP for as long as the test runs.
    fn serve(&self) -> String {
        let folder = self.folder.clone();
        serve(move |query| {
            fs::write(folder.join("query.tsq"), query).expect("written");
            let words = "ts -reply -config tsa.cnf -queryfile query.tsq -inkey tsa.key -signer tsa.pem -out reply.tsr";
            openssl(&folder, &words.split(' ').collect::<Vec<_>>()).ok();
            fs::read(folder.join("reply.tsr")).expect("a reply")
        })
    }

    fn verifies(&self, data: &Path, stamp: &Path) -> bool {
        let (data, stamp) = (data.display().to_string(), stamp.display().to_string());
        let words = ["ts", "-verify", "-data", &data, "-in", &stamp, "-CAfile", "ca.pem"];
        openssl(&self.folder, &words).code == Some(0)
    }
}

/// An authority that gives everybody the answer that somebody else got before.
fn replaying(folder: PathBuf) -> String {
    openssl(&folder, &["ts", "-query", "-data", "ca.pem", "-sha256", "-cert", "-out", "other.tsq"])
        .ok();
    let words = "ts -reply -config tsa.cnf -queryfile other.tsq -inkey tsa.key -signer tsa.pem -out other.tsr";
    openssl(&folder, &words.split(' ').collect::<Vec<_>>()).ok();
    let old = fs::read(folder.join("other.tsr")).expect("a reply");
    serve(move |_| old.clone())
}

/// The smallest HTTP server there is: one POST a connection.
fn serve(mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let body = answer(&body(&mut stream));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // Whoever asked may have left.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}

fn body(stream: &mut TcpStream) -> Vec<u8> {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).expect("a request");
        received.extend_from_slice(&buffer[..count]);
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|n| n.parse().ok()).expect("a length");
        if received.len() >= end + 4 + length {
            return received[end + 4..end + 4 + length].to_vec();
        }
    }
}

fn openssl(folder: &Path, words: &[&str]) -> Answer {
    Answer::of(Command::new("openssl").args(words).current_dir(folder))
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}
