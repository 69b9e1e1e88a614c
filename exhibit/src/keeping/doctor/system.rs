//! The machine, the process and the configuration.

use std::fs;
use std::net::ToSocketAddrs as _;
use std::os::unix::fs::MetadataExt as _;

use super::Fault;
use crate::control::SOCKET_NAME;
use crate::keeping::Look;
use crate::keeping::look::Server;

/// A clock that is this far behind the newest entry was set back.
const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// Before this date there was no such program: 2025-01-01.
const EARLIEST_MS: i64 = 1_735_689_600_000;

/// The configured ledger is the one that lies here.
pub(super) fn configuration_names_this_ledger(look: &Look) -> Vec<Fault> {
    let folder = look.data.join("objects/ledger");
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let found: Vec<String> =
        found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let configured = &look.config.force.ledger;
    if found.is_empty() || found.contains(configured) {
        return Vec::new();
    }
    let what = format!(
        "force.ledger is {configured}, but the ledger in this folder is {}",
        found.join(", ")
    );
    vec![Fault::critical(
        "configuration-drift",
        what,
        format!(
            "set force.ledger = \"{}\": with another name the server would begin a new ledger",
            found[0]
        ),
    )]
}

pub(super) fn lock_holder_answers(look: &Look) -> Vec<Fault> {
    let Server::Silent(failure) = &look.server else { return Vec::new() };
    let what = format!("a process holds the data folder and does not answer: {failure}");
    vec![Fault::critical(
        "server-silent",
        what,
        "systemctl restart exhibit; `fuser exhibit.lock` in the data folder names the process; nothing acknowledged is lost",
    )]
}

/// A socket that nobody listens at, without a holder of the lock: left by a kill. The next start replaces it.
pub(super) fn no_dead_socket(look: &Look) -> Vec<Fault> {
    let path = look.data.join(SOCKET_NAME);
    if !matches!(look.server, Server::Down) || !path.exists() {
        return Vec::new();
    }
    let what = format!("{} is there and no server runs: it was killed", path.display());
    vec![Fault::warning(
        "dead-socket",
        what,
        "start the server: recovery runs first; then journalctl -u exhibit says what killed it (out of memory?)",
    )]
}

pub(super) fn socket_is_private(look: &Look) -> Vec<Fault> {
    let path = look.data.join(SOCKET_NAME);
    let open = fs::metadata(&path).is_ok_and(|found| found.mode() & 0o077 != 0);
    if !open {
        return Vec::new();
    }
    let what =
        format!("{} is open to others: whoever reaches it commands the server", path.display());
    vec![Fault::critical("socket-open", what, format!("chmod 600 {}", path.display()))]
}

pub(super) fn address_is_safe(look: &Look) -> Vec<Fault> {
    let server = &look.config.server;
    let addresses: Vec<_> = match server.listen.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let what = format!("server.listen = {} is no address: {error}", server.listen);
            return vec![Fault::critical(
                "listen-address",
                what,
                "for example: server.listen = \"127.0.0.1:8080\"",
            )];
        }
    };
    let outside = addresses.iter().any(|address| !address.ip().is_loopback());
    if !outside || server.behind_proxy {
        return Vec::new();
    }
    let what = format!(
        "server.listen = {} is reached from other machines without TLS: the server will not start",
        server.listen
    );
    vec![Fault::critical(
        "listen-address",
        what,
        "listen on 127.0.0.1, or put a proxy with TLS in front and set server.behind_proxy = true",
    )]
}

pub(super) fn disk_has_room(look: &Look) -> Vec<Fault> {
    let kept = look.config.limits.free_bytes;
    let Some(free) = look.free_bytes().filter(|free| *free < kept) else { return Vec::new() };
    let size = crate::terminal::size;
    let what = format!(
        "{} are free and {} are kept free: uploads are refused (507)",
        size(free),
        size(kept)
    );
    vec![Fault::critical(
        "disk-full",
        what,
        "make room, or move the data folder to a larger disk; never delete below DATA/objects by hand",
    )]
}

pub(super) fn clock_is_not_behind(look: &Look) -> Vec<Fault> {
    let newest = fs::metadata(look.data.join("records.sqlite")).and_then(|found| found.modified());
    let newest = newest.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let newest = newest.map_or(0, |at| i64::try_from(at.as_millis()).unwrap_or(i64::MAX));
    if look.now_ms >= EARLIEST_MS && look.now_ms + CLOCK_TOLERANCE_MS >= newest {
        return Vec::new();
    }
    vec![Fault::warning(
        "clock-behind",
        "this machine's clock is behind what was written here before",
        "set the clock and see to time synchronisation (timedatectl); entries keep their order, their times are wrong",
    )]
}

pub(super) fn head_is_confirmed(look: &Look) -> Vec<Fault> {
    let Some(restored) = &look.restored else { return Vec::new() };
    let refusal = restored.refusal();
    vec![Fault::critical("head-unconfirmed", refusal.message, refusal.next.unwrap_or_default())]
}

pub(super) fn log_witnesses_answer(look: &Look) -> Vec<Fault> {
    let troubles = look.live().map_or(&[][..], |live| &live.log_witness_troubles);
    let fix =
        "ask its keeper; receipts say meanwhile what they rest on, and it is asked again by itself";
    troubles
        .iter()
        .map(|trouble| Fault::warning("log-witness", format!("log witness {trouble}"), fix))
        .collect()
}
