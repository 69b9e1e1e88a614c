//! What came of a backup or a scrub, in words.

use std::process::ExitCode;

use serde_json::Value;

use crate::terminal::{self, line, size};

/// 0 when everything is in the backup, 1 when something is damaged here.
pub(super) fn print(answer: &Value, as_json: bool) -> ExitCode {
    let faults = list(answer, "faults");
    if as_json {
        terminal::answer(answer);
        return exit(faults);
    }
    line(&format!("{} entries are in {}", answer["entries"], text(answer, "folder")));
    let how = if answer["read_again"] == true { "read again" } else { "looked at" };
    line(&format!(
        "{} objects copied ({}), {} that were there {how}",
        answer["copied_objects"],
        size(answer["copied_bytes"].as_u64().unwrap_or(0)),
        answer["checked_objects"]
    ));
    if answer["unchanged"] == true {
        line("nothing is new since the last backup");
    }
    print_findings(faults);
    if !faults.is_empty() {
        line(
            "What is listed is damaged here and could not be copied; an earlier backup may have it.",
        );
    }
    exit(faults)
}

/// 0 when all is as it was received.
pub(super) fn print_scrub(answer: &Value, as_json: bool) -> ExitCode {
    let findings = list(answer, "findings");
    if as_json {
        terminal::answer(answer);
        return exit(findings);
    }
    print_findings(findings);
    for repaired in list(answer, "repaired") {
        line(&format!("repaired     {}", text(repaired, "name")));
    }
    for orphan in list(answer, "orphans") {
        line(&format!("not named by any entry: {}", orphan.as_str().unwrap_or("-")));
    }
    line(&format!("{} objects of {} entries were read", answer["objects"], answer["entries"]));
    line(match findings.len() {
        0 => "all of them are as they were received",
        _ => {
            "what is listed above is not: it is recorded, and nothing of it is served (docs/operating.md says how to mend it)"
        }
    });
    exit(findings)
}

pub(super) fn print_findings(findings: &[Value]) {
    for finding in findings {
        let item = finding["item"].as_str().map(|id| format!("item {id}: ")).unwrap_or_default();
        let cases: Vec<_> = list(finding, "cases").iter().filter_map(Value::as_str).collect();
        let cases =
            if cases.is_empty() { String::new() } else { format!(" ({})", cases.join(", ")) };
        line(&format!("{:<12} {item}{}{cases}", text(finding, "code"), text(finding, "message")));
    }
}

fn exit(findings: &[Value]) -> ExitCode {
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}
