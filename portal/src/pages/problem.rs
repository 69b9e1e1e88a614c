//! What went wrong, in people's words, and what to do next. No page says whether something exists that is not theirs.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::Pages;
use super::frame::Frame;
use super::visit::{Answer, Visitor};
use crate::access::{AccessError, SignInError, TooMany};
use crate::service::ServiceError;

const ASK_OPERATOR: &str =
    "Tell whoever runs this system at your force, with the time at which it happened.";

/// An answer that is not what was asked for.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    title: &'static str,
    what: Vec<String>,
    next: Vec<String>,
    /// With a link to the start page.
    start_page: bool,
    retry_after_s: Option<u64>,
}

#[derive(Template)]
#[template(path = "pages/problem.html")]
struct Page<'a> {
    frame: &'a Frame,
    title: &'a str,
    what: &'a [String],
    next: &'a [String],
    start_page: bool,
}

/// For addresses that no route takes. Somebody who is signed in has tried something, like on any route.
pub(super) async fn no_such_page(State(pages): State<Pages>, visitor: Option<Visitor>) -> Answer {
    match visitor {
        Some(visitor) => Ok(pages.service.no_such_thing(visitor.person()).await?),
        None => Err(Problem::no_page()),
    }
}

/// Gives an error that has no words yet its page: what handlers answered, and what the framework refused by itself.
pub(super) fn in_words(mut response: Response, frame: &Frame) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return problem.render(frame);
    }
    let html = response.headers().get(header::CONTENT_TYPE).is_some_and(is_html);
    let status = response.status();
    if html || status.as_u16() < 400 || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return response;
    }
    Problem::from_status(status).render(frame)
}

fn is_html(kind: &HeaderValue) -> bool {
    kind.as_bytes().starts_with(b"text/html")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, what: &[&str], next: &[&str]) -> Self {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            status,
            title,
            what: own(what),
            next: own(next),
            start_page: false,
            retry_after_s: None,
        }
    }

    fn with_start_page(self) -> Self {
        Self { start_page: true, ..self }
    }

    /// The page itself.
    pub(super) fn render(&self, frame: &Frame) -> Response {
        let Self { status, title, what, next, start_page, .. } = self;
        let page = Page { frame, title, what, next, start_page: *start_page };
        let html = page.render().unwrap_or_else(|error| {
            tracing::error!(%error, "rendering an error");
            String::new()
        });
        let mut response = (*status, Html(html)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    pub(super) fn not_found() -> Self {
        let what = [
            "There is nothing of yours at this address. It may be mistyped, it may never have been there, \
             or it belongs to a case that you do not work on: this page looks the same for all of them.",
            "That you tried is recorded.",
        ];
        let next = [
            "Check the address, if you typed it.",
            "If you should see it, ask a member of its case to add you.",
        ];
        Self::new(StatusCode::NOT_FOUND, "Page not found", &what, &next).with_start_page()
    }

    fn no_page() -> Self {
        let what = ["There is no page at this address."];
        let next =
            ["Check the address, if you typed it.", "Open your sign-in link, if you have one."];
        Self::new(StatusCode::NOT_FOUND, "Page not found", &what, &next)
    }

    pub(super) fn not_signed_in() -> Self {
        let what = [
            "This page is for people who are signed in. You stay signed in for up to 12 hours, or until you \
             have done nothing for an hour.",
        ];
        let next = [
            "Open your sign-in link, if you have one that was not used yet.",
            "Else ask an operator of this system for a new one.",
        ];
        Self::new(StatusCode::UNAUTHORIZED, "You are not signed in", &what, &next)
    }

    pub(super) fn form_out_of_date() -> Self {
        let what = [
            "The form you sent was made before you signed in this time, or by another site. Nothing was changed.",
        ];
        let next = ["Go back, load the page again, and send the form once more."];
        Self::new(StatusCode::FORBIDDEN, "This form is out of date", &what, &next).with_start_page()
    }

    pub(super) fn internal() -> Self {
        let what =
            ["Something failed here. It is not your doing, and nothing that is held is lost."];
        let next = ["Try again in a minute.", ASK_OPERATOR];
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", &what, &next)
            .with_start_page()
    }

    pub(super) fn too_many(error: TooMany) -> Self {
        let seconds = error.retry_after.as_secs();
        let what = ["More was asked for within a minute than one person may."];
        let next = [format!("Wait {seconds} seconds, then load the page again.")];
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", &what, &[]);
        Self { next: next.into(), retry_after_s: Some(seconds), ..problem }
    }

    fn unavailable(title: &'static str, what: &str, wait_s: u64) -> Self {
        let next = ["Try again in a minute. Sending a form twice does it once.", ASK_OPERATOR];
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, title, &[what], &next);
        Self { retry_after_s: Some(wait_s), ..problem }
    }

    pub(super) fn from_access(error: &AccessError) -> Self {
        tracing::error!(%error, "looking up a session");
        Self::internal()
    }

    fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Self { status, ..Self::no_page() }
            }
            StatusCode::UNAUTHORIZED => Self::not_signed_in(),
            _ if status.is_client_error() => {
                let what = [
                    "What was sent cannot be read as this page's form or address. Nothing was changed.",
                ];
                let next = ["Go back, load the page again, and fill it in once more."];
                Self::new(status, "This cannot be read", &what, &next).with_start_page()
            }
            _ => Self { status, ..Self::internal() },
        }
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound => Self::not_found(),
            ServiceError::NotForRole => {
                let what = [
                    "Operators run the system and see no footage; investigators work with footage and do not run the \
                     system. Nothing was shown or changed, and the attempt is recorded.",
                ];
                let next = [
                    "If this is your work, ask an operator for an account of the other kind: one account is never both.",
                ];
                Self::new(StatusCode::FORBIDDEN, "Not for your kind of account", &what, &next)
                    .with_start_page()
            }
            ServiceError::Malformed(malformed) => {
                let what = [malformed.to_string()];
                let next = ["Go back and correct it. Nothing was changed."];
                let problem = Self::new(StatusCode::BAD_REQUEST, "This cannot be read", &[], &next);
                Self { what: what.into(), ..problem }
            }
            ServiceError::Conflict { why, .. } => {
                let next = [
                    "Go back, load the page again, and look at what stands now. Nothing was changed.",
                ];
                let problem =
                    Self::new(StatusCode::CONFLICT, "This does not fit what stands", &[], &next);
                Self { what: vec![why], ..problem }
            }
            ServiceError::NeedsAuthorisation(reasons) => {
                let next = ["Go back and name the person who authorises it, and why."];
                let problem = Self::new(
                    StatusCode::FORBIDDEN,
                    "A named person has to authorise this",
                    &[],
                    &next,
                );
                Self { what: reasons, ..problem }
            }
            ServiceError::TooMany(error) => Self::too_many(error),
            ServiceError::Busy { retry_after, .. } => {
                let what = "As much as possible is being done already. Nothing was changed.";
                Self::unavailable("Too busy at the moment", what, retry_after.as_secs())
            }
            ServiceError::CannotRecord(error) => {
                tracing::error!(%error, "nothing can be recorded, so nothing is shown");
                let what = "Whatever is looked at has to be recorded first, and that is not possible at the moment. \
                     So nothing is shown.";
                Self::unavailable("This cannot be shown now", what, 60)
            }
            ServiceError::Damaged => {
                let what = "What is stored does not equal what was received, so it is not shown. Other copies of it may \
                     be whole.";
                let problem = Self::unavailable("This cannot be read as it was received", what, 60);
                Self { next: vec![ASK_OPERATOR.to_owned()], ..problem }
            }
            ServiceError::StoreAway => {
                let what =
                    "Where footage is kept cannot be reached at the moment. Nothing is lost.";
                Self::unavailable("This cannot be shown now", what, 60)
            }
            ServiceError::Full => {
                let what = "There is no room left to make this. Nothing was changed.";
                Self::unavailable("No room left", what, 60)
            }
            ServiceError::Internal(error) => {
                tracing::error!(%error, "a page");
                Self::internal()
            }
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let ask = "Ask an operator of this system for a new link.";
        match error {
            SignInError::Unknown => {
                let what = [
                    "Nobody has this link. It may be mistyped or cut short, or a newer one was made for you.",
                ];
                Self::new(
                    StatusCode::NOT_FOUND,
                    "This sign-in link is not known",
                    &what,
                    &["Check that you opened the whole link, to its last letter.", ask],
                )
            }
            SignInError::Expired => {
                let what = ["A sign-in link can be used for 24 hours. This one is older."];
                Self::new(StatusCode::GONE, "This sign-in link has expired", &what, &[ask])
            }
            SignInError::Used => {
                let what = ["A sign-in link works once, and this one was used already."];
                let next = [
                    "If you used it yourself a moment ago, you are signed in: open the start page.",
                    "If that was not you, tell an operator of this system now.",
                    ask,
                ];
                Self::new(StatusCode::GONE, "This sign-in link was used already", &what, &next)
                    .with_start_page()
            }
            SignInError::TooMany(error) => Self::too_many(error),
            SignInError::Ledger(error) => ServiceError::CannotRecord(error).into(),
            SignInError::Access(error) => Self::from_access(&error),
        }
    }
}
