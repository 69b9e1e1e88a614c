//! The database, the ledger's files, the objects, and what status remembers.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use chain_of_custody::ids::TreeSize;
use chain_of_custody::tile::{TileEdge, TilePath, new_bundles, new_tiles};
use storage::backup::{BackupFolder, MANIFEST};
use storage::objects::{ObjectStore, StoreError};
use storage::records::Records;

use super::Fault;
use crate::keeping::Look;

/// Missing files listed by name; the scrub lists all.
const MAX_NAMED: usize = 5;
/// A device enrolled so long ago should have been seen.
const NEVER_SEEN_MS: i64 = 3 * 24 * 3600 * 1000;
/// An upload's folder younger than this may be newer than our look at the database.
const UPLOAD_AGE_S: u64 = 3600;
const RUN_SCRUB: &str =
    "exhibit scrub lists all of it exactly; bring the files back from a backup (docs/operating.md)";

pub(super) async fn database(look: &Look) -> Vec<Fault> {
    let records = match &look.records {
        Some(Ok(records)) => records,
        Some(Err(error)) => {
            let what = format!("the database cannot be read: {error}");
            return vec![Fault::critical(
                "database-unreadable",
                what,
                "exhibit restore, or a rebuild from the object store (docs/operating.md)",
            )];
        }
        None if look.published.is_some() => {
            let fix = "keep the folder as it is; restore a backup, or rebuild the records from the object store (docs/operating.md)";
            return vec![Fault::critical(
                "database-missing",
                "the ledger is here and its database is not",
                fix,
            )];
        }
        None => return Vec::new(),
    };
    let mut faults = Vec::new();
    match records.migrations().await {
        Ok(has) => {
            let known = Records::known_migrations();
            if has.iter().any(|number| known.iter().all(|(k, _)| k != number)) {
                let what = "a newer version of Exhibit has been here: this one will not start";
                faults.push(Fault::critical(
                    "database-newer",
                    what,
                    "install the newer version again",
                ));
            }
        }
        Err(error) => return vec![unreadable(&error.to_string())],
    }
    if look.config.storage.database.is_empty() {
        match records.file_faults().await {
            Ok(found) if found.is_empty() => {}
            Ok(found) => faults.push(unreadable(&found.join("; "))),
            Err(error) => faults.push(unreadable(&error.to_string())),
        }
    }
    faults
}

fn unreadable(why: &str) -> Fault {
    let fix = "stop the server; restore a backup, or rebuild the records from the object store (docs/operating.md)";
    Fault::critical("database-damaged", format!("the database is damaged: {why}"), fix)
}

/// Database and object store say the same about how far the ledger is.
pub(super) async fn head(look: &Look) -> Vec<Fault> {
    let Some(records) = look.records() else { return Vec::new() };
    let (Ok(size), Ok(signed)) = (records.size().await, records.newest_checkpoint().await) else {
        return Vec::new();
    };
    let signed = signed.map(|c| c.unverified().clone());
    match (&look.published, signed) {
        (None, Some(signed)) => {
            let what =
                format!("the checkpoint of {} entries is not in the object store", signed.size);
            let fix = "start the server: it publishes the one that is signed; if it refuses, restore objects/ledger from a backup";
            vec![Fault::critical("checkpoint-missing", what, fix)]
        }
        (Some(shown), _) if shown.unverified().size > size => {
            let what = format!(
                "{} entries were published and the database has {size}: it is older than what was shown",
                shown.unverified().size
            );
            let fix = "do not go on with this database: rebuild the records from the object store (docs/operating.md)";
            vec![Fault::critical("database-behind", what, fix)]
        }
        (Some(shown), Some(signed)) => {
            let shown = shown.unverified();
            // A running server may publish between two looks.
            let behind = shown.size < signed.size && look.live().is_none();
            let other = shown.size == signed.size && *shown != signed;
            if behind {
                let what =
                    format!("{} entries are signed and {} published", signed.size, shown.size);
                vec![Fault::warning(
                    "checkpoint-unpublished",
                    what,
                    "start the server: recovery publishes it",
                )]
            } else if other {
                let what = format!("two checkpoints of {} entries differ", signed.size);
                vec![Fault::critical(
                    "two-histories",
                    what,
                    "stop the server, keep everything, and call whoever audits the ledger",
                )]
            } else {
                Vec::new()
            }
        }
        _ => Vec::new(),
    }
}

/// Every tile and bundle under the published checkpoint is there, and the hashes give its root.
pub(super) async fn tiles(look: &Look) -> Vec<Fault> {
    let Some(shown) = look.published.as_ref().map(|c| c.unverified().clone()) else {
        return Vec::new();
    };
    let Ok(store) = look.objects.clone() else { return Vec::new() };
    let folder = format!("ledger/{}", shown.origin);
    let there = match Tiles::list(&store, &folder).await {
        Ok(there) => there,
        Err(error) => return vec![Fault::critical("objects-unreadable", error, RUN_SCRUB)],
    };
    let paths =
        new_tiles(TreeSize(0), shown.size).into_iter().chain(new_bundles(TreeSize(0), shown.size));
    let missing: Vec<String> =
        paths.map(|path| path.to_string()).filter(|path| !there.stands(path)).collect();
    if let Some(first) = missing.first() {
        let what =
            format!("{} files of the ledger are missing, the first is {first}", missing.len());
        return vec![Fault::critical("tile-missing", what, RUN_SCRUB)];
    }
    // The edge of the tree; the scrub and the audit recompute all of it.
    let runtime = tokio::runtime::Handle::current();
    let edge = tokio::task::spawn_blocking(move || {
        let read = |path: &TilePath| runtime.block_on(read_tile(&store, &folder, path));
        TileEdge::restore(shown.size, read).is_ok_and(|edge| edge.root() == shown.root)
    });
    if edge.await.unwrap_or(false) {
        return Vec::new();
    }
    let what = "the stored hash tiles do not give the published root";
    vec![Fault::critical(
        "tile-damaged",
        what,
        "exhibit ledger audit names the tile; bring it back from a backup",
    )]
}

/// Which files of a ledger are there.
struct Tiles {
    files: HashSet<String>,
    /// Full names of which some width is there.
    partial: HashSet<String>,
}

impl Tiles {
    async fn list(store: &ObjectStore, folder: &str) -> Result<Self, String> {
        let found = store.scan(&format!("{folder}/tile")).await.map_err(|e| e.to_string())?;
        let below = format!("{folder}/");
        let files = found.iter().filter_map(|found| found.name.as_str().strip_prefix(&below));
        let files: HashSet<String> = files.map(str::to_owned).collect();
        let partial = files.iter().filter_map(|file| Some(file.split_once(".p/")?.0.to_owned()));
        Ok(Self { partial: partial.collect(), files })
    }

    /// A partial tile may have given way to a wider one.
    fn stands(&self, path: &str) -> bool {
        let partial = path.split_once(".p/");
        self.files.contains(path)
            || partial
                .is_some_and(|(full, _)| self.files.contains(full) || self.partial.contains(full))
    }
}

async fn read_tile(
    store: &ObjectStore,
    folder: &str,
    path: &TilePath,
) -> Result<Vec<u8>, StoreError> {
    let name = format!("{folder}/{path}");
    let full = name.split(".p/").next().unwrap_or(&name);
    let bytes = match store.get(&name).await {
        Err(StoreError::NotFound { .. }) => store.get(full).await?,
        other => other?,
    };
    Ok(bytes.into_iter().take(usize::from(path.width()) * 32).collect())
}

/// All objects that the records name are there with the length they should have, and no others.
pub(super) async fn objects(look: &Look) -> Vec<Fault> {
    let Some(records) = look.records() else { return Vec::new() };
    let Ok(store) = &look.objects else { return Vec::new() };
    let mut faults = Vec::new();
    match storage::scrub::absent(store, records).await {
        Ok(findings) => {
            for finding in findings.iter().take(MAX_NAMED) {
                let code = match finding.code.as_str() {
                    "missing" => "object-missing",
                    "key-missing" => "object-key-missing",
                    _ => "object-damaged",
                };
                faults.push(Fault::critical(code, finding.message.clone(), RUN_SCRUB));
            }
        }
        Err(error) => {
            faults.push(Fault::critical("objects-unreadable", error.to_string(), RUN_SCRUB))
        }
    }
    if let Ok(orphans) = storage::scrub::orphans(store, records).await
        && let Some(first) = orphans.first()
        && look.live().is_none()
    {
        let what = format!(
            "{} files in the store are named by no entry, the first is {first}",
            orphans.len()
        );
        let fix = "start the server: an upload that a crash cut off is taken up; what stays belongs to nothing and can go";
        faults.push(Fault::warning("orphan", what, fix));
    }
    faults
}

/// What uploads have left that no row knows.
pub(super) async fn uploads(look: &Look) -> Vec<Fault> {
    let (Some(records), Ok(store)) = (look.records(), &look.objects) else { return Vec::new() };
    let mut unknown = Vec::new();
    for upload in store.uploads().await.unwrap_or_default() {
        let known = records.upload_is_known(upload).await.unwrap_or(true);
        // In a bucket nothing tells its age: only when no server is at work here.
        let folder = look.data.join("objects/uploads").join(upload.to_string());
        let modified = fs::metadata(&folder).and_then(|found| found.modified()).ok();
        let age = modified.and_then(|at| at.elapsed().ok());
        let old = age.map_or(look.live().is_none(), |age| age.as_secs() > UPLOAD_AGE_S);
        if !known && old {
            unknown.push(upload);
        }
    }
    let Some(first) = unknown.first() else { return Vec::new() };
    let what = format!(
        "{} leftovers of uploads belong to no upload, the first is uploads/{first}",
        unknown.len()
    );
    vec![Fault::warning(
        "upload-left-over",
        what,
        "no receipt was given for them: they can be removed while the server is stopped",
    )]
}

pub(super) async fn devices(look: &Look) -> Vec<Fault> {
    let Some(records) = look.records() else { return Vec::new() };
    let devices = records.devices_seen().await.unwrap_or_default();
    let before = look.now_ms - NEVER_SEEN_MS;
    let silent = devices.iter().filter(|d| d.seen_at_ms.unwrap_or(d.enrolled_at_ms) < before);
    silent
        .map(|device| match device.seen_at_ms {
            None => {
                let what = format!("device {} was enrolled days ago and never sent anything", device.device);
                Fault::warning("device-never-seen", what, "see to the dock: does it have its token and this server's address? or: exhibit device revoke")
            }
            Some(_) => {
                let what = format!("nothing came from device {} for three days", device.device);
                Fault::warning("device-not-seen", what, "see to the dock; revoke it if it is out of use")
            }
        })
        .collect()
}

pub(super) async fn backups(look: &Look) -> Vec<Fault> {
    use std::os::unix::fs::MetadataExt as _;
    let Some(records) = look.records() else { return Vec::new() };
    let Some(backup) = records.backups().await.unwrap_or_default().into_iter().next() else {
        return Vec::new();
    };
    let path = Path::new(&backup.folder);
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    if !path.join(MANIFEST).exists() {
        let what =
            format!("the newest backup, {}, is not there or holds no manifest", backup.folder);
        return vec![Fault::warning(
            "backup-gone",
            what,
            "mount its disk; if it is lost, back up to another folder now",
        )];
    }
    if BackupFolder::origin_of(path).is_ok_and(|found| found != look.config.force.ledger) {
        let what = format!("{} is a backup of another ledger now", backup.folder);
        return vec![Fault::critical(
            "backup-other-ledger",
            what,
            "find out who uses that folder; back up to another one now",
        )];
    }
    if device(path).is_some() && device(path) == device(&look.data) {
        let what = format!("the backup {} lies on the same disk as the data", backup.folder);
        return vec![Fault::warning(
            "backup-same-disk",
            what,
            "back up to another disk: one failure takes both",
        )];
    }
    Vec::new()
}
