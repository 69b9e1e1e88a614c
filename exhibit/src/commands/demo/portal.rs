//! The end of the demo on a terminal: the portal stays open for whoever is watching.

use super::programs::broken;
use super::{Story, Up, text};
use crate::control::Failure;

/// Who may look around: name, number, role.
const PEOPLE: [(&str, &str, &str); 2] =
    [("Jane Smith", "1234", "investigator"), ("Omar Khan", "9001", "operator")];

/// Gives each of them a one-time link, and waits for Ctrl-C.
pub(super) async fn stay(story: &mut Story, up: &Up) -> Result<(), Failure> {
    story.say(
        "portal",
        &format!("http://{} is open; each link signs somebody in once:", up.address),
    );
    for (name, number, role) in PEOPLE {
        let added = ["user", "add", "--name", name, "--number", number, "--role", role];
        let added = up.programs.expect(&added).await?;
        let link = format!("http://{}{}", up.address, text(&added, "link"));
        story.say("", &format!("{name}, {role}: {link}"));
    }
    let data = up.programs.data.display();
    story.say("", &format!("for another link: exhibit user link 1234 --data {data}"));
    story.say("", "Ctrl-C ends it");
    tokio::signal::ctrl_c().await.map_err(|e| broken("waiting for Ctrl-C", &e))
}
