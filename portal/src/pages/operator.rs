//! What operators have: the system in numbers, people with their links, devices with their tokens. No footage, no names
//! of items, no cases.

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::Pages;
use super::forms::{Act, Sent, go_to};
use super::frame::{Frame, Section};
use super::visit::{Answer, Visitor, page as rendered};
use crate::service::{DeviceView, Made, Overview, RequestKey, UserView};
use crate::words::{UkTime, size};

#[derive(Template)]
#[template(path = "pages/operator.html")]
struct SystemPage {
    frame: Frame,
    figures: Vec<Figure>,
}

struct Figure {
    words: &'static str,
    number: String,
}

#[derive(Template)]
#[template(path = "pages/people.html")]
struct PeoplePage {
    frame: Frame,
    sent: Sent,
    made: Option<ShownLink>,
    people: Vec<PersonRow>,
    key: String,
}

struct PersonRow {
    name: String,
    number: String,
    role: String,
    added: UkTime,
    removed: Option<UkTime>,
    is_visitor: bool,
}

/// A one-time link, shown this once.
struct ShownLink {
    name: String,
    number: String,
    address: String,
    expires: UkTime,
}

#[derive(Template)]
#[template(path = "pages/devices.html")]
struct DevicesPage {
    frame: Frame,
    sent: Sent,
    made: Option<ShownToken>,
    devices: Vec<DeviceRow>,
    key: String,
}

/// A device's token, shown this once.
struct ShownToken {
    name: String,
    token: String,
}

struct DeviceRow {
    id: String,
    name: String,
    enrolled: UkTime,
    revoked: Option<UkTime>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JustMade {
    /// The key of the form that made something which is shown once.
    made: String,
}

/// The operator's start page.
pub(super) async fn page(pages: &Pages, visitor: &Visitor) -> Answer {
    let overview = pages.service.overview(visitor.person()).await?;
    let frame = visitor.frame(Section::System);
    rendered(StatusCode::OK, &SystemPage { frame, figures: figures(&overview) })
}

/// `/people`.
pub(super) async fn people(
    State(pages): State<Pages>,
    visitor: Visitor,
    Query(query): Query<JustMade>,
    headers: HeaderMap,
) -> Answer {
    let made = shown_once(&pages, &visitor, &query).and_then(|made| match made {
        Made::Link(given) => Some(ShownLink {
            name: given.person.name,
            number: given.person.number,
            address: address(&pages, &headers, &given.link.path()),
            expires: given.link.expires_at.into(),
        }),
        Made::Token(_) => None,
    });
    show_people(&pages, &visitor, made, Sent::default()).await
}

/// Gives somebody an account. Sent twice, they have one.
pub(super) async fn add(
    State(pages): State<Pages>,
    visitor: Visitor,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let (service, person) = (&pages.service, visitor.person());
    let done = service.add_user(person, &act.name, &act.number, &act.role, &key).await;
    match act.outcome("add", done)? {
        None => go_to(&format!("/people?made={}", key.as_str())),
        Some(sent) => show_people(&pages, &visitor, None, sent).await,
    }
}

/// Gives somebody another link. Sent twice, it is one.
pub(super) async fn link(
    State(pages): State<Pages>,
    visitor: Visitor,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let done = pages.service.give_link(visitor.person(), &act.number, &key).await;
    match act.outcome("link", done)? {
        None => go_to(&format!("/people?made={}", key.as_str())),
        Some(sent) => show_people(&pages, &visitor, None, sent).await,
    }
}

/// Ends somebody's account.
pub(super) async fn end(
    State(pages): State<Pages>,
    visitor: Visitor,
    Form(act): Form<Act>,
) -> Answer {
    act.key(&visitor)?;
    let done = pages.service.end_user(visitor.person(), &act.number).await;
    match act.outcome("end", done)? {
        None => go_to("/people#people"),
        Some(sent) => show_people(&pages, &visitor, None, sent).await,
    }
}

/// `/devices`.
pub(super) async fn devices(
    State(pages): State<Pages>,
    visitor: Visitor,
    Query(query): Query<JustMade>,
) -> Answer {
    let made = match shown_once(&pages, &visitor, &query) {
        Some(Made::Token(enrolled)) => Some(enrolled),
        _ => None,
    };
    let made = made.map(|made| (made.device.to_string(), made.token));
    show_devices(&pages, &visitor, made, Sent::default()).await
}

/// Lets a device in. Sent twice, it is one.
pub(super) async fn enrol(
    State(pages): State<Pages>,
    visitor: Visitor,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let done = pages.service.enrol_device(visitor.person(), &act.name, &key).await;
    match act.outcome("enrol", done)? {
        None => go_to(&format!("/devices?made={}", key.as_str())),
        Some(sent) => show_devices(&pages, &visitor, None, sent).await,
    }
}

/// Gives a device another token. Sent twice, it is one.
pub(super) async fn rotate(
    State(pages): State<Pages>,
    visitor: Visitor,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let (service, person) = (&pages.service, visitor.person());
    let Ok(device) = act.device.parse() else { return Ok(service.no_such_device(person).await?) };
    let done = service.rotate_token(person, device, &key).await;
    match act.outcome("rotate", done)? {
        None => go_to(&format!("/devices?made={}", key.as_str())),
        Some(sent) => show_devices(&pages, &visitor, None, sent).await,
    }
}

/// Shuts a device out.
pub(super) async fn revoke(
    State(pages): State<Pages>,
    visitor: Visitor,
    Form(act): Form<Act>,
) -> Answer {
    act.key(&visitor)?;
    let (service, person) = (&pages.service, visitor.person());
    let Ok(device) = act.device.parse() else { return Ok(service.no_such_device(person).await?) };
    service.revoke_device(person, device).await?;
    go_to("/devices#devices")
}

fn shown_once(pages: &Pages, visitor: &Visitor, query: &JustMade) -> Option<Made> {
    let key = RequestKey::new(&query.made).ok()?;
    pages.service.show_once(visitor.person(), &key)
}

/// The whole address of a page, as this operator's browser reaches this server.
fn address(pages: &Pages, headers: &HeaderMap, path: &str) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if pages.tls { "https" } else { "http" };
    if host.is_empty() { path.to_owned() } else { format!("{scheme}://{host}{path}") }
}

async fn show_people(
    pages: &Pages,
    visitor: &Visitor,
    made: Option<ShownLink>,
    sent: Sent,
) -> Answer {
    let users = pages.service.users(visitor.person()).await?;
    let own = visitor.person().user;
    let row = |user: UserView| PersonRow {
        is_visitor: user.user == own,
        name: user.name,
        number: user.number,
        role: user.role,
        added: user.added_at.into(),
        removed: user.removed_at.map(UkTime::from),
    };
    let people = users.into_iter().map(row).collect();
    let (frame, key) = (visitor.frame(Section::People), fresh_key());
    rendered(sent.status(), &PeoplePage { frame, sent, made, people, key })
}

async fn show_devices(
    pages: &Pages,
    visitor: &Visitor,
    made: Option<(String, String)>,
    sent: Sent,
) -> Answer {
    let overview = pages.service.overview(visitor.person()).await?;
    let devices: Vec<_> = overview.devices.iter().map(DeviceRow::new).collect();
    let made = made.map(|(device, token)| {
        let name = devices.iter().find(|row| row.id == device).map(|row| row.name.clone());
        ShownToken { name: name.unwrap_or(device), token }
    });
    let (frame, key) = (visitor.frame(Section::Devices), fresh_key());
    rendered(sent.status(), &DevicesPage { frame, sent, made, devices, key })
}

fn fresh_key() -> String {
    RequestKey::fresh().as_str().to_owned()
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

impl PeoplePage {
    fn active(&self) -> impl Iterator<Item = &PersonRow> {
        self.people.iter().filter(|person| person.removed.is_none())
    }

    fn others(&self) -> impl Iterator<Item = &PersonRow> {
        self.active().filter(|person| !person.is_visitor)
    }
}

impl DevicesPage {
    fn active(&self) -> impl Iterator<Item = &DeviceRow> {
        self.devices.iter().filter(|device| device.revoked.is_none())
    }
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
