//! `exhibit hold`, `exhibit retention`: what must not be disposed of, and until when things are kept.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::answers::{list, text};
use crate::control::{HoldOf, KeepingRequest};
use crate::terminal::line;

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// Hold an item, or a case with everything that is linked to it, now or later.
    #[command(
        after_help = "In a bucket a hold is a legal hold on every version that makes up an original.\n\nExamples:\n  \
            exhibit hold set --data /var/lib/exhibit --case 01AB1234526 --reason 'appeal lodged'\n  \
            exhibit hold set --data /var/lib/exhibit --item 0193a7c2-… --reason 'complaint 77'"
    )]
    Set(Order),
    /// End a hold. Other holds on the same items stay.
    #[command(
        after_help = "Example:\n  exhibit hold release --data /var/lib/exhibit --case 01AB1234526 --reason 'appeal dismissed'"
    )]
    Release(Order),
    /// Every hold that stands, in the order in which they were set.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct Order {
    #[command(flatten)]
    of: Of,
    /// Why; recorded.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// The item's id.
    #[arg(long, value_name = "ID")]
    item: Option<String>,
    /// The case's id, or its URN.
    #[arg(long, value_name = "CASE")]
    case: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Decide until when items are kept; the newest decision counts.
    #[command(
        after_help = "In a bucket the originals are locked until then, and a link to a case locks them no longer than that.\n\nExample:\n  \
            exhibit retention review --data /var/lib/exhibit --item 0193a7c2-… --until 2031-05-03 --reason 'MoPI group 2'"
    )]
    Review {
        /// An item; repeat for more.
        #[arg(long = "item", required = true, value_name = "ID")]
        items: Vec<String>,
        /// The last day on which they are kept (UTC).
        #[arg(long, value_name = "YYYY-MM-DD")]
        until: String,
        /// Why; recorded.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

impl Hold {
    pub(super) fn request(&self) -> KeepingRequest {
        match self {
            Self::Set(order) => {
                KeepingRequest::HoldSet { of: order.of.named(), reason: order.reason.clone() }
            }
            Self::Release(order) => {
                KeepingRequest::HoldRelease { of: order.of.named(), reason: order.reason.clone() }
            }
            Self::List => KeepingRequest::HoldList,
        }
    }

    pub(super) fn print(&self, answer: &Value) {
        match self {
            Self::Set(_) => line(&format!(
                "{} is held from entry {} on",
                text(answer, "subject"),
                answer["leaf_index"]
            )),
            Self::Release(_) => line(&format!("the hold on {} ended", text(answer, "subject"))),
            Self::List => {
                for hold in list(answer, "holds") {
                    let (subject, since) = (text(hold, "subject"), text(hold, "set_at"));
                    line(&format!("{subject}  {since}  {}", text(hold, "reason")));
                }
            }
        }
    }
}

impl Of {
    fn named(&self) -> HoldOf {
        match (&self.item, &self.case) {
            (Some(item), _) => HoldOf::Item(item.clone()),
            (None, case) => HoldOf::Case(case.clone().unwrap_or_default()),
        }
    }
}

impl Retention {
    pub(super) fn request(&self) -> KeepingRequest {
        let Self::Review { items, until, reason } = self;
        KeepingRequest::Review {
            items: items.clone(),
            until: until.clone(),
            reason: reason.clone(),
        }
    }

    pub(super) fn print(&self, answer: &Value) {
        let Self::Review { items, .. } = self;
        for item in items {
            line(&format!("item {item} is to be kept until {}", text(answer, "until")));
        }
    }
}
