//! What is recorded, said in plain words: events of a continuity, and what is known of an item and what is not.

use chain_of_custody::event::{access, field};
use chain_of_custody::time::{Timestamp, end_of_day_ms};
use storage::records::{EventRecord, ItemRecord, UserRecord};

use super::views::Made;
use super::{EventInWords, Known};
use crate::kinds::FRONT;
use crate::words::last_day;

/// One event. `users` gives names to numbers: whoever had the number at that time.
pub(super) fn event(event: &EventRecord, users: &[UserRecord], published: bool) -> EventInWords {
    let by = event.opened(field::BY).unwrap_or_default();
    EventInWords {
        leaf_index: event.leaf_index,
        kind: event.kind.clone(),
        at: event.at,
        by: by.to_owned(),
        who: who(by, event.at, users),
        says: says(event, users),
        published,
    }
}

fn who(by: &str, at: Timestamp, users: &[UserRecord]) -> String {
    match by.split_once(':') {
        Some(("user", number)) => {
            let had = |user: &&UserRecord| {
                user.number == number
                    && user.added_at <= at
                    && user.removed_at.is_none_or(|removed| at <= removed)
            };
            match users.iter().find(had) {
                Some(user) => format!("{} ({number})", user.name),
                None => format!("user {number}"),
            }
        }
        Some(("os-user", name)) => format!("{name}, at the console"),
        Some(("device", id)) => format!("device {id}"),
        _ if by.is_empty() || by == "-" => "not recorded, or erased".to_owned(),
        _ => by.to_owned(),
    }
}

fn says(event: &EventRecord, users: &[UserRecord]) -> String {
    let opened = |name: &str| event.opened(name).unwrap_or_default();
    let with = |words: &str, name: &str| match opened(name) {
        "" => words.trim_end_matches(':').to_owned(),
        text => format!("{words} {text}"),
    };
    match event.kind.as_str() {
        "item.received" if opened(field::STATE) == "quarantined" => {
            format!("received, and put into quarantine: {}", opened(field::REASON_CODE))
        }
        "item.received" => "received, hashed and stored".to_owned(),
        "item.duplicate" => "the same recording was sent again; nothing was added".to_owned(),
        "item.restricted" if opened(field::RESTRICTED) == "false" => {
            with("no longer restricted:", field::REASON)
        }
        "item.restricted" => with("restricted, named viewers only:", field::REASON),
        "item.derived" => format!("{} made", kind_in_words(opened(field::KIND))),
        "item.derivation-failed" => format!(
            "{} could not be made: {}",
            kind_in_words(opened(field::KIND)),
            opened(field::REASON_CODE)
        ),
        "item.verified" => "read again in full, and found as received".to_owned(),
        "storage.fault" => with("a fault in storage was found:", field::REASON_CODE),
        "item.linked" => match opened(field::EXHIBIT_REFERENCE) {
            "" => "linked to a case".to_owned(),
            reference => format!("linked to a case as {reference}"),
        },
        "item.unlinked" => with("unlinked from a case:", field::REASON),
        "hold.set" => with("held, so that it is not disposed of:", field::REASON),
        "hold.released" => with("a hold on it ended:", field::REASON),
        "retention.reviewed" => {
            let until = end_of_day_ms(opened(field::KEEP_UNTIL));
            let until = until.and_then(|ms| Timestamp::from_unix_millis(ms).ok()).map(last_day);
            let kept =
                format!("to be kept until {}:", until.as_deref().unwrap_or("a day not said"));
            with(&kept, field::REASON)
        }
        "item.viewed" => "viewed".to_owned(),
        "item.downloaded" => "original downloaded".to_owned(),
        "list.viewed" if opened(field::COUNT) == "1" => "list of 1 item viewed".to_owned(),
        "list.viewed" => format!("list of {} items viewed", opened(field::COUNT)),
        "case.opened" => "case opened".to_owned(),
        "bundle.exported" => {
            let recipient = with("handed over in a bundle to", field::RECIPIENT);
            format!("{recipient} for {}", opened(field::PURPOSE))
        }
        "master.defined" => "defined as the Master".to_owned(),
        "access.changed" => access_says(event, users),
        "access.refused" => "an attempt to reach it was refused".to_owned(),
        other => other.replace(['.', '-'], " "),
    }
}

fn access_says(event: &EventRecord, users: &[UserRecord]) -> String {
    let id = event.opened(field::USER).unwrap_or_default();
    let user = users.iter().find(|user| user.user.to_string() == id);
    let name = user
        .map_or_else(|| "somebody".to_owned(), |user| format!("{} ({})", user.name, user.number));
    let reason =
        event.opened(field::REASON).map(|reason| format!(": {reason}")).unwrap_or_default();
    match event.opened(field::REASON_CODE).unwrap_or_default() {
        access::MEMBER_ADDED => format!("{name} works on this case from now on"),
        access::MEMBER_REMOVED => format!("{name} works on this case no more{reason}"),
        access::VIEWER_ALLOWED => format!("{name} may see this item when it is restricted{reason}"),
        access::VIEWER_WITHDRAWN => {
            format!("{name} may see this item no more when it is restricted{reason}")
        }
        _ => "access changed".to_owned(),
    }
}

fn kind_in_words(kind: &str) -> &str {
    match kind {
        "proxy" => "viewing copy",
        FRONT => "front that browsers play the original behind",
        "poster" => "poster picture",
        "probe" => "technical description",
        "thumbnails" => "sheet of pictures",
        "waveform" => "curve of the sound",
        "frames" => "list of pictures",
        "scenes" => "list of scenes",
        "proxy-small" => "smaller viewing copy",
        "location" => "list of places",
        other => other,
    }
}

/// What is known of an item, and what is not.
pub(super) fn known(
    record: &ItemRecord,
    camera_signature: &str,
    in_recording: Option<Known>,
    clock: &str,
    copies: u64,
    made: &Made,
) -> Vec<Known> {
    let mut known = vec![
        state(record),
        Known {
            about: "master",
            standing: "open",
            says: "Received; the Master is not defined.".to_owned(),
        },
        signature(camera_signature, in_recording),
        match clock {
            "unchecked" => Known {
                about: "clock",
                standing: "open",
                says: "This system's clock was not checked against another when it arrived."
                    .to_owned(),
            },
            other => Known {
                about: "clock",
                standing: "good",
                says: format!("This system's clock was {other} when it arrived."),
            },
        },
        copies_in_words(copies),
        verified(record),
    ];
    if !made.missing.is_empty() {
        let says = format!("Part of the recording is missing: {}.", made.missing.join("; "));
        known.push(Known { about: "footage", standing: "bad", says });
    }
    if !made.proxy {
        let says = "There is no viewing copy: it cannot be played here, or is not made yet.";
        known.push(Known { about: "viewing-copy", standing: "open", says: says.to_owned() });
    }
    if record.disclosure_status == "unassessed" {
        let says = "Nobody has assessed it for disclosure.";
        known.push(Known { about: "disclosure", standing: "open", says: says.to_owned() });
    }
    if !record.fault.is_empty() {
        let says = format!("A fault in storage stands: {}.", record.fault);
        known.push(Known { about: "fault", standing: "bad", says });
    }
    known
}

fn state(record: &ItemRecord) -> Known {
    let (standing, says) = match record.state.as_str() {
        "stored" => ("good", "Its bytes are held exactly as they were received.".to_owned()),
        "quarantined" => (
            "bad",
            format!(
                "In quarantine: its bytes are held, but a claim about them failed ({}).",
                record.state_reason
            ),
        ),
        other => ("open", format!("Its state is {other}.")),
    };
    Known { about: "state", standing, says }
}

/// A signature that the camera put into the recording itself, given the `media` of what was made: found by the newest probe, and
/// checked by nobody.
pub(super) fn in_recording<'m>(media: impl Iterator<Item = &'m str>) -> Option<Known> {
    let media = media.filter(|media| !media.is_empty()).last()?;
    let media: serde_json::Value = serde_json::from_str(media).ok()?;
    let ways = media["signatures"].as_array()?.iter().filter_map(|found| {
        let way = match found["kind"].as_str()? {
            "axis-signed-video" => "Axis signed video",
            "onvif-media-signing" => "ONVIF Media Signing",
            _ => return None,
        };
        let units = found["units"].as_u64().filter(|units| *units > 0)?;
        let often = if units == 1 { "once".to_owned() } else { format!("{units} times") };
        Some(format!("{way}, {often} in stream {}", found["stream"]))
    });
    let ways = ways.collect::<Vec<_>>().join("; ");
    if ways.is_empty() {
        return None;
    }
    let says = format!(
        "The camera itself signed this recording ({ways}). That was not checked here: it was only seen to be there. Whoever checks it \
         needs the original, because a viewing copy cannot carry it."
    );
    Some(Known { about: "camera-signature", standing: "open", says })
}

/// Of what came with the recording, where that was checked; else of what is in it.
fn signature(camera_signature: &str, in_recording: Option<Known>) -> Known {
    let was_checked = matches!(camera_signature, "verified" | "failed");
    if let Some(known) = in_recording.filter(|_| !was_checked) {
        return known;
    }
    let (standing, says) = match camera_signature {
        "verified" => ("good", "The camera's own signature was verified."),
        "failed" => ("bad", "The camera's own signature did not verify."),
        "absent" => {
            ("open", "Camera signature absent: common, and no sign that anything was altered.")
        }
        _ => ("open", "The camera's own signature cannot be checked here."),
    };
    Known { about: "camera-signature", standing, says: says.to_owned() }
}

fn copies_in_words(copies: u64) -> Known {
    let (standing, says) = match copies {
        1 => ("open", "One copy is held.".to_owned()),
        n => ("good", format!("{n} copies are held, in places that do not fail together.")),
    };
    Known { about: "copies", standing, says }
}

fn verified(record: &ItemRecord) -> Known {
    let (standing, says) = match record.verified_at {
        Some(at) => ("good", format!("Read again in full and found as received on {at}.")),
        None => ("open", "Not read again in full since it arrived.".to_owned()),
    };
    Known { about: "verified", standing, says }
}
