//! The report in words and as JSON. The words are those of the page in the bundle: nobody is accused of anything.

use std::fmt::Write as _;

use chain_of_custody::report::{Check, Class, FileResult, Finding, Outcome, Report};
use serde_json::{Value, json};

/// The JSON form (docs/formats/report.md).
pub(crate) fn json(report: &Report) -> String {
    let value = json!({
        "result": report.result.as_str(),
        "rests_on": report.rests_on,
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "files": report.files.iter().map(file_json).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "code": finding.code.as_str(),
        "class": finding.class.as_str(),
        "path": finding.path,
        "byte_range": finding.byte_range.as_ref().map(|range| [range.start, range.end]),
        "message": finding.message,
    })
}

fn file_json(file: &FileResult) -> Value {
    json!({
        "path": file.path,
        "class": file.class.as_str(),
        "result": file.result.as_str(),
        "item": file.item.map(|item| item.to_string()),
        "recorded_at": file.recorded_at.map(|at| at.to_string()),
    })
}

/// The form for people.
pub(crate) fn text(report: &Report, explain: bool) -> String {
    let mut out = format!("{}\n\n", headline(report));
    for file in &report.files {
        let recorded = file.recorded_at.map(|at| format!("  (recorded {at})")).unwrap_or_default();
        let _ = writeln!(out, "  {:18} {}{recorded}", words(file.result), file.path);
    }
    if !report.findings.is_empty() {
        let _ = writeln!(out, "\nFindings:");
    }
    for finding in &report.findings {
        let _ = writeln!(out, "  [{}: {}] {}", finding.class, finding.code, finding.message);
    }
    let _ = writeln!(out, "\nThis rests on {}.", rests_on(report));
    if report.files.iter().any(|file| file.class != Class::Record) || report.files.is_empty() {
        let _ = writeln!(out, "\n{}", meaning(report.result));
    }
    if explain {
        out.push_str(&explanations(report));
    }
    out
}

/// As the table in the bundle's page says it.
fn words(result: Outcome) -> &'static str {
    match result {
        Outcome::Match => "matches",
        Outcome::Mismatch => "does not match",
        Outcome::CannotTell => "cannot be checked",
    }
}

fn headline(report: &Report) -> String {
    if let [only] = report.files.as_slice()
        && only.class == Class::Record
    {
        return of_a_ledger(only.result).to_owned();
    }
    let footage: Vec<_> = report.files.iter().filter(|file| file.class == Class::Footage).collect();
    let matching = footage.iter().filter(|file| file.result == Outcome::Match).count();
    let of_footage = format!("{matching} of {} files of footage match.", footage.len());
    match report.result {
        Outcome::Match => format!("MATCH. {of_footage}"),
        Outcome::Mismatch => format!("DOES NOT MATCH. {of_footage} See the findings."),
        Outcome::CannotTell => {
            format!("CANNOT BE CHECKED. {of_footage} Something needed is missing.")
        }
    }
}

/// A ledger held against a slip: there are no files of footage to count.
fn of_a_ledger(result: Outcome) -> &'static str {
    match result {
        Outcome::Match => "MATCH. The ledger here begins with the entries that the slip shows.",
        Outcome::Mismatch => {
            "DOES NOT MATCH. The ledger here does not begin with the entries that the slip shows."
        }
        Outcome::CannotTell => "CANNOT BE CHECKED. Something needed is missing.",
    }
}

fn rests_on(report: &Report) -> String {
    if report.rests_on.is_empty() {
        "nothing that you confirmed".to_owned()
    } else {
        report.rests_on.join("; ")
    }
}

fn meaning(result: Outcome) -> &'static str {
    match result {
        Outcome::Match => {
            "A file that matches is byte for byte the file the force recorded as received, and the record of it\n\
             fits the ledger the force signed. A match does not show that the camera recorded truthfully, or that\n\
             nothing happened to the file before it was received."
        }
        Outcome::Mismatch => {
            "This copy differs from what was recorded. That does not say who, why or when: a damaged disc does it\n\
             too. Keep the copy, do not open it further, ask for a fresh one, and tell the force."
        }
        Outcome::CannotTell => {
            "Something needed is missing, usually the key. It is neither good nor bad news."
        }
    }
}

fn explanations(report: &Report) -> String {
    let mut out = "\nWhat was checked:\n".to_owned();
    for checked in &report.checked {
        let counts = match checked.check {
            Check::WithheldField => format!("{} fields", checked.total),
            _ => format!("{} of {} held", checked.held, checked.total),
        };
        let _ = writeln!(
            out,
            "  {} ({counts}): {}",
            checked.check.as_str(),
            checked.check.explanation()
        );
    }
    out
}
