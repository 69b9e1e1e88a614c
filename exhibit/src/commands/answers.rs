//! Answers as people read them.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::derive;
use crate::cli::{self, Command};
use crate::terminal::{exact, line, note, size};

/// The answer for programs: the whole value, except where one text is what was asked for.
pub(super) fn as_json(command: &Command, answer: &Value) -> Value {
    match command {
        Command::Keys(cli::Keys::Publish { fingerprint: true }) => {
            json!({"fingerprint": answer["fingerprint"]})
        }
        _ => answer.clone(),
    }
}

/// 0 unless the answer itself is a bad one: an audit or a comparison that does not match (1) or cannot tell (2); another history
/// of the ledger known outside (1).
pub(super) fn exit_code(command: &Command, answer: &Value) -> ExitCode {
    match (command, answer["result"].as_str()) {
        (Command::Ledger(cli::Ledger::Audit) | Command::Reproduce(_), result) => match result {
            Some("match" | "same-pictures") => ExitCode::SUCCESS,
            Some("mismatch") => ExitCode::from(1),
            _ => ExitCode::from(2),
        },
        (Command::Ledger(cli::Ledger::Checkpoint), _) if other_history(answer) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Prints the answer in words.
pub(super) fn print(command: &Command, answer: &Value) {
    match command {
        Command::Show(_) => print_item(answer),
        Command::Extract(_) | Command::Redact(_) | Command::Derive(_) => derive::print(answer),
        Command::Cancel(_) => derive::Cancel::print(answer),
        Command::Reproduce(_) => print_reproduced(answer),
        Command::Search(_) => print_items(answer),
        Command::Bundle(_) => print_bundle(answer),
        Command::Ledger(cli::Ledger::Checkpoint) => print_checkpoint(answer),
        Command::Ledger(cli::Ledger::Stamp) => print_stamps(answer),
        Command::Ledger(cli::Ledger::Slip) => exact(&super::slip::page(text(answer, "checkpoint"))),
        Command::Ledger(cli::Ledger::Prove { .. }) => exact(text(answer, "proof")),
        Command::Ledger(cli::Ledger::Audit) => print_audit(answer),
        Command::Ledger(cli::Ledger::Export { .. }) => line(&format!(
            "{} entries, {} files written to {}",
            answer["size"],
            answer["files"],
            text(answer, "output")
        )),
        Command::Device(cli::Device::Enrol { .. }) => {
            line(&format!("device {}", text(answer, "device")));
            line(&format!("token  {}", text(answer, "token")));
            line(
                "The token is not shown again. Keep it where only the device's program can read it.",
            );
        }
        Command::Device(cli::Device::List) => print_devices(answer),
        Command::Device(cli::Device::Revoke { .. }) => {
            line(&format!("device {} is refused from now on", text(answer, "device")));
        }
        Command::Keys(cli::Keys::Publish { fingerprint: true }) => {
            line(text(answer, "fingerprint"));
        }
        Command::Keys(_) => exact(text(answer, "policy")),
        Command::User(command) => command.print(answer),
        Command::Case(command) => command.print(answer),
        Command::Item(command) => command.print(answer),
        Command::Hold(command) => command.print(answer),
        Command::Retention(command) => command.print(answer),
        _ => crate::terminal::answer(answer),
    }
}

/// One file brought in by hand.
pub(super) fn print_ingested(path: &Path, answer: &Value) {
    line(&format!(
        "{}  item {}  {}  {}",
        path.display(),
        text(answer, "item"),
        text(answer, "state"),
        size(answer["size_bytes"].as_u64().unwrap_or(0)),
    ));
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The checkpoint for programs; on standard error what is wrong with the log witnesses.
fn print_checkpoint(answer: &Value) {
    exact(text(answer, "checkpoint"));
    for witness in list(answer, "log_witnesses") {
        let trouble = &witness["trouble"];
        if trouble.is_object() {
            let (name, reason) = (text(witness, "name"), text(trouble, "reason"));
            let what = match trouble["other_history"].as_bool() {
                Some(true) => "KNOWS ANOTHER HISTORY of this ledger",
                _ => "has not cosigned it",
            };
            note(&format!(
                "log witness {name} {what}: {reason} (since {})",
                text(trouble, "since")
            ));
        }
    }
}

fn print_stamps(answer: &Value) {
    for stamp in list(answer, "stamps") {
        line(&format!(
            "{} entries seen at {} by {}, entry {}",
            answer["size"],
            text(stamp, "time"),
            text(stamp, "authority"),
            stamp["leaf_index"]
        ));
    }
    for missed in list(answer, "missed") {
        note(&format!("no time stamp: {}", missed.as_str().unwrap_or("-")));
    }
}

fn other_history(answer: &Value) -> bool {
    let knows = |witness: &Value| witness["trouble"]["other_history"].as_bool() == Some(true);
    list(answer, "log_witnesses").iter().any(knows)
}

fn print_item(item: &Value) {
    line(&format!("item        {}", text(item, "item")));
    line(&format!("name        {}", text(item, "name")));
    line(&format!("state       {}", text(item, "state")));
    line(&format!("size        {} bytes", item["size_bytes"]));
    line(&format!("sha256      {}", text(&item["digests"], "sha256")));
    line(&format!("blake3      {}", text(&item["digests"], "blake3")));
    line(&format!("device      {}", text(item, "device")));
    line(&format!("received    {}", text(item, "received_at")));
    line(&format!("disclosure  {}", text(item, "disclosure_status")));
    if item["restricted"].as_bool() == Some(true) {
        line("restricted  yes: named viewers only, in no bundle");
    }
    line("events");
    for event in list(item, "events") {
        let (at, kind, by) = (text(event, "at"), text(event, "type"), text(event, "by"));
        line(&format!("  {:>8}  {at}  {kind}  {by}", event["leaf_index"]));
        if let Some(reason) = event["reason"].as_str() {
            line(&format!("            {reason}"));
        }
    }
    in_recording(item).iter().for_each(|said| line(said));
    line("derivatives");
    for derivative in list(item, "derivatives") {
        let bytes = derivative["size_bytes"].as_u64().unwrap_or(0);
        line(&format!("  {:<10}  {}", text(derivative, "kind"), size(bytes)));
        let noted = list(&derivative["recipe"], "notes").iter();
        let missing = list(&derivative["media"]["coverage"], "reasons").iter();
        for said in noted.chain(missing).filter_map(Value::as_str) {
            line(&format!("              {said}"));
        }
    }
    for making in list(item, "making") {
        let kind = text(making, "kind");
        match making["permille"].as_u64() {
            Some(permille) => line(&format!("  {kind:<10}  being made, {} %", permille / 10)),
            None => line(&format!("  {kind:<10}  still to come")),
        }
    }
}

/// What the newest probe found in the recording besides picture and sound.
fn in_recording(item: &Value) -> Vec<String> {
    let probes = list(item, "derivatives").iter().filter(|made| made["kind"] == "probe");
    let Some(media) = probes.map(|made| &made["media"]).next_back() else { return Vec::new() };
    let signature = |found: &Value| {
        let way = match text(found, "kind") {
            "axis-signed-video" => "Axis signed video",
            _ => "ONVIF Media Signing",
        };
        let (units, stream) = (&found["units"], &found["stream"]);
        format!(
            "signature   by the camera itself: {way}, {units} in stream {stream}; not checked here, and no viewing copy carries it"
        )
    };
    let places = list(media, "location-from").iter().filter_map(Value::as_str);
    let places = places.collect::<Vec<_>>().join(", ");
    let places =
        (!places.is_empty()).then(|| format!("places      the device says where it was: {places}"));
    list(media, "signatures").iter().map(signature).chain(places).collect()
}

fn print_reproduced(answer: &Value) {
    for one in list(answer, "derivatives") {
        let said = match text(one, "result") {
            "match" => "the same bytes",
            "same-pictures" => "the same to see",
            "mismatch" => "NOT the same",
            _ => "cannot be told",
        };
        line(&format!("{:<10}  {said:<14}  {}", text(one, "kind"), text(one, "sha256")));
        if let Some(reason) = one["reason"].as_str() {
            line(&format!("            {reason}"));
        }
    }
}

fn print_items(answer: &Value) {
    let items = list(answer, "items");
    for item in items {
        line(&format!(
            "{}  {}  {:<11}  {:>12}  {}",
            text(item, "item"),
            text(item, "received_at"),
            text(item, "state"),
            size(item["size_bytes"].as_u64().unwrap_or(0)),
            text(item, "name"),
        ));
    }
    line(&format!("{} items", items.len()));
    if let Some(after) = answer["next_after"].as_str() {
        line(&format!("more: add --after {after}"));
    }
}

fn print_devices(answer: &Value) {
    for device in list(answer, "devices") {
        let (id, state, name) =
            (text(device, "device"), text(device, "state"), text(device, "name"));
        line(&format!("{id}  {state:<8}  {name}"));
    }
}

fn print_bundle(answer: &Value) {
    line(&format!("bundle written to {}", text(answer, "path")));
    line(&format!("{} items, entry {}", list(answer, "items").len(), answer["leaf_index"]));
    line(&format!("check it with: exhibit-verify {} --policy FILE", text(answer, "path")));
}

fn print_audit(answer: &Value) {
    for finding in list(answer, "findings") {
        line(&format!("{}: {}", text(finding, "code"), text(finding, "message")));
    }
    line(&format!("ledger of {} entries, root {}", answer["size"], text(answer, "root")));
    line(match text(answer, "result") {
        "match" => "match: entries, tiles, database and checkpoint agree",
        "mismatch" => "mismatch: what is listed above differs from what was recorded",
        _ => "cannot tell: something needed is missing",
    });
}
