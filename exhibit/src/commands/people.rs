//! `exhibit user`, `exhibit case`, `exhibit item`: people, cases, and who may see what.

use clap::Subcommand;
use portal::access::Role;
use serde_json::Value;

use super::answers::{list, text};
use crate::control::PeopleRequest;
use crate::terminal::line;

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Give somebody an account; prints a link that signs them in once.
    #[command(
        after_help = "Example:\n  exhibit user add --data /var/lib/exhibit --name 'Jane Smith' --number 1234 --role investigator"
    )]
    Add {
        /// Their name.
        #[arg(long)]
        name: String,
        /// Their collar or staff number.
        #[arg(long)]
        number: String,
        /// operator (runs the system, sees no footage) or investigator.
        #[arg(long)]
        role: Role,
    },
    /// Give somebody another link; one they have not used stops working.
    #[command(after_help = "Example:\n  exhibit user link --data /var/lib/exhibit 1234")]
    Link {
        /// Their number.
        #[arg(value_name = "NUMBER")]
        number: String,
    },
    /// Everybody who has or had an account.
    List,
    /// End somebody's account, at once. What they did stays recorded.
    Remove {
        /// Their number.
        #[arg(value_name = "NUMBER")]
        number: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Case {
    /// Open a case for the people who work on it.
    #[command(
        after_help = "Example:\n  exhibit case new --data /var/lib/exhibit --reference 01AB1234526 --title 'Harlow, 3 May' --member 1234"
    )]
    New {
        /// The URN.
        #[arg(long, value_name = "URN")]
        reference: String,
        /// What people call it.
        #[arg(long)]
        title: String,
        /// An investigator's number; repeat for more.
        #[arg(long = "member", required = true, value_name = "NUMBER")]
        members: Vec<String>,
    },
    /// Link items to a case, or let more people work on it.
    #[command(
        after_help = "Example:\n  exhibit case add --data /var/lib/exhibit 01AB1234526 --item 0193a7c2-… --reference JSM/1"
    )]
    Add {
        /// The case's id, or its URN.
        #[arg(value_name = "CASE")]
        case: String,
        /// An item to link; repeat for more.
        #[arg(long = "item", value_name = "ID")]
        items: Vec<String>,
        /// The items' exhibit references, in the order of --item.
        #[arg(long = "reference", value_name = "REF")]
        references: Vec<String>,
        /// An investigator's number; repeat for more.
        #[arg(long = "member", value_name = "NUMBER")]
        members: Vec<String>,
    },
    /// Every case, newest first.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Item {
    /// Name somebody who may see a restricted item, and say why; recorded with the item.
    #[command(
        after_help = "Example:\n  exhibit item allow --data /var/lib/exhibit 0193a7c2-… --user 1234 --reason 'assesses it'"
    )]
    Allow {
        /// The item's id.
        #[arg(value_name = "ITEM")]
        item: String,
        /// Their number.
        #[arg(long = "user", value_name = "NUMBER")]
        number: String,
        /// Why; recorded.
        #[arg(long)]
        reason: String,
        /// They may see it no more.
        #[arg(long)]
        withdraw: bool,
    },
}

impl User {
    pub(super) fn request(&self) -> PeopleRequest {
        match self {
            Self::Add { name, number, role } => {
                PeopleRequest::UserAdd { name: name.clone(), number: number.clone(), role: *role }
            }
            Self::Link { number } => PeopleRequest::UserLink { number: number.clone() },
            Self::List => PeopleRequest::UserList,
            Self::Remove { number } => PeopleRequest::UserRemove { number: number.clone() },
        }
    }

    pub(super) fn print(&self, answer: &Value) {
        match self {
            Self::Add { .. } | Self::Link { .. } => {
                let (name, number) = (text(answer, "name"), text(answer, "number"));
                line(&format!("{name} ({number}), {}", text(answer, "role")));
                match answer["url"].as_str() {
                    Some(url) => line(&format!("link     {url}")),
                    None => line(&format!("link     https://YOUR-SERVER{}", text(answer, "link"))),
                }
                line(&format!("until    {}", text(answer, "expires_at")));
                line("It signs them in once, and is not shown again. Hand it to nobody else.");
            }
            Self::List => {
                for user in list(answer, "users") {
                    let (number, role) = (text(user, "number"), text(user, "role"));
                    let (state, name) = (text(user, "state"), text(user, "name"));
                    line(&format!("{number:<12}  {role:<12}  {state:<8}  {name}"));
                }
            }
            Self::Remove { number } => line(&format!("{number} cannot sign in any more")),
        }
    }
}

impl Case {
    pub(super) fn request(&self) -> PeopleRequest {
        match self {
            Self::New { reference, title, members } => PeopleRequest::CaseNew {
                reference: reference.clone(),
                title: title.clone(),
                members: members.clone(),
            },
            Self::Add { case, items, references, members } => PeopleRequest::CaseAdd {
                case: case.clone(),
                items: items.clone(),
                references: references.clone(),
                members: members.clone(),
            },
            Self::List => PeopleRequest::CaseList,
        }
    }

    pub(super) fn print(&self, answer: &Value) {
        match self {
            Self::New { .. } => line(&format!("case {}", text(answer, "case"))),
            Self::Add { items, members, .. } => line(&format!(
                "case {}: {} items linked, {} people added",
                text(answer, "case"),
                items.len(),
                members.len()
            )),
            Self::List => {
                for case in list(answer, "cases") {
                    let (id, reference) = (text(case, "case"), text(case, "reference"));
                    line(&format!("{id}  {reference:<16}  {}", text(case, "title")));
                }
            }
        }
    }
}

impl Item {
    pub(super) fn request(&self) -> PeopleRequest {
        let Self::Allow { item, number, reason, withdraw } = self;
        PeopleRequest::ItemAllow {
            item: item.clone(),
            number: number.clone(),
            reason: reason.clone(),
            withdraw: *withdraw,
        }
    }

    pub(super) fn print(&self, answer: &Value) {
        let Self::Allow { item, number, .. } = self;
        let may = if answer["may_see"] == true { "may see" } else { "may see no more" };
        line(&format!("{number} {may} item {item}"));
    }
}
