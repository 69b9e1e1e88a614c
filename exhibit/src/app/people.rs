//! People, cases and named viewers, from what somebody typed at the console.

use chain_of_custody::ids::{CaseId, ItemId};
use portal::access::{AccessError, Link, Person};
use portal::service::{NewCase, ServiceError};
use serde_json::{Value, json};

use super::App;
use super::open::failed;
use crate::control::{Actor, Failure, PeopleRequest};

impl App {
    pub(super) async fn people(
        &self,
        request: PeopleRequest,
        actor: &Actor,
    ) -> Result<Value, Failure> {
        let (access, by) = (self.parts.service.access(), actor.as_str());
        match request {
            PeopleRequest::UserAdd { name, number, role } => {
                let added = access.add_user(&name, &number, role, by).await.map_err(of_access)?;
                Ok(self.link_answer(&added))
            }
            PeopleRequest::UserLink { number } => {
                let given = access.link_for(&number, by).await.map_err(of_access)?;
                Ok(self.link_answer(&given))
            }
            PeopleRequest::UserRemove { number } => {
                let person = access.remove_user(&number, by).await.map_err(of_access)?;
                Ok(
                    json!({"user": person.user.to_string(), "number": person.number, "state": "removed"}),
                )
            }
            PeopleRequest::UserList => self.user_list(actor).await,
            PeopleRequest::ItemAllow { item, number, reason, withdraw } => {
                let item = parse::<ItemId>(&item)?;
                let console = self.parts.service.console(by);
                let allowed = console.allow_viewer(item, &number, &reason, !withdraw).await;
                allowed.map_err(of_service)?;
                Ok(json!({"item": item.to_string(), "number": number, "may_see": !withdraw}))
            }
            PeopleRequest::CaseNew { reference, title, members } => {
                let new = NewCase { reference, title };
                let case = self.parts.service.console(by).open_case(&new, &members).await;
                let case = case.map_err(of_service)?;
                Ok(
                    json!({"case": case.case.to_string(), "reference": case.reference, "title": case.title}),
                )
            }
            PeopleRequest::CaseAdd { case, items, references, members } => {
                self.case_add(&case, &items, &references, &members, actor).await
            }
            PeopleRequest::CaseList => {
                let cases = self.parts.service.console(by).cases().await.map_err(of_service)?;
                Ok(json!({"cases": cases}))
            }
        }
    }

    async fn user_list(&self, actor: &Actor) -> Result<Value, Failure> {
        let users = self.parts.service.console(actor.as_str()).users().await;
        let with_state = |user: storage::records::UserRecord| {
            let mut value = serde_json::to_value(&user).expect("a record is plain data");
            value["state"] = json!(if user.is_active() { "active" } else { "removed" });
            value
        };
        let users = users.map_err(of_service)?.into_iter().map(with_state);
        Ok(json!({"users": users.collect::<Vec<_>>()}))
    }

    async fn case_add(
        &self,
        case: &str,
        items: &[String],
        references: &[String],
        members: &[String],
        actor: &Actor,
    ) -> Result<Value, Failure> {
        if references.len() > items.len() {
            return Err(Failure::new("usage", "more references than items were given"));
        }
        let console = self.parts.service.console(actor.as_str());
        let case = self.case_named(case).await?;
        let parsed: Vec<ItemId> = items.iter().map(|id| parse(id)).collect::<Result<_, _>>()?;
        for (at, item) in parsed.iter().enumerate() {
            let reference = references.get(at).map(String::as_str);
            console.link_item(case, *item, reference).await.map_err(of_service)?;
        }
        for number in members {
            console.add_member(case, number).await.map_err(of_service)?;
        }
        Ok(json!({"case": case.to_string(), "items": items, "members": members}))
    }

    /// A case by its id, or by its reference where that is one case's alone.
    pub(super) async fn case_named(&self, text: &str) -> Result<CaseId, Failure> {
        let records = &self.parts.records;
        let found = match text.parse::<CaseId>() {
            Ok(case) => records.case(case).await.map(|case| case.into_iter().collect()),
            Err(_) => records.cases_by_reference(text).await,
        };
        match &found.map_err(|e| failed("records", &e))?[..] {
            [one] => Ok(one.case),
            [] => Err(Failure::new("not-found", format!("no case {text}"))
                .advice("exhibit case list shows what there is")),
            _ => Err(Failure::new("ambiguous", format!("several cases have the reference {text}"))
                .advice("name one of them by its id")),
        }
    }

    fn link_answer(&self, (person, link): &(Person, Link)) -> Value {
        let server = &self.parts.config.server;
        // What a proxy calls this server is not known here.
        let url =
            (!server.behind_proxy).then(|| format!("http://{}{}", server.listen, link.path()));
        json!({
            "user": person.user.to_string(),
            "name": person.name,
            "number": person.number,
            "role": person.role.as_str(),
            "link": link.path(),
            "url": url,
            "expires_at": link.expires_at.to_string(),
        })
    }
}

pub(super) fn parse<T: std::str::FromStr<Err: std::error::Error>>(
    text: &str,
) -> Result<T, Failure> {
    text.parse().map_err(|e| failed("usage", &e))
}

fn of_access(error: AccessError) -> Failure {
    let failure = failed("user", &error);
    match error {
        AccessError::NumberTaken(_) => failure.advice(
            "give them another link with: exhibit user link NUMBER; or remove that account first",
        ),
        AccessError::NoSuchUser(_) => failure.advice("exhibit user list shows who has an account"),
        _ => failure,
    }
}

pub(super) fn of_service(error: ServiceError) -> Failure {
    match error {
        ServiceError::NotFound => Failure::new("not-found", "there is no such item or case")
            .advice("exhibit search and exhibit case list show what there is"),
        ServiceError::Conflict { code: "held" | "not-held", why } => {
            Failure::new("hold", why).advice("exhibit hold list shows what stands")
        }
        ServiceError::Internal(why) => Failure::new("internal", why),
        other => failed("portal", &other),
    }
}
