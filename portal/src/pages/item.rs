//! One item: what can be watched, what is known and what is not, and everything that happened to it.

use askama::Template;
use axum::extract::{Form, Query, State};
use chain_of_custody::ids::{ItemId, LeafIndex};
use serde::Deserialize;

use super::Pages;
use super::forms::{Act, Sent, go_to};
use super::frame::{Frame, Section};
use super::items::{Choice, source, tags, title};
use super::place::Whereabouts;
use super::visit::{Answer, Named, Visitor, named, page as rendered};
use crate::service::{
    Derivative, DeviceName, EventInWords, EventsPage, Failure, ItemDetail, Known, Member, OnSheet,
    RequestKey, Sheet, SmallCopy,
};
use crate::words::{Recorded, Tag, UkTime, capitalised, length, size};

/// Longer texts get a box of their own, which can be scrolled.
const LONG_CHARS: usize = 300;

#[derive(Template)]
#[template(path = "pages/item.html")]
struct ItemPage {
    frame: Frame,
    sent: Sent,
    title: String,
    tags: Vec<Tag>,
    warnings: Vec<String>,
    player: Option<Player>,
    small: Small,
    sheet: Option<SheetOfPictures>,
    whereabouts: Vec<Whereabouts>,
    location: String,
    no_player: &'static str,
    original: Original,
    recorded: Option<Recorded>,
    recorded_by: &'static str,
    received: UkTime,
    known: Vec<KnownRow>,
    receipt: Receipt,
    facts: Vec<Fact>,
    derivatives: Vec<Made>,
    no_derivatives: &'static str,
    making: Option<String>,
    failures: Vec<String>,
    events: Vec<EventRow>,
    more_events: Option<String>,
    cases: Vec<CaseLink>,
    linkable: Vec<Choice>,
    restricted: bool,
    viewers: Vec<PersonNamed>,
    /// Where forms of this page go, and what follows.
    address: String,
    key: String,
}

/// Somebody who works on a case, or is named for an item.
pub(super) struct PersonNamed {
    pub(super) name: String,
    pub(super) number: String,
    pub(super) active: bool,
}

impl From<&Member> for PersonNamed {
    fn from(member: &Member) -> Self {
        let (name, number) = (member.name.clone(), member.number.clone());
        Self { name, number, active: member.active }
    }
}

/// The viewing copy.
struct Player {
    source: String,
    poster: Option<String>,
    length: String,
    is_original: bool,
    /// Browsers play it behind a front.
    has_front: bool,
    is_still: bool,
    /// What was done to the pictures or the sound.
    notes: Vec<String>,
}

/// What there is for poor lines.
enum Small {
    /// It is what the player plays; the usual one is there.
    Playing {
        usual: String,
    },
    Made {
        href: String,
        size: String,
    },
    Making,
    /// A form asks for it.
    Possible,
    None,
}

/// The sheet of thumbnails, each a way to its moment.
struct SheetOfPictures {
    source: String,
    width: u32,
    height: u32,
    every: String,
    pictures: Vec<Moment>,
}

struct Moment {
    href: String,
    /// Left, top, right, bottom.
    place: String,
    time: String,
}

struct Original {
    href: String,
    size: String,
    offered: bool,
}

struct KnownRow {
    about: &'static str,
    says: String,
    mark: &'static str,
}

struct Receipt {
    says: &'static str,
    proof: String,
    text: String,
}

struct Fact {
    name: &'static str,
    value: String,
    code: bool,
}

struct Made {
    what: &'static str,
    href: String,
    /// What whoever looks at it should know.
    notes: Vec<String>,
    made_by: String,
    size: String,
    sha256: String,
}

/// A line of a continuity.
pub(super) struct EventRow {
    pub(super) at: UkTime,
    pub(super) says: String,
    pub(super) who: String,
    pub(super) entry: u64,
    pub(super) published: bool,
}

struct CaseLink {
    href: String,
    reference: String,
    title: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Where {
    /// Events behind this entry.
    events_after: String,
    /// The player begins so many seconds in.
    at: String,
    /// `small`: the player has the smaller viewing copy.
    copy: String,
}

/// Which part of an item is shown.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    /// Events behind this entry.
    after: Option<LeafIndex>,
    /// The player begins so many seconds in.
    at: u64,
    /// The smaller viewing copy, if there is one.
    small: bool,
}

/// `/items/{item}`.
pub(super) async fn page(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Query(query): Query<Where>,
) -> Answer {
    let after = query.events_after.parse().ok().map(LeafIndex);
    let at = query.at.parse().unwrap_or(0);
    let small = query.copy == "small";
    show(&pages, &visitor, item, Shown { after, at, small }, Sent::default()).await
}

/// Puts the item into a case of theirs. Sent twice, it is linked once.
pub(super) async fn link(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let case = named(&pages, &visitor, &act.case).await?;
    let reference = Some(act.exhibit_reference.as_str());
    let done = pages.service.link_item(visitor.person(), case, item, reference, &key).await;
    then(&pages, &visitor, item, act.outcome("link", done)?, "cases").await
}

/// Asks for a smaller viewing copy. Sent twice, it is made once.
pub(super) async fn small_copy(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Form(act): Form<Act>,
) -> Answer {
    act.key(&visitor)?;
    let done = pages.service.ask_small_copy(visitor.person(), item).await;
    then(&pages, &visitor, item, act.outcome("small", done)?, "watch").await
}

/// Restricts the item to named viewers.
pub(super) async fn restrict(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let done = pages.service.restrict(visitor.person(), item, &act.reason, &key).await;
    then(&pages, &visitor, item, act.outcome("restrict", done)?, "access").await
}

/// Ends the restriction.
pub(super) async fn end_restriction(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let done = pages.service.end_restriction(visitor.person(), item, &act.reason, &key).await;
    then(&pages, &visitor, item, act.outcome("free", done)?, "access").await
}

/// Names somebody for the restricted item.
pub(super) async fn name_viewer(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let (service, person) = (&pages.service, visitor.person());
    let done = service.name_viewer(person, item, &act.number, &act.reason, &key).await;
    then(&pages, &visitor, item, act.outcome("name", done)?, "access").await
}

/// Ends that somebody is named. Whoever withdraws themselves is shown the other items.
pub(super) async fn withdraw_viewer(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(item): Named<ItemId>,
    Form(act): Form<Act>,
) -> Answer {
    let key = act.key(&visitor)?;
    let (service, person) = (&pages.service, visitor.person());
    let done = service.withdraw_viewer(person, item, &act.number, &act.reason, &key).await;
    let is_own = act.number == person.number;
    match act.outcome("withdraw", done)? {
        None if is_own => go_to("/"),
        sent => then(&pages, &visitor, item, sent, "access").await,
    }
}

/// On to the part of the page that changed, or the page with what there is to mend.
async fn then(
    pages: &Pages,
    visitor: &Visitor,
    item: ItemId,
    sent: Option<Sent>,
    part: &str,
) -> Answer {
    match sent {
        None => go_to(&format!("/items/{item}#{part}")),
        Some(sent) => show(pages, visitor, item, Shown::default(), sent).await,
    }
}

async fn show(pages: &Pages, visitor: &Visitor, item: ItemId, shown: Shown, sent: Sent) -> Answer {
    let (service, person) = (&pages.service, visitor.person());
    let detail = service.item(person, item).await?;
    let events = service.item_events(person, item, shown.after).await?;
    let places = service.places(person, item).await?;
    let devices = service.device_names(person).await?;
    let mine = service.cases(person).await?;
    let is_in = |case| detail.cases.iter().any(|linked| linked.case == case);
    let others = mine.iter().filter(|case| !is_in(case.case));
    let linkable = others.map(|case| Choice::of_case(case, "")).collect();
    let whereabouts = places.iter().map(Whereabouts::new).collect();
    let page = ItemPage::new(visitor.frame(Section::Items), &detail, &events, &devices, shown);
    rendered(sent.status(), &ItemPage { sent, linkable, whereabouts, ..page })
}

impl ItemPage {
    fn new(
        frame: Frame,
        detail: &ItemDetail,
        events: &EventsPage,
        devices: &[DeviceName],
        shown: Shown,
    ) -> Self {
        let summary = &detail.summary;
        let item = summary.item;
        let media = |kind| format!("/media/{item}/{kind}");
        let length = summary.duration_us.map(length).unwrap_or_default();
        let is_small = shown.small && detail.small_copy == SmallCopy::Made;
        let source = media(if is_small { "proxy-small.mp4" } else { "proxy" });
        let (recorded, recorded_by) = recorded(detail);
        Self {
            frame,
            sent: Sent::default(),
            title: title(summary),
            tags: tags(summary),
            warnings: warnings(detail),
            player: (summary.has_proxy || is_small).then(|| Player {
                source: if shown.at > 0 { format!("{source}#t={}", shown.at) } else { source },
                poster: summary.has_poster.then(|| media("poster")),
                length,
                is_original: detail.plays_as_it_came() && !is_small,
                has_front: detail.plays_behind_front(),
                is_still: detail.derivatives.iter().any(is_still),
                notes: detail.notes_on_copy().iter().map(|note| capitalised(note)).collect(),
            }),
            small: Small::new(detail, is_small),
            sheet: detail.sheet().map(|sheet| SheetOfPictures::new(item, sheet, is_small)),
            whereabouts: Vec::new(),
            location: media("location"),
            no_player: no_player(detail),
            original: Original {
                href: media("original"),
                size: size(summary.size_bytes),
                offered: summary.state != "disposed",
            },
            recorded,
            recorded_by,
            received: summary.received_at.into(),
            known: detail.known.iter().map(KnownRow::new).collect(),
            receipt: Receipt::new(detail),
            facts: facts(detail, devices),
            derivatives: detail.derivatives.iter().map(|made| Made::new(item, made)).collect(),
            no_derivatives: no_derivatives(detail),
            making: making(detail),
            failures: detail.failures.iter().map(failure).collect(),
            events: events.events.iter().map(|event| EventRow::new(event, devices)).collect(),
            more_events: events
                .next_after
                .map(|after| format!("/items/{item}?events_after={}#continuity", after.0)),
            cases: detail
                .cases
                .iter()
                .map(|case| CaseLink {
                    href: format!("/cases/{}", case.case),
                    reference: case.reference.clone(),
                    title: case.title.clone(),
                })
                .collect(),
            linkable: Vec::new(),
            restricted: summary.restricted,
            viewers: detail.viewers.iter().map(PersonNamed::from).collect(),
            address: format!("/items/{item}"),
            key: RequestKey::fresh().as_str().to_owned(),
        }
    }
}

/// What a device said of the recording when it sent it, or else what stands in the file itself.
fn recorded(detail: &ItemDetail) -> (Option<Recorded>, &'static str) {
    if let Some(recorded) = Recorded::from_claim(&detail.summary.captured_claimed) {
        return (Some(recorded), "The camera says so; nobody has compared its clock.");
    }
    let mut probes = detail.derivatives.iter().filter_map(|d| d.media["created-claimed"].as_str());
    let recorded = probes.next().and_then(Recorded::from_claim);
    (recorded, "So it stands in the file; nobody has compared the camera’s clock.")
}

/// A photograph, which a browser shows and does not play.
fn is_still(derivative: &Derivative) -> bool {
    derivative.media["container"].as_str().is_some_and(|name| name.ends_with("_pipe"))
}

impl Small {
    fn new(detail: &ItemDetail, is_playing: bool) -> Self {
        let address = format!("/items/{}", detail.summary.item);
        let made = detail.derivatives.iter().rev().find(|d| d.kind == "proxy-small");
        match (detail.small_copy, made) {
            (SmallCopy::Made, _) if is_playing => Self::Playing { usual: address },
            (SmallCopy::Made, Some(made)) => {
                Self::Made { href: format!("{address}?copy=small"), size: size(made.size_bytes) }
            }
            (SmallCopy::Making, _) => Self::Making,
            (SmallCopy::Possible, _) => Self::Possible,
            _ => Self::None,
        }
    }
}

impl SheetOfPictures {
    fn new(item: ItemId, sheet: Sheet, is_small: bool) -> Self {
        let copy = if is_small { "&copy=small" } else { "" };
        let moment = |picture: OnSheet| {
            let OnSheet { left, top, from } = picture;
            let (right, bottom) = (left + sheet.width, top + sheet.height);
            let micros = i64::try_from(from.as_micros()).unwrap_or(i64::MAX);
            Moment {
                href: format!("/items/{item}?at={}{copy}", from.as_secs()),
                place: format!("{left},{top},{right},{bottom}"),
                time: length(micros),
            }
        };
        let every = i64::try_from(sheet.every.as_micros()).unwrap_or(i64::MAX);
        Self {
            source: format!("/media/{item}/thumbnails"),
            width: sheet.width * sheet.columns.min(sheet.pictures),
            height: sheet.height * sheet.pictures.div_ceil(sheet.columns),
            every: length(every),
            pictures: sheet.pictures().map(moment).collect(),
        }
    }
}

fn warnings(detail: &ItemDetail) -> Vec<String> {
    let summary = &detail.summary;
    let mut warnings = Vec::new();
    if !summary.fault.is_empty() {
        warnings.push("What is stored could not be read as it was received. It is not shown until it is whole again.".to_owned());
    }
    if summary.state == "quarantined" {
        warnings.push("In quarantine: the bytes are kept as they came, but something that was said about them is not \
             so. A person has to decide about it; until then it is used for nothing.".to_owned());
    }
    if summary.restricted {
        warnings.push("Restricted: only people named for it may see it. It has no picture in lists and leaves in a bundle \
             only when a named person authorises it.".to_owned());
    }
    warnings
}

fn no_player(detail: &ItemDetail) -> &'static str {
    let failed = detail.failures.iter().any(|f| f.kind == "proxy" || f.kind == "probe");
    match detail.summary.state.as_str() {
        "quarantined" => "There is no viewing copy: nothing is made from what is in quarantine.",
        "disposed" => "There is nothing to watch: this item was disposed of.",
        _ if failed => {
            "There is no viewing copy: it could not be made. The original is kept as it came. Why, as far as it is \
             known, stands under “Made from it”."
        }
        _ if detail.summary.restricted => {
            "There is no viewing copy: nothing is made from what is restricted."
        }
        _ => {
            "There is no viewing copy yet. It is made as soon as a place is free: load this page again in a minute."
        }
    }
}

fn no_derivatives(detail: &ItemDetail) -> &'static str {
    if detail.failures.is_empty() { "Nothing yet." } else { "Nothing could be made from it." }
}

fn making(detail: &ItemDetail) -> Option<String> {
    let one = |of: &crate::service::Making| match of.permille {
        Some(permille) => format!("{} ({} %)", kind(&of.kind).to_lowercase(), permille / 10),
        None => kind(&of.kind).to_lowercase(),
    };
    let kinds: Vec<_> = detail.making.iter().map(one).collect();
    (!kinds.is_empty()).then(|| format!("Still to come: {}.", kinds.join(", ")))
}

fn facts(detail: &ItemDetail, devices: &[DeviceName]) -> Vec<Fact> {
    let summary = &detail.summary;
    let given = |text: &str| match text {
        "" | "-" => "not given".to_owned(),
        text => text.to_owned(),
    };
    let text = |name, value| Fact { name, value, code: false };
    let code = |name, value| Fact { name, value, code: true };
    let mut facts = vec![
        text("Name as given", given(&summary.name)),
        text("Size", format!("{} ({} bytes)", size(summary.size_bytes), summary.size_bytes)),
        code("SHA-256", detail.digests.sha256.to_string()),
        code("BLAKE3", detail.digests.blake3.to_string()),
        text("Came from", source(&summary.device, devices)),
        text("Camera, as claimed", given(&summary.camera)),
        text("Recording, as claimed", given(&summary.recording)),
        code("Item", summary.item.to_string()),
    ];
    // What nobody has assessed stands under what is not known.
    if let Some(said) = disclosure(&summary.disclosure_status) {
        facts.push(text("Disclosure", said.to_owned()));
    }
    facts
}

fn disclosure(status: &str) -> Option<&'static str> {
    match status {
        "served" => Some("served as evidence"),
        "unused" => Some("unused material"),
        "unused-sensitive" => Some("unused material, sensitive"),
        "restricted" => Some("restricted"),
        _ => None,
    }
}

fn failure(failure: &Failure) -> String {
    let what = kind(&failure.kind);
    let reason = if failure.reason.is_empty() { &failure.reason_code } else { &failure.reason };
    let reason = reason.trim_end_matches('.');
    format!(
        "{what} could not be made. The program said: {reason}. The original is not touched by this."
    )
}

fn kind(kind: &str) -> &'static str {
    match kind {
        "proxy" => "Viewing copy",
        "front" => "Front, for playing the original in a browser",
        "poster" => "Picture for lists",
        "probe" => "Technical description",
        "thumbnails" => "Sheet of pictures",
        "waveform" => "Curve of the sound",
        "frames" => "List of pictures",
        "scenes" => "List of scenes",
        "extract" => "Extract",
        "redaction" => "Redacted copy",
        "proxy-small" => "Smaller viewing copy",
        "location" => "List of places",
        _ => "Derivative",
    }
}

/// Program, version and codecs, as the recipe has them.
fn made_with(recipe: &serde_json::Value) -> String {
    let made_with = &recipe["made-with"];
    let text = |key: &str| made_with[key].as_str().unwrap_or_default();
    let codecs = made_with["codecs"].as_object().into_iter().flatten();
    let codecs = codecs.filter_map(|(_, how)| how.as_str()?.split_whitespace().next());
    let parts = [format!("{} {}", text("program"), text("version"))];
    parts.into_iter().chain(codecs.map(str::to_owned)).collect::<Vec<_>>().join(", ")
}

impl KnownRow {
    fn new(known: &Known) -> Self {
        let about = match known.about {
            "camera-signature" => "Camera signature",
            "clock" => "This server’s clock",
            "copies" => "Copies",
            "verified" => "Read again",
            "master" => "Master",
            "state" => "State",
            "fault" => "Storage",
            "receipt" => "What the receipt rests on",
            "footage" => "Recording",
            "viewing-copy" => "Viewing copy",
            "disclosure" => "Disclosure",
            "hold" => "Hold",
            "retention" => "Retention",
            _ => "Also",
        };
        let mark = match known.standing {
            "bad" => "red",
            "good" => "green",
            _ => "grey",
        };
        Self { about, says: known.says.clone(), mark }
    }

    fn standing(&self) -> &'static str {
        match self.mark {
            "red" => "Wrong",
            "green" => "Known",
            _ => "Open",
        }
    }
}

impl Receipt {
    fn new(detail: &ItemDetail) -> Self {
        let item = detail.summary.item;
        let says = if detail.summary.state == "quarantined" {
            "Signed by the force: the bytes came and are kept, in quarantine. It allows nobody to wipe the camera."
        } else {
            "Signed by the force: these bytes are held here, unaltered, from the time above on. Anybody can check it without \
             this system and without a network."
        };
        let address = |form| format!("/items/{item}/receipt?form={form}");
        Self { says, proof: address("proof"), text: address("text") }
    }
}

impl Fact {
    fn is_long(&self) -> bool {
        self.value.chars().count() > LONG_CHARS
    }
}

impl Made {
    fn new(item: ItemId, derivative: &Derivative) -> Self {
        let notes = derivative.recipe["notes"].as_array().into_iter().flatten();
        Self {
            what: kind(&derivative.kind),
            href: format!("/media/{item}/derivatives/{}", derivative.recipe_id),
            notes: notes.filter_map(|note| Some(note.as_str()?.to_owned())).collect(),
            made_by: made_with(&derivative.recipe),
            size: size(derivative.size_bytes),
            sha256: derivative.digests.sha256.to_string(),
        }
    }
}

impl EventRow {
    pub(super) fn new(event: &EventInWords, devices: &[DeviceName]) -> Self {
        let device = event.by.strip_prefix("device:").map(|device| source(device, devices));
        Self {
            at: event.at.into(),
            says: capitalised(&event.says),
            who: device.unwrap_or_else(|| event.who.clone()),
            entry: event.leaf_index.0,
            published: event.published,
        }
    }
}
