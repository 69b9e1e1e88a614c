//! Signing in with a one-time link, and out. Looking at a link burns nothing: a person presses a button.

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::{Extensions, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Pages;
use super::frame::{Frame, Section};
use super::problem::Problem;
use super::visit::{Answer, Visitor, page as rendered};
use crate::access::{Role, SignInError};
use crate::door;

#[derive(Template)]
#[template(path = "pages/sign-in.html")]
struct SignInPage<'a> {
    frame: Frame,
    name: &'a str,
    number: &'a str,
    role: &'a str,
    action: String,
}

#[derive(Template)]
#[template(path = "pages/signed-out.html")]
struct SignedOutPage {
    frame: Frame,
}

#[derive(Debug, Deserialize)]
pub(super) struct SignOut {
    #[serde(default)]
    form_token: String,
}

/// The page with the button.
pub(super) async fn page(
    State(pages): State<Pages>,
    extensions: Extensions,
    Path(token): Path<String>,
) -> Answer {
    let person = pages.service.access().look_at_link(&token, &door::address(&extensions)).await?;
    let role = match person.role {
        Role::Operator => "an operator: you see devices, states and counts, and no footage",
        Role::Investigator => "an investigator",
    };
    rendered(
        StatusCode::OK,
        &SignInPage {
            frame: Frame::new(&pages.force, None, Section::None),
            name: &person.name,
            number: &person.number,
            role,
            action: format!("/sign-in/{token}"),
        },
    )
}

/// The button.
pub(super) async fn redeem(
    State(pages): State<Pages>,
    extensions: Extensions,
    visitor: Option<Visitor>,
    Path(token): Path<String>,
) -> Answer {
    let signed_in = match pages.service.access().redeem(&token, &door::address(&extensions)).await {
        Ok(signed_in) => signed_in,
        // The button was pressed twice: the first time it worked.
        Err(SignInError::Used) if visitor.is_some() => return Ok(Redirect::to("/").into_response()),
        Err(error) => return Err(error.into()),
    };
    let cookie = door::set_cookie(signed_in.reveal(), pages.tls);
    Ok(with_cookie(Redirect::to("/").into_response(), cookie))
}

/// Ends the session, here and on the server.
pub(super) async fn sign_out(
    State(pages): State<Pages>,
    visitor: Option<Visitor>,
    Form(form): Form<SignOut>,
) -> Answer {
    if let Some(visitor) = visitor {
        visitor.sent(&form.form_token)?;
        let ended = pages.service.access().sign_out(&visitor.session).await;
        ended.map_err(|error| Problem::from_access(&error))?;
    }
    let frame = Frame::new(&pages.force, None, Section::None);
    let response = rendered(StatusCode::OK, &SignedOutPage { frame })?;
    Ok(with_cookie(response, door::clear_cookie(pages.tls)))
}

fn with_cookie(mut response: Response, cookie: HeaderValue) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
