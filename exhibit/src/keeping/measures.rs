//! What is measured, in one table: `status` prints it, `/metrics` exports it, the alert rules are made from it.
//!
//! A measure has one name everywhere, and its alarm is a bound written once.

use serde::Serialize;
use storage::records::{BackupRow, DeviceSeen, Records, RecordsError, ScrubRow, Standing};

use super::look::{Look, Server};

pub(crate) const MINUTE: f64 = 60.0;
pub(crate) const HOUR: f64 = 60.0 * MINUTE;
pub(crate) const DAY: f64 = 24.0 * HOUR;
/// Growth is measured over so many days.
const GROWTH_DAYS: i64 = 14;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// A disk that lasts longer is not worth a number.
const DAYS_LEFT_MAX: f64 = 3650.0;
/// A dock that sent nothing for so long is one that was not seen.
const NOT_SEEN_DAYS: i64 = 3;

/// When a value is an alarm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Alarm {
    /// A number to know, never an alarm.
    None,
    Above {
        warning: f64,
        critical: f64,
    },
    Below {
        warning: f64,
        critical: f64,
    },
}

/// How bad it is. The order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    Ok,
    Warning,
    Critical,
}

/// One measure.
#[derive(Debug)]
pub(crate) struct Measure {
    /// As Prometheus knows it.
    pub(crate) name: &'static str,
    /// As people read it.
    pub(crate) title: &'static str,
    pub(crate) help: &'static str,
    pub(crate) alarm: Alarm,
    /// What to do when it alarms.
    pub(crate) next: &'static str,
    value: fn(&Facts<'_>) -> Option<f64>,
    words: fn(&Facts<'_>, f64) -> String,
}

/// A measure's value at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// None where it does not apply or cannot be known.
    pub(crate) value: Option<f64>,
    pub(crate) level: Level,
    pub(crate) words: String,
    pub(crate) next: Option<&'static str>,
}

/// Everything that the measures are computed from.
pub(crate) struct Facts<'a> {
    look: &'a Look,
    counts: Standing,
    devices: Vec<DeviceSeen>,
    backups: Vec<BackupRow>,
    scrub: ScrubRow,
    known: bool,
}

const NEVER: f64 = f64::INFINITY;
const INFO: Alarm = Alarm::None;
const ANY: Alarm = Alarm::Above { warning: 0.0, critical: NEVER };
const ANY_IS_CRITICAL: Alarm = Alarm::Above { warning: 0.0, critical: 0.0 };

/// Every measure, in the order in which `status` prints them.
pub(crate) const MEASURES: &[Measure] = &[
    Measure {
        name: "exhibit_up",
        title: "server",
        help: "1 while the server runs and answers.",
        alarm: Alarm::Below { warning: 1.0, critical: 1.0 },
        next: "systemctl start exhibit; journalctl -u exhibit says why it ended; exhibit doctor looks at the folder",
        value: |f| Some(f64::from(u8::from(f.look.live().is_some()))),
        words: |f, _| match &f.look.server {
            Server::Up(live) => format!("running, version {}", live.version),
            Server::Down => "not running".into(),
            Server::Silent(failure) => format!("does not answer: {failure}"),
        },
    },
    Measure {
        name: "exhibit_head_unconfirmed",
        title: "restored, not confirmed",
        help: "1 after a restore, until the ledger's head is confirmed.",
        alarm: ANY_IS_CRITICAL,
        next: "compare with receipts or log witnesses outside, then: exhibit ledger recover (docs/operating.md)",
        value: |f| Some(f64::from(u8::from(f.look.restored.is_some()))),
        words: |f, _| match &f.look.restored {
            Some(restored) => {
                format!("restored at {} entries; nothing is signed", restored.entries)
            }
            None => "no".into(),
        },
    },
    Measure {
        name: "exhibit_ledger_stopped",
        title: "ledger stopped",
        help: "1 when the ledger can write no more in this process.",
        alarm: ANY_IS_CRITICAL,
        next: "restart the server: recovery runs first, nothing acknowledged is lost",
        value: |f| Some(f64::from(u8::from(f.look.live()?.stopped.is_some()))),
        words: |f, _| f.look.live().and_then(|l| l.stopped.clone()).unwrap_or_else(|| "no".into()),
    },
    Measure {
        name: "exhibit_unpublished_seconds",
        title: "entries unpublished for",
        help: "Age of entries that are not yet under a published checkpoint.",
        alarm: Alarm::Above { warning: MINUTE, critical: 10.0 * MINUTE },
        next: "exhibit doctor; a restart finishes what a crash left unfinished",
        value: |f| {
            let waiting = f.known && f.counts.unpublished_entries > 0;
            Some(if waiting { f.seconds_since(f.counts.last_entry_ms)? } else { 0.0 })
        },
        words: |f, seconds| match f.counts.unpublished_entries {
            0 => "none".into(),
            n => format!("{n} entries for {}", span(seconds)),
        },
    },
    Measure {
        name: "exhibit_last_checkpoint_seconds",
        title: "last checkpoint",
        help: "Time since the newest entry under the newest checkpoint.",
        alarm: Alarm::Above { warning: 7.0 * DAY, critical: NEVER },
        next: "a week without one act is unusual: do the docks reach this server?",
        value: |f| f.seconds_since(f.counts.last_entry_ms),
        words: |f, seconds| format!("{} ago, {} entries", span(seconds), f.counts.entries),
    },
    Measure {
        name: "exhibit_last_cosignature_seconds",
        title: "last cosignature",
        help: "Time since a log witness cosigned a checkpoint; absent while no log witness is configured.",
        alarm: Alarm::Above { warning: DAY, critical: 3.0 * DAY },
        next: "ask the log witness's operator; receipts say meanwhile that they rest on the force's key alone",
        value: |f| {
            let live = f.look.live().filter(|live| live.log_witnesses > 0)?;
            match live.cosigned_unix_s {
                Some(at) => Some((f.look.now_ms as f64 / 1000.0 - at as f64).max(0.0)),
                None => f.seconds_since(f.counts.first_item_ms),
            }
        },
        words: |f, seconds| match f.look.live().and_then(|l| l.cosigned_unix_s) {
            Some(_) => format!("{} ago", span(seconds)),
            None => "never".into(),
        },
    },
    Measure {
        name: "exhibit_disk_days_left",
        title: "disk lasts",
        help: "Days until the disk is down to the space that is kept free, at the growth of the last two weeks.",
        alarm: Alarm::Below { warning: 30.0, critical: 7.0 },
        next: "add disk space; footage already acknowledged is safe, new footage will be refused (507)",
        value: |f| f.days_left(),
        words: |f, days| {
            let free = crate::terminal::size(f.look.free_bytes().unwrap_or(0));
            if days >= DAYS_LEFT_MAX {
                format!("ten years or more ({free} free)")
            } else {
                format!("{days:.0} days ({free} free)")
            }
        },
    },
    Measure {
        name: "exhibit_disk_free_bytes",
        title: "disk free",
        help: "Free bytes on the disk of the data folder.",
        alarm: INFO,
        next: "",
        value: |f| f.look.free_bytes().map(|b| b as f64),
        words: |_, bytes| crate::terminal::size(bytes as u64),
    },
    Measure {
        name: "exhibit_oldest_unfinished_upload_seconds",
        title: "oldest unfinished upload",
        help: "Age of the oldest upload that is not finished; 0 when there is none.",
        alarm: Alarm::Above { warning: DAY, critical: 5.0 * DAY },
        next: "see to its dock: an untouched upload expires (limits.upload_days), and the camera's copy must stay",
        value: |f| {
            let oldest = f.counts.oldest_open_upload_ms;
            f.known.then(|| f.seconds_since(oldest).unwrap_or(0.0))
        },
        words: |f, seconds| match f.counts.open_uploads {
            0 => "none".into(),
            n => format!("{} ({n} unfinished)", span(seconds)),
        },
    },
    Measure {
        name: "exhibit_docks_not_seen",
        title: "docks not seen",
        help: "Devices that may send and of which nothing came for three days.",
        alarm: ANY,
        next: "exhibit device list; see to the dock, or revoke what is not used any more",
        value: |f| f.known.then(|| f.not_seen().len() as f64),
        words: |f, _| {
            let missing: Vec<_> = f.not_seen().iter().take(3).map(|d| d.device.clone()).collect();
            let total = f.devices.len();
            if missing.is_empty() {
                format!("none of {total}")
            } else {
                format!("{} of {total}: {}", f.not_seen().len(), missing.join(", "))
            }
        },
    },
    Measure {
        name: "exhibit_last_verified_backup_seconds",
        title: "last verified backup",
        help: "Time since a backup was verified; since the first item was received while there is none.",
        alarm: Alarm::Above { warning: 26.0 * HOUR, critical: 7.0 * DAY },
        next: "exhibit backup --to DIR; deploy/ has a timer for it",
        value: |f| {
            let newest = f.backups.first().map(|b| b.verified_at_ms).or(f.counts.first_item_ms);
            f.known.then(|| f.seconds_since(newest).unwrap_or(0.0))
        },
        words: |f, seconds| match f.backups.first() {
            Some(backup) => {
                format!("{} ago, {} entries, {}", span(seconds), backup.entries, backup.folder)
            }
            None => "never".into(),
        },
    },
    Measure {
        name: "exhibit_backup_faults",
        title: "objects not in the backup",
        help: "Objects that the newest backup lacks because they are damaged here.",
        alarm: ANY_IS_CRITICAL,
        next: "exhibit scrub lists them",
        value: |f| f.known.then(|| f.backups.first().map_or(0, |b| b.faults) as f64),
        words: |_, n| format!("{n}"),
    },
    Measure {
        name: "exhibit_last_scrub_seconds",
        title: "last scrub",
        help: "Time since everything held was read again; since the first item was received while it never was.",
        alarm: Alarm::Above { warning: 35.0 * DAY, critical: 90.0 * DAY },
        next: "exhibit scrub; deploy/ has a timer for it",
        value: |f| {
            let newest = f.scrub.ended_at_ms.or(f.counts.first_item_ms);
            f.known.then(|| f.seconds_since(newest).unwrap_or(0.0))
        },
        words: |f, seconds| match f.scrub.ended_at_ms {
            Some(_) => format!("{} ago, {} objects", span(seconds), f.scrub.objects),
            None => "never".into(),
        },
    },
    Measure {
        name: "exhibit_storage_faults",
        title: "storage faults",
        help: "What the last scrub, or an upload of the same bytes, found missing or damaged and nobody has mended.",
        alarm: ANY_IS_CRITICAL,
        next: "exhibit scrub lists them; bring the files back from a backup (docs/operating.md)",
        value: |f| f.known.then(|| f.storage_faults() as f64),
        words: |_, n| if n == 0.0 { "none".into() } else { format!("{n}") },
    },
    Measure {
        name: "exhibit_keys_encrypted",
        title: "keys",
        help: "1 when the keys lie encrypted.",
        alarm: Alarm::Below { warning: 1.0, critical: 0.0 },
        next: "set keys.passphrase_file or keys.passphrase_credential before the first start (docs/keys.md)",
        value: |f| keys_encrypted(f.look).map(|yes| f64::from(u8::from(yes))),
        words: |_, yes| {
            if yes == 1.0 { "encrypted".into() } else { "in plain text on this disk".into() }
        },
    },
    Measure {
        name: "exhibit_failed_jobs",
        title: "failed jobs",
        help: "Derivation jobs that this machine failed and that wait to be tried again.",
        alarm: ANY,
        next: "journalctl -u exhibit says why; exhibit doctor checks the worker and the disk",
        value: |f| f.known.then_some(f.counts.troubled_jobs as f64),
        words: |f, n| {
            format!(
                "{n} ({} waiting, {} items cannot be converted)",
                f.counts.waiting_jobs, f.counts.derivation_failures
            )
        },
    },
    Measure {
        name: "exhibit_quarantined_items",
        title: "in quarantine",
        help: "Items in quarantine, which wait for a person's decision.",
        alarm: INFO,
        next: "",
        value: |f| f.known.then_some(f.counts.quarantined_items as f64),
        words: |_, n| format!("{n}"),
    },
    Measure {
        name: "exhibit_items",
        title: "items",
        help: "Items held.",
        alarm: INFO,
        next: "",
        value: |f| f.known.then_some(f.counts.items as f64),
        words: |_, n| format!("{n}"),
    },
    Measure {
        name: "exhibit_resident_bytes",
        title: "memory",
        help: "Memory of the server's process.",
        alarm: INFO,
        next: "",
        value: |f| f.look.live().map(|l| l.resident_bytes as f64),
        words: |_, bytes| crate::terminal::size(bytes as u64),
    },
];

/// Measures everything now.
///
/// # Errors
/// When the database answers with an error.
pub(crate) async fn measure(look: &Look) -> Result<Vec<Measured>, RecordsError> {
    let facts = match look.records() {
        Some(records) => Facts::gather(look, records).await?,
        None => Facts::unknown(look),
    };
    Ok(MEASURES.iter().map(|measure| measure.at(&facts)).collect())
}

impl Measure {
    fn at(&self, facts: &Facts<'_>) -> Measured {
        let value = (self.value)(facts);
        let level = value.map_or(Level::Ok, |value| self.alarm.level(value));
        let words =
            value.map_or_else(|| "not known".to_owned(), |value| (self.words)(facts, value));
        let next = (level > Level::Ok).then_some(self.next);
        Measured { name: self.name, title: self.title, value, level, words, next }
    }
}

impl Alarm {
    fn level(self, value: f64) -> Level {
        let (warning, critical) = match self {
            Self::None => return Level::Ok,
            Self::Above { warning, critical } => (value > warning, value > critical),
            Self::Below { warning, critical } => (value < warning, value < critical),
        };
        match (warning, critical) {
            (_, true) => Level::Critical,
            (true, false) => Level::Warning,
            (false, false) => Level::Ok,
        }
    }
}

impl<'a> Facts<'a> {
    async fn gather(look: &'a Look, records: &Records) -> Result<Self, RecordsError> {
        let since = look.now_ms - GROWTH_DAYS * DAY_MS;
        let since = chain_of_custody::time::Timestamp::from_unix_millis(since.max(0))
            .expect("two weeks ago is a year that RFC 3339 can write");
        Ok(Self {
            look,
            counts: records.standing(since).await?,
            devices: records.devices_seen().await?,
            backups: records.backups().await?,
            scrub: records.scrub().await?,
            known: true,
        })
    }

    fn unknown(look: &'a Look) -> Self {
        let (devices, backups) = (Vec::new(), Vec::new());
        Self {
            look,
            counts: Standing::default(),
            devices,
            backups,
            scrub: ScrubRow::default(),
            known: false,
        }
    }

    fn seconds_since(&self, at_ms: Option<i64>) -> Option<f64> {
        Some(((self.look.now_ms - at_ms?) as f64 / 1000.0).max(0.0))
    }

    fn days_left(&self) -> Option<f64> {
        let kept = self.look.config.limits.free_bytes;
        let room = self.look.free_bytes()?.saturating_sub(kept) as f64;
        let first = self.counts.first_item_ms.unwrap_or(self.look.now_ms);
        let days = ((self.look.now_ms - first) / DAY_MS + 1).clamp(1, GROWTH_DAYS) as f64;
        let per_day = self.counts.recent_bytes as f64 / days;
        Some(if per_day < 1.0 { DAYS_LEFT_MAX } else { (room / per_day).min(DAYS_LEFT_MAX) })
    }

    fn not_seen(&self) -> Vec<&DeviceSeen> {
        let before = self.look.now_ms - NOT_SEEN_DAYS * DAY_MS;
        let silent = |d: &&DeviceSeen| d.seen_at_ms.unwrap_or(d.enrolled_at_ms) < before;
        self.devices.iter().filter(silent).collect()
    }

    fn storage_faults(&self) -> u64 {
        // Those of originals stand at their items, until they are read whole again.
        let others = self.scrub.ended_findings.iter();
        let others = others.filter(|f| f.item.is_none() || f.recipe_id.is_some()).count() as u64;
        self.counts.faulty_items + others
    }
}

/// Whether the key files are encrypted; none while there are none.
fn keys_encrypted(look: &Look) -> Option<bool> {
    let first = std::fs::read(look.data.join("keys/log.key")).ok()?;
    Some(first.starts_with(b"age-encryption.org/"))
}

/// A time as people say it.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 2.0 * MINUTE => format!("{s:.0} s"),
        s if s < 2.0 * HOUR => format!("{:.0} min", s / MINUTE),
        s if s < 2.0 * DAY => format!("{:.0} h", s / HOUR),
        s => format!("{:.0} days", s / DAY),
    }
}
