//! Making a bundle of a case, and downloading it.

use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use chain_of_custody::ids::{CaseId, EventId, ItemId};

use super::Pages;
use super::cases::FieldError;
use super::frame::{Frame, Section};
use super::items::title;
use super::visit::{Answer, Named, Visitor, page as rendered};
use crate::access::Malformed;
use crate::api::file_reply;
use crate::bundle::{Authorisation, MAX_TEXT_CHARS, Purpose};
use crate::service::{BundleOrder, CaseDetail, LinkedItem, OrderedItem, RequestKey, ServiceError};
use crate::words::capitalised;

#[derive(Template)]
#[template(path = "pages/bundle.html")]
struct BundlePage {
    frame: Frame,
    errors: Vec<FieldError>,
    reference: String,
    case_href: String,
    action: String,
    order: Order,
    purposes: Vec<PurposeChoice>,
    items: Vec<Pick>,
    max_chars: usize,
}

struct PurposeChoice {
    value: &'static str,
    words: &'static str,
    chosen: bool,
}

/// An item that may go into the bundle.
struct Pick {
    id: String,
    title: String,
    chosen: bool,
    reference: String,
    description: String,
    why_not: Option<&'static str>,
}

/// The form as it was sent. Lists of fields are pairs in the order of the page.
#[derive(Debug, Clone, Default)]
struct Order {
    form_token: String,
    key: String,
    purpose: String,
    recipient: String,
    authorised_by: String,
    reason: String,
    completeness: bool,
    items: Vec<Chosen>,
}

#[derive(Debug, Clone, Default)]
struct Chosen {
    item: String,
    reference: String,
    description: String,
}

/// `/cases/{case}/bundles`.
pub(super) async fn form(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(case): Named<CaseId>,
) -> Answer {
    let detail = pages.service.case(visitor.person(), case).await?;
    let order = Order { key: RequestKey::fresh().as_str().to_owned(), ..Order::default() };
    let page = BundlePage::new(visitor.frame(Section::Cases), &detail, order, true);
    rendered(StatusCode::OK, &page)
}

/// Makes it. Sent twice, it is one hand-over and one bundle.
pub(super) async fn make(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(case): Named<CaseId>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Answer {
    let sent = Order::read(fields);
    visitor.sent(&sent.form_token)?;
    let key = RequestKey::new(&sent.key).map_err(ServiceError::from)?;
    let errors = match sent.checked(case) {
        Ok(order) => match pages.service.create_bundle(visitor.person(), &order, &key).await {
            Ok(made) => {
                let to = format!("/cases/{case}?made={}", made.bundle);
                return Ok(Redirect::to(&to).into_response());
            }
            Err(ServiceError::NeedsAuthorisation(reasons)) => needs_authorisation(reasons),
            Err(ServiceError::Malformed(malformed)) => vec![not_accepted(&malformed)],
            Err(error) => return Err(error.into()),
        },
        Err(errors) => errors,
    };
    let detail = pages.service.case(visitor.person(), case).await?;
    // What was not made is not decided: sent again, corrected, it is another request.
    let sent = Order { key: RequestKey::fresh().as_str().to_owned(), ..sent };
    let page = BundlePage::new(visitor.frame(Section::Cases), &detail, sent, false);
    rendered(StatusCode::BAD_REQUEST, &BundlePage { errors, ..page })
}

/// `/bundles/{bundle}`: the file, for whoever made it.
pub(super) async fn download(
    State(pages): State<Pages>,
    visitor: Visitor,
    Named(bundle): Named<EventId>,
) -> Answer {
    let (view, file) = pages.service.bundle_file(visitor.person(), bundle).await?;
    Ok(file_reply(&view, file))
}

/// What is wrong with a text leads to its field; what is wrong with the whole leads nowhere.
fn not_accepted(malformed: &Malformed) -> FieldError {
    let FieldError { field, words } = FieldError::of(malformed);
    match field.as_str() {
        "recipient" | "authorised_by" | "reason" => FieldError { field, words },
        "bundle" => FieldError::new("", capitalised(&malformed.why)),
        _ => FieldError::new("items", words),
    }
}

fn needs_authorisation(reasons: Vec<String>) -> Vec<FieldError> {
    let say = |reason| {
        FieldError::new("authorised_by", format!("A named person has to authorise this: {reason}"))
    };
    reasons.into_iter().map(say).collect()
}

impl Order {
    /// A field of another version of the page is left out; each `item` begins a new one.
    fn read(fields: Vec<(String, String)>) -> Self {
        let mut order = Self::default();
        let mut described: Vec<(String, String, String)> = Vec::new();
        for (name, value) in fields {
            match name.as_str() {
                "form_token" => order.form_token = value,
                "key" => order.key = value,
                "purpose" => order.purpose = value,
                "recipient" => order.recipient = value,
                "authorised_by" => order.authorised_by = value,
                "reason" => order.reason = value,
                "completeness" => order.completeness = true,
                "item" => order.items.push(Chosen { item: value, ..Chosen::default() }),
                _ => {
                    if let Some((field, item)) = name.split_once('.') {
                        described.push((field.to_owned(), item.to_owned(), value));
                    }
                }
            }
        }
        for (field, item, value) in described {
            // What was typed beside an item that was not chosen is not sent.
            let chosen = order.items.iter_mut().find(|chosen| chosen.item == item);
            match (chosen, field.as_str()) {
                (Some(chosen), "reference") => chosen.reference = value,
                (Some(chosen), "description") => chosen.description = value,
                _ => {}
            }
        }
        order
    }

    fn checked(&self, case: CaseId) -> Result<BundleOrder, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, words: &str| errors.push(FieldError::new(field, words));
        let items: Option<Vec<OrderedItem>> = self.items.iter().map(Chosen::ordered).collect();
        if items.as_ref().is_none_or(Vec::is_empty) {
            wrong("items", "Choose at least one item");
        }
        let purpose = self.purpose.parse::<Purpose>().ok();
        if purpose.is_none() {
            wrong("purpose", "Say what the bundle is for");
        }
        if self.recipient.trim().is_empty() {
            wrong("recipient", "Say who gets the bundle");
        }
        let (by, reason) = (self.authorised_by.trim(), self.reason.trim());
        if by.is_empty() && !reason.is_empty() {
            wrong("authorised_by", "Name the person who authorises it");
        }
        if !by.is_empty() && reason.is_empty() {
            wrong("reason", "Say why they authorise it");
        }
        let texts = [
            ("recipient", &self.recipient),
            ("authorised_by", &self.authorised_by),
            ("reason", &self.reason),
        ];
        for (field, text) in texts {
            if text.chars().count() > MAX_TEXT_CHARS {
                wrong(field, &format!("This is longer than {MAX_TEXT_CHARS} characters"));
            }
        }
        let (Some(items), Some(purpose), true) = (items, purpose, errors.is_empty()) else {
            return Err(errors);
        };
        let authorised = (!by.is_empty())
            .then(|| Authorisation { by: by.to_owned(), reason: reason.to_owned() });
        let recipient = self.recipient.trim().to_owned();
        let completeness = self.completeness;
        Ok(BundleOrder {
            case: Some(case),
            items,
            purpose,
            recipient,
            authorised,
            completeness,
            programs: false,
        })
    }
}

impl Chosen {
    fn ordered(&self) -> Option<OrderedItem> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Some(OrderedItem {
            item: self.item.parse::<ItemId>().ok()?,
            reference: given(&self.reference),
            description: given(&self.description),
        })
    }
}

impl BundlePage {
    fn new(frame: Frame, detail: &CaseDetail, order: Order, first: bool) -> Self {
        let case = detail.summary.case;
        let purposes = Purpose::ALL.map(|purpose| PurposeChoice {
            value: purpose.as_str(),
            words: purpose.in_words(),
            chosen: purpose.as_str() == order.purpose,
        });
        let items = detail.items.iter().map(|linked| Pick::new(linked, &order, first)).collect();
        Self {
            frame,
            errors: Vec::new(),
            reference: detail.summary.reference.clone(),
            case_href: format!("/cases/{case}"),
            action: format!("/cases/{case}/bundles"),
            purposes: purposes.into(),
            items,
            order,
            max_chars: MAX_TEXT_CHARS,
        }
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == field).map(|error| error.words.as_str())
    }

    /// Opened where it is needed or used already.
    fn authorisation_is_open(&self) -> bool {
        !self.order.authorised_by.is_empty()
            || self.error_of("authorised_by").is_some()
            || self.error_of("reason").is_some()
            || self.items.iter().any(|item| item.why_not.is_some())
    }
}

impl Pick {
    /// At first everything is chosen that may leave without more.
    fn new(linked: &LinkedItem, order: &Order, first: bool) -> Self {
        let id = linked.summary.item.to_string();
        let chosen = order.items.iter().find(|chosen| chosen.item == id);
        let why_not = why_not(linked);
        Self {
            title: title(&linked.summary),
            chosen: chosen.is_some() || (first && why_not.is_none()),
            reference: chosen.map_or(&linked.exhibit_reference, |c| &c.reference).clone(),
            description: chosen.map(|c| c.description.clone()).unwrap_or_default(),
            why_not,
            id,
        }
    }
}

fn why_not(linked: &LinkedItem) -> Option<&'static str> {
    let summary = &linked.summary;
    if summary.restricted {
        Some("Restricted: leaves only when a named person authorises it.")
    } else if summary.state == "quarantined" {
        Some("In quarantine: leaves only when a named person authorises it.")
    } else if summary.disclosure_status == "unused-sensitive" {
        Some("Sensitive unused material: leaves only when a named person authorises it.")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[(&str, &str)]) -> Vec<(String, String)> {
        text.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const ITEM: &str = "0193a7c2-0000-7000-8000-000000000001";

    #[test]
    fn what_stands_beside_an_item_goes_with_it_alone() {
        let reference = format!("reference.{ITEM}");
        let order = Order::read(pairs(&[
            ("purpose", "cps"),
            (&reference, "JSM/1"),
            ("reference.other", "X"),
            ("item", ITEM),
        ]));
        assert_eq!(order.items.len(), 1);
        assert_eq!(order.items[0].reference, "JSM/1");
    }

    #[test]
    fn each_missing_field_is_said_once() {
        let case = ITEM.parse().unwrap();
        let order = Order::read(pairs(&[("authorised_by", "DI Jones")]));
        let errors = order.checked(case).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["items", "purpose", "recipient", "reason"]);
        let whole =
            [("item", ITEM), ("purpose", "cps"), ("recipient", " CPS "), ("completeness", "on")];
        let order = Order::read(pairs(&whole)).checked(case).unwrap();
        assert_eq!((order.recipient.as_str(), order.completeness), ("CPS", true));
        assert_eq!((order.items.len(), order.authorised), (1, None));
    }
}
