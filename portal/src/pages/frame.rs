//! What stands around every page: product, force, menu, who is signed in.

use super::assets;
use crate::access::{Person, Role, Session};

/// The page's frame.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) force: String,
    pub(super) signed_in: Option<SignedIn>,
    section: Section,
}

/// Which part of the menu a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Items,
    Cases,
    System,
    People,
    Devices,
    None,
}

/// Who is signed in, as the page says it.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) name: String,
    pub(super) number: String,
    pub(super) role: Role,
    pub(super) form_token: String,
}

/// A line of the menu.
pub(super) struct MenuLink {
    pub(super) href: &'static str,
    pub(super) words: &'static str,
    pub(super) active: bool,
}

impl Frame {
    pub(super) fn new(force: &str, session: Option<&Session>, section: Section) -> Self {
        let signed_in = session.map(|session| {
            let Person { name, number, role, .. } = session.person.clone();
            SignedIn { name, number, role, form_token: session.form_token().to_owned() }
        });
        Self { force: force.to_owned(), signed_in, section }
    }

    pub(super) fn styles(&self) -> String {
        assets::styles_path()
    }

    pub(super) fn icon(&self) -> String {
        assets::icon_path()
    }

    /// What a form of this page carries.
    pub(super) fn form_token(&self) -> &str {
        self.signed_in.as_ref().map_or("", |signed_in| &signed_in.form_token)
    }

    pub(super) fn sees_footage(&self) -> bool {
        self.signed_in.as_ref().is_some_and(|signed_in| signed_in.role == Role::Investigator)
    }

    pub(super) fn links(&self) -> Vec<MenuLink> {
        let link = |href, words, section| MenuLink { href, words, active: self.section == section };
        if self.sees_footage() {
            vec![link("/", "Items", Section::Items), link("/cases", "Cases", Section::Cases)]
        } else {
            vec![
                link("/", "This system", Section::System),
                link("/people", "People", Section::People),
                link("/devices", "Devices", Section::Devices),
            ]
        }
    }
}
