//! The same measures as a dashboard: one panel each, with the bounds at which `status` alarms.

use serde_json::{Value, json};

use super::measures::{Alarm, MEASURES, Measure};

/// Panels beside each other; Grafana's grid is 24 wide.
const COLUMNS: usize = 4;
const WIDTH: usize = 24 / COLUMNS;
const HEIGHT: usize = 5;

/// The dashboard that is shipped in `deploy/`, as Grafana imports it.
pub(crate) fn dashboard() -> String {
    let panels: Vec<Value> = MEASURES.iter().enumerate().map(panel).collect();
    let dashboard = json!({
        "title": "Exhibit",
        "uid": "exhibit",
        "schemaVersion": 38,
        "editable": true,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "templating": {"list": [{
            "name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        }]},
        "panels": panels,
    });
    format!("{dashboard:#}\n")
}

fn panel((at, measure): (usize, &Measure)) -> Value {
    let (column, row) = (at % COLUMNS, at / COLUMNS);
    // What alarms is shown as it is, with its colour; what only grows is shown as it grew.
    let kind = if measure.alarm == Alarm::None { "timeseries" } else { "stat" };
    json!({
        "id": at + 1,
        "type": kind,
        "title": measure.title,
        "description": description(measure),
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "targets": [{"refId": "A", "expr": measure.name, "legendFormat": "{{instance}}"}],
        "fieldConfig": {"defaults": {
            "unit": unit(measure.name),
            "thresholds": {"mode": "absolute", "steps": steps(measure.alarm)},
        }, "overrides": []},
    })
}

fn description(measure: &Measure) -> String {
    match measure.next {
        "" => measure.help.to_owned(),
        next => format!("{} When it alarms: {next}.", measure.help),
    }
}

fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "bytes",
        Some("left") => "d",
        _ => "none",
    }
}

/// Colours from a value on, the first for everything below the second.
fn steps(alarm: Alarm) -> Vec<Value> {
    let step = |color: &str, from: Option<f64>| json!({"color": color, "value": from});
    // A bound itself is well still, or well again.
    let beyond = |bound: f64| if bound == 0.0 { f64::EPSILON } else { bound };
    match alarm {
        Alarm::None => vec![step("green", None)],
        Alarm::Above { warning, critical } if critical <= warning => {
            vec![step("green", None), step("red", Some(beyond(critical)))]
        }
        Alarm::Above { warning, critical } => {
            let red = critical.is_finite().then(|| step("red", Some(beyond(critical))));
            let below = [step("green", None), step("orange", Some(beyond(warning)))];
            below.into_iter().chain(red).collect()
        }
        Alarm::Below { warning, critical } if critical < warning => {
            vec![step("red", None), step("orange", Some(critical)), step("green", Some(warning))]
        }
        Alarm::Below { warning, .. } => vec![step("red", None), step("green", Some(warning))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_that_is_shipped_is_that_of_the_table() {
        let shipped = include_str!("../../../deploy/exhibit.dashboard.json");
        assert_eq!(
            shipped,
            dashboard(),
            "run: exhibit status --dashboard > deploy/exhibit.dashboard.json"
        );
    }

    #[test]
    fn colours_change_where_status_alarms() {
        let colours = |alarm| {
            let steps = steps(alarm);
            let of = |step: &Value| {
                (step["color"].as_str().unwrap_or("").to_owned(), step["value"].as_f64())
            };
            steps.iter().map(of).collect::<Vec<_>>()
        };
        let named = |list: &[(&str, Option<f64>)]| {
            list.iter().map(|(color, from)| ((*color).to_owned(), *from)).collect::<Vec<_>>()
        };
        assert_eq!(
            colours(Alarm::Above { warning: 60.0, critical: 600.0 }),
            named(&[("green", None), ("orange", Some(60.0)), ("red", Some(600.0))])
        );
        assert_eq!(
            colours(Alarm::Below { warning: 30.0, critical: 7.0 }),
            named(&[("red", None), ("orange", Some(7.0)), ("green", Some(30.0))])
        );
        assert_eq!(
            colours(Alarm::Above { warning: 0.0, critical: f64::INFINITY }),
            named(&[("green", None), ("orange", Some(f64::EPSILON))])
        );
    }
}
