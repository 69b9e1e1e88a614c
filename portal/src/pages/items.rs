//! The start page: items with posters for an investigator, the system for an operator.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chain_of_custody::ids::LeafIndex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::frame::{Frame, Section};
use super::visit::{Answer, Visitor, page as rendered};
use super::{Pages, operator};
use crate::access::Role;
use crate::service::{
    CaseSummary, DeviceName, Handling, ItemSummary, ItemsQuery, MAX_SEARCH_CHARS,
};
use crate::words::{Recorded, Tag, UkTime, length, size, uk_day};

/// What somebody looks for, as the form sends it. Everything may be empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Looking {
    text: String,
    device: String,
    case: String,
    handling: String,
    from: String,
    to: String,
    after: String,
}

#[derive(Template)]
#[template(path = "pages/items.html")]
struct ItemsPage {
    frame: Frame,
    filter: Filter,
    summary: String,
    rows: Vec<ItemRow>,
    next: Option<String>,
    is_later_page: bool,
}

/// The form, filled in as it was sent.
struct Filter {
    text: String,
    from: String,
    to: String,
    devices: Vec<Choice>,
    cases: Vec<Choice>,
    handlings: Vec<Choice>,
    first_page: String,
    max_chars: usize,
}

/// A line of a list to choose from.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) words: String,
    pub(super) chosen: bool,
}

impl Choice {
    pub(super) fn of_case(case: &CaseSummary, chosen: &str) -> Self {
        let value = case.case.to_string();
        let words = format!("{}: {}", case.reference, case.title);
        Self { chosen: value == chosen, words, value }
    }
}

/// How items are handled: as an address has it, in words.
const HANDLINGS: [(Handling, &str, &str); 3] = [
    (Handling::Usual, "usual", "Neither restricted nor in quarantine"),
    (Handling::Restricted, "restricted", "Restricted"),
    (Handling::Quarantined, "quarantined", "In quarantine"),
];

/// An item in a list.
#[derive(Debug, Clone)]
pub(super) struct ItemRow {
    pub(super) href: String,
    /// Such as `JSM/1`, in a case; or empty.
    pub(super) reference: String,
    pub(super) title: String,
    pub(super) poster: Option<String>,
    pub(super) no_poster: &'static str,
    pub(super) recorded: String,
    pub(super) received: String,
    pub(super) size: String,
    pub(super) length: String,
    pub(super) source: String,
    pub(super) tags: Vec<Tag>,
}

impl Filter {
    fn is_set(&self) -> bool {
        self.first_page != "/"
    }
}

/// `/`: what a person of this role begins with.
pub(super) async fn home(
    State(pages): State<Pages>,
    visitor: Visitor,
    Query(looking): Query<Looking>,
) -> Answer {
    match visitor.person().role {
        Role::Operator => operator::page(&pages, &visitor).await,
        Role::Investigator => list(&pages, &visitor, &looking).await,
    }
}

async fn list(pages: &Pages, visitor: &Visitor, looking: &Looking) -> Answer {
    let devices = pages.service.device_names(visitor.person()).await?;
    let cases = pages.service.cases(visitor.person()).await?;
    let found = pages.service.items(visitor.person(), &looking.query()).await?;
    let rows: Vec<_> = found.items.iter().map(|item| ItemRow::new(item, &devices)).collect();
    let next = found.next_after.map(|after| looking.address(Some(after)));
    let is_later_page = !looking.after.is_empty();
    rendered(
        StatusCode::OK,
        &ItemsPage {
            frame: visitor.frame(Section::Items),
            summary: summary(rows.len(), next.is_some(), is_later_page),
            filter: looking.filter(&devices, &cases),
            rows,
            next,
            is_later_page,
        },
    )
}

fn summary(count: usize, more: bool, is_later_page: bool) -> String {
    let items = if count == 1 { "item" } else { "items" };
    match (more, is_later_page) {
        (false, false) => format!("{count} {items}."),
        (true, false) => format!("The newest {count} {items}; there are more."),
        (true, true) => format!("{count} older {items}; there are more."),
        (false, true) => format!("{count} older {items}, the last ones."),
    }
}

impl Looking {
    /// What cannot be read as a date, a device, a case or a place in the list asks for nothing.
    fn query(&self) -> ItemsQuery {
        ItemsQuery {
            text: Some(self.text.clone()).filter(|text| !text.trim().is_empty()),
            device: self.device.parse().ok(),
            case: self.case.parse().ok(),
            handling: self.handling(),
            from: uk_day(&self.from, 0),
            to: uk_day(&self.to, 1),
            limit: None,
            after: self.after.parse().ok().map(LeafIndex),
        }
    }

    fn handling(&self) -> Option<Handling> {
        HANDLINGS.iter().find(|(_, name, _)| *name == self.handling).map(|(found, ..)| *found)
    }

    fn filter(&self, devices: &[DeviceName], cases: &[CaseSummary]) -> Filter {
        let handling = |(handling, value, words): &(Handling, &str, &str)| Choice {
            chosen: self.handling() == Some(*handling),
            value: (*value).to_owned(),
            words: (*words).to_owned(),
        };
        let choice = |device: &DeviceName| {
            let value = device.device.to_string();
            Choice { chosen: value == self.device, words: device.name.clone(), value }
        };
        Filter {
            text: self.text.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            devices: devices.iter().map(choice).collect(),
            cases: cases.iter().map(|case| Choice::of_case(case, &self.case)).collect(),
            handlings: HANDLINGS.iter().map(handling).collect(),
            first_page: self.address(None),
            max_chars: MAX_SEARCH_CHARS,
        }
    }

    /// The address of this list, from its beginning or behind an entry.
    fn address(&self, after: Option<LeafIndex>) -> String {
        let after = after.map(|after| after.0.to_string()).unwrap_or_default();
        let asked = [
            ("text", &self.text),
            ("device", &self.device),
            ("case", &self.case),
            ("handling", &self.handling),
            ("from", &self.from),
            ("to", &self.to),
            ("after", &after),
        ];
        let encode = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let asked = asked.into_iter().filter(|(_, value)| !value.is_empty());
        let query: Vec<_> =
            asked.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        if query.is_empty() { "/".to_owned() } else { format!("/?{}", query.join("&")) }
    }
}

impl ItemRow {
    pub(super) fn new(item: &ItemSummary, devices: &[DeviceName]) -> Self {
        let recorded = Recorded::from_claim(&item.captured_claimed);
        let recorded = recorded.map_or_else(
            || "Recorded: not known".to_owned(),
            |recorded| format!("Recorded {} by the camera’s clock", recorded.start.line()),
        );
        Self {
            href: format!("/items/{}", item.item),
            reference: String::new(),
            title: title(item),
            poster: item.has_poster.then(|| format!("/media/{}/poster", item.item)),
            no_poster: no_poster(item),
            recorded,
            received: format!("Received {}", UkTime::from(item.received_at).line()),
            size: size(item.size_bytes),
            length: item.duration_us.map(length).unwrap_or_default(),
            source: source(&item.device, devices),
            tags: tags(item),
        }
    }
}

/// What an item is called: its name, or what there is in place of one.
pub(super) fn title(item: &ItemSummary) -> String {
    if item.name.trim().is_empty() {
        format!("Item {} (no name was given)", item.item)
    } else {
        item.name.clone()
    }
}

/// Where an item came from, by the device's name.
pub(super) fn source(device: &str, devices: &[DeviceName]) -> String {
    if device == "-" {
        return "a workstation".to_owned();
    }
    let known = devices.iter().find(|known| known.device.to_string() == device);
    let name = known.map(|known| known.name.clone()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| format!("device {device}"))
}

/// What is not as usual about an item.
pub(super) fn tags(item: &ItemSummary) -> Vec<Tag> {
    let tag = |shown: bool, words, colour| shown.then_some(Tag { words, colour });
    let sensitive = item.disclosure_status == "unused-sensitive";
    let tags = [
        tag(item.state == "quarantined", "In quarantine", "red"),
        tag(item.state == "disposed", "Disposed of", "grey"),
        tag(item.restricted, "Restricted", "purple"),
        tag(sensitive, "Sensitive", "purple"),
        tag(!item.fault.is_empty(), "Cannot be read as received", "red"),
    ];
    tags.into_iter().flatten().collect()
}

fn no_poster(item: &ItemSummary) -> &'static str {
    if item.restricted {
        "Restricted: no picture in lists"
    } else if item.state == "quarantined" {
        "In quarantine: no picture"
    } else {
        "No picture"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_what_was_asked() {
        let looking =
            Looking { text: "a&b <x>".into(), to: "2026-11-22".into(), ..Default::default() };
        assert_eq!(looking.address(None), "/?text=a%26b%20%3Cx%3E&to=2026%2D11%2D22");
        let next = looking.address(Some(LeafIndex(7)));
        assert_eq!(next, "/?text=a%26b%20%3Cx%3E&to=2026%2D11%2D22&after=7");
        assert_eq!(Looking::default().address(None), "/");
    }

    #[test]
    fn what_cannot_be_read_asks_for_nothing() {
        let looking = Looking {
            text: "  ".into(),
            device: "x".into(),
            case: "x".into(),
            handling: "else".into(),
            from: "soon".into(),
            after: "-1".into(),
            ..Default::default()
        };
        assert_eq!(looking.query(), ItemsQuery::default());
    }
}
