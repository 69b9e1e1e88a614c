//! What an operator begins with: devices, states and counts. No footage, no names of items, no cases.

use askama::Template;
use axum::http::StatusCode;

use super::Pages;
use super::frame::{Frame, Section};
use super::visit::{Answer, Visitor, page as rendered};
use crate::service::{DeviceView, Overview};
use crate::words::{UkTime, size};

#[derive(Template)]
#[template(path = "pages/operator.html")]
struct SystemPage {
    frame: Frame,
    figures: Vec<Figure>,
    devices: Vec<DeviceRow>,
}

struct Figure {
    words: &'static str,
    number: String,
}

struct DeviceRow {
    id: String,
    name: String,
    enrolled: UkTime,
    revoked: Option<UkTime>,
}

/// The operator's start page.
pub(super) async fn page(pages: &Pages, visitor: &Visitor) -> Answer {
    let overview = pages.service.overview(visitor.person()).await?;
    let devices = overview.devices.iter().map(DeviceRow::new).collect();
    let frame = visitor.frame(Section::System);
    rendered(StatusCode::OK, &SystemPage { frame, figures: figures(&overview), devices })
}

fn figures(overview: &Overview) -> Vec<Figure> {
    let figure = |words, number| Figure { words, number };
    vec![
        figure("items held", overview.items.to_string()),
        figure("of originals", size(overview.size_bytes)),
        figure("items in quarantine: somebody has to decide", overview.quarantined.to_string()),
        figure("items that cannot be read as received", overview.faults.to_string()),
    ]
}

impl DeviceRow {
    fn new(device: &DeviceView) -> Self {
        Self {
            id: device.device.to_string(),
            name: device.name.clone(),
            enrolled: device.enrolled_at.into(),
            revoked: device.revoked_at.map(UkTime::from),
        }
    }
}
