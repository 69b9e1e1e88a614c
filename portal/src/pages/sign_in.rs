//! Signing in with a one-time link, and out. Looking at a link burns nothing: a person presses a button.

use std::net::SocketAddr;

use askama::Template;
use axum::extract::{ConnectInfo, Form, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::frame::{Frame, Section};
use super::problem::Problem;
use super::visit::{Answer, COOKIE, Visitor, page as rendered};
use super::Pages;
use crate::access::{Role, SESSION_LIFE, SignInError};

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
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
) -> Answer {
    let person = pages.service.access().look_at_link(&token, &peer.ip().to_string()).await?;
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
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    visitor: Option<Visitor>,
    Path(token): Path<String>,
) -> Answer {
    let signed_in = match pages.service.access().redeem(&token, &peer.ip().to_string()).await {
        Ok(signed_in) => signed_in,
        // The button was pressed twice: the first time it worked.
        Err(SignInError::Used) if visitor.is_some() => return Ok(Redirect::to("/").into_response()),
        Err(error) => return Err(error.into()),
    };
    let cookie = cookie(signed_in.reveal(), SESSION_LIFE.as_secs(), pages.tls);
    with_cookie(Redirect::to("/").into_response(), &cookie)
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
    with_cookie(response, &cookie("", 0, pages.tls))
}

fn cookie(token: &str, seconds: u64, tls: bool) -> String {
    let secure = if tls { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

fn with_cookie(mut response: Response, cookie: &str) -> Answer {
    let value = HeaderValue::from_str(cookie).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(response)
}
