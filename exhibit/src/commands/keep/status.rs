//! `exhibit status`: one screen, and an exit code for monitoring.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::app::open::failed;
use crate::config::Config;
use crate::control::Failure;
use crate::keeping::{Level, Look, Measured, measure};
use crate::terminal::{self, line};

/// As monitoring plugins have it: 0 well, 1 warning, 2 critical, 3 not known.
const NOT_KNOWN: u8 = 3;

pub(super) async fn run(data: &Path, config: &Config, as_json: bool) -> Result<ExitCode, Failure> {
    let look = Look::from_outside(data, config).await;
    let measured = measure(&look).await.map_err(|e| failed("records", &e))?;
    let worst = measured.iter().map(|m| m.level).max().unwrap_or(Level::Ok);
    let unknown = look.records().is_none();
    if as_json {
        terminal::answer(
            &json!({"level": worst, "database_readable": !unknown, "measures": measured}),
        );
    } else {
        print(&look, &measured, worst);
    }
    Ok(match worst {
        Level::Critical => ExitCode::from(2),
        _ if unknown => ExitCode::from(NOT_KNOWN),
        Level::Warning => ExitCode::from(1),
        Level::Ok => ExitCode::SUCCESS,
    })
}

fn print(look: &Look, measured: &[Measured], worst: Level) {
    line(&format!("{}  ({})", look.config.force.name, look.config.force.ledger));
    for measure in measured {
        let mark = match measure.level {
            Level::Ok => " ",
            Level::Warning => "!",
            Level::Critical => "‼",
        };
        line(&format!("{mark} {:<26} {}", measure.title, measure.words));
        if let Some(next) = measure.next {
            line(&format!("    → {next}"));
        }
    }
    if let Some(Err(error)) = &look.records {
        line(&format!("‼ the database cannot be read: {error}"));
    }
    line(match worst {
        Level::Ok => "all is well",
        Level::Warning => "something wants attention",
        Level::Critical => "something is wrong now",
    });
}
