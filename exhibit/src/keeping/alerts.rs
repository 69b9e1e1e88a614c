//! The same measures for Prometheus: the text that it reads, and the rules that wake somebody up.

use std::fmt::Write as _;

use super::measures::{Alarm, MEASURES, Measured};

/// A value has to stand so long before it is an alarm: within this and one scrape, a failure is one (I10).
const FOR: &str = "30s";

/// The measures in Prometheus' text format 0.0.4.
pub(crate) fn metrics(measured: &[Measured]) -> String {
    let mut text = String::new();
    for (measure, now) in MEASURES.iter().zip(measured) {
        if let Some(value) = now.value {
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n",
                name = measure.name,
                help = measure.help,
            );
        }
    }
    text
}

/// The rules file that is shipped in `deploy/`.
pub(crate) fn rules() -> String {
    let mut text = String::from(
        "# Alert rules for Exhibit, made by `exhibit status --alert-rules` from the bounds that `exhibit status` uses.\n\
         groups:\n  - name: exhibit\n    rules:\n",
    );
    for measure in MEASURES {
        let (sign, warning, critical) = match measure.alarm {
            Alarm::None => continue,
            Alarm::Above { warning, critical } => (">", warning, critical),
            Alarm::Below { warning, critical } => ("<", warning, critical),
        };
        let name = alert_name(measure.name);
        let mut rule = |severity: &str, bound: f64| {
            let _ = write!(
                text,
                "      - alert: {name}\n        expr: {} {sign} {bound}\n        for: {FOR}\n        \
                 labels:\n          severity: {severity}\n        annotations:\n          \
                 summary: {:?}\n          description: {:?}\n",
                measure.name, measure.help, measure.next,
            );
        };
        if warning != critical {
            rule("warning", warning);
        }
        if critical.is_finite() && !(sign == "<" && critical <= 0.0) {
            rule("critical", critical);
        }
    }
    // A server that is gone exports nothing.
    text.push_str(
        "      - alert: ExhibitGone\n        expr: absent(exhibit_up)\n        for: 30s\n        labels:\n          \
         severity: critical\n        annotations:\n          summary: \"No server answers at /metrics.\"\n          \
         description: \"systemctl status exhibit; exhibit doctor\"\n",
    );
    text
}

/// `exhibit_disk_days_left` → `ExhibitDiskDaysLeft`.
fn alert_name(name: &str) -> String {
    let word = |w: &str| {
        let mut letters = w.chars();
        letters
            .next()
            .map(|c| c.to_ascii_uppercase())
            .into_iter()
            .chain(letters)
            .collect::<String>()
    };
    name.split('_').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_are_shipped_are_those_of_the_table() {
        let shipped = include_str!("../../../deploy/exhibit.rules.yml");
        assert_eq!(
            shipped,
            rules(),
            "run: exhibit status --alert-rules > deploy/exhibit.rules.yml"
        );
    }

    #[test]
    fn each_measure_has_one_name_and_says_what_to_do() {
        for (at, measure) in MEASURES.iter().enumerate() {
            assert!(measure.name.starts_with("exhibit_"));
            assert!(MEASURES[..at].iter().all(|other| other.name != measure.name));
            assert_eq!(measure.next.is_empty(), measure.alarm == Alarm::None, "{}", measure.name);
        }
    }
}
