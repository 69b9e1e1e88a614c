//! The dock agent over https: a TLS terminator in front of the server, with a certificate of the force's own authority.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use test_machine::bound;
use tests::programs::program;
use tests::{Answer, Server, Workspace, audit, footage};

#[test]
fn the_dock_agent_trusts_the_authority_it_is_given_and_no_other() {
    let workspace = Workspace::new();
    let server = Server::start(&workspace);
    let device = workspace.enrol("a dock behind a proxy");
    let ours = Authority::make(&workspace.path("ours"));
    let other = Authority::make(&workspace.path("other"));
    let proxy = Terminator::start(&ours, server.url());
    let clip = footage::prepared("cctv-1fps.avi");
    let push = |ca: Option<&Path>, server: &str, state: &str| {
        let mut command = Command::new(program("exhibit"));
        command.args(["dock", "push", "--json", "--server", server, "--token", &device.token]);
        command.arg("--state").arg(workspace.path(state)).arg(&clip).env_remove("EXHIBIT_CA");
        command.args(ca.map(|_| "--ca")).args(ca);
        Answer::of(&mut command)
    };

    for (ca, state) in [(None, "system"), (Some(&*other.certificate), "other")] {
        let refused = push(ca, &proxy.url("localhost"), state);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.text().contains("certificate"), "{refused:?}");
    }
    let elsewhere = push(Some(&ours.certificate), &proxy.url("127.0.0.1"), "elsewhere");
    assert_eq!(elsewhere.code, Some(2), "the certificate is another host's: {elsewhere:?}");
    audit::items_are(&workspace, 0);

    let sent = push(Some(&ours.certificate), &proxy.url("localhost"), "ours").ok().json();
    assert_eq!(sent["may_leave"], true, "{sent}");
    audit::is_stored_once(&workspace, &std::fs::read(&clip).expect("footage"));
    let nothing = push(Some(&clip), &proxy.url("localhost"), "nothing");
    assert!(nothing.text().contains("ca-file"), "{nothing:?}");
}

/// A certificate authority, and a certificate of it for `localhost`.
struct Authority {
    certificate: PathBuf,
    /// Certificate and key of the host, in one file.
    host: PathBuf,
}

impl Authority {
    fn make(folder: &Path) -> Self {
        std::fs::create_dir(folder).expect("a folder");
        let file = |name: &str| folder.join(name);
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            Answer::of(command.args(arguments.split(' ')).current_dir(folder)).ok();
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
        openssl(&format!(
            "req -x509 {key} -days 2 -subj /CN=host -keyout host.key -out host.crt -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE"
        ));
        let read = |name: &str| std::fs::read_to_string(file(name)).expect("openssl wrote it");
        let host = file("host.pem");
        std::fs::write(&host, read("host.crt") + &read("host.key")).expect("a file");
        Self { certificate: file("ca.pem"), host }
    }
}

/// A program of others that speaks TLS on one side and passes everything on to the other.
struct Terminator {
    process: Child,
    port: u16,
}

impl Terminator {
    fn start(authority: &Authority, server: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let certificate = authority.host.display();
        let listen = format!(
            "OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,verify=0,cert={certificate}"
        );
        let address = server.strip_prefix("http://").expect("the server's address");
        let mut command = bound::command("socat", "KILL", None);
        command.arg(listen).arg(format!("TCP:{address}")).stderr(Stdio::null());
        let process = bound::spawn(command).expect("socat (scripts/setup test)");
        Self { process, port }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
