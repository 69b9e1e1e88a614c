//! Who asks: the session of a request's cookie, and what a handler needs to answer a person.

use std::str::FromStr;

use askama::Template;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::Pages;
use super::frame::{Frame, Section};
use super::problem::{self, Problem};
use crate::access::{Person, Session};
use crate::door;

/// What a handler answers with.
pub(super) type Answer = Result<Response, Problem>;

/// Somebody who is signed in, and the page they look at.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) session: Session,
    force: String,
}

impl Visitor {
    pub(super) fn person(&self) -> &Person {
        &self.session.person
    }

    pub(super) fn frame(&self, section: Section) -> Frame {
        Frame::new(&self.force, Some(&self.session), section)
    }

    /// A form of another session, or of none, changes nothing.
    pub(super) fn sent(&self, form_token: &str) -> Result<(), Problem> {
        self.session.accepts_form(form_token).then_some(()).ok_or_else(Problem::form_out_of_date)
    }
}

/// The item or case that an address names; one that names none is an attempt like any other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<T>(pub(super) T);

impl<T: FromStr + Send> FromRequestParts<Pages> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, Problem> {
        let visitor = Visitor::from_request_parts(parts, pages).await?;
        let path = Path::<String>::from_request_parts(parts, pages).await;
        let text = path.map(|Path(text)| text).unwrap_or_default();
        named(pages, &visitor, &text).await.map(Self)
    }
}

/// The same, from a form.
pub(super) async fn named<T: FromStr + Send>(
    pages: &Pages,
    visitor: &Visitor,
    text: &str,
) -> Result<T, Problem> {
    let id: Option<T> = text.parse().ok();
    match id {
        Some(id) => Ok(id),
        None => Ok(pages.service.no_such_thing(visitor.person()).await?),
    }
}

/// A rendered page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Answer {
    match template.render() {
        Ok(html) => Ok((status, Html(html)).into_response()),
        Err(error) => {
            tracing::error!(%error, "rendering a page");
            Err(Problem::internal())
        }
    }
}

/// Finds the session, counts the request, and turns whatever went wrong into a page in words.
pub(super) async fn recognise(
    State(pages): State<Pages>,
    mut request: Request,
    next: Next,
) -> Response {
    let session = match find(&pages, request.headers()).await {
        Ok(session) => session,
        Err(problem) => return problem.render(&Frame::new(&pages.force, None, Section::None)),
    };
    let visitor = session.clone().map(|session| Visitor { session, force: pages.force.clone() });
    request.extensions_mut().insert(visitor);
    let response = next.run(request).await;
    let frame = Frame::new(&pages.force, session.as_ref(), Section::None);
    problem::in_words(response, &frame)
}

async fn find(pages: &Pages, headers: &HeaderMap) -> Result<Option<Session>, Problem> {
    let Some(token) = door::cookie_token(headers) else { return Ok(None) };
    let access = pages.service.access();
    let session = access.session(token).await.map_err(|error| Problem::from_access(&error))?;
    if let Some(session) = &session {
        access.count_request(&session.person).map_err(Problem::too_many)?;
    }
    Ok(session)
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let visitor = parts.extensions.get::<Option<Self>>().cloned().flatten();
        visitor.ok_or_else(Problem::not_signed_in)
    }
}

impl<S: Sync> axum::extract::OptionalFromRequestParts<S> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, std::convert::Infallible> {
        Ok(parts.extensions.get::<Option<Self>>().cloned().flatten())
    }
}
