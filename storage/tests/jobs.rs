//! Jobs among several servers: nobody gets one that another works on, and a server that is gone keeps none.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use std::collections::BTreeSet;

use chain_of_custody::ids::{ItemId, UploadId};
use chain_of_custody::time::Timestamp;
use futures_util::future::join_all;
use storage::records::{JobAttempt, JobRow, NewJob, Records};
use support::{Home, ORIGIN};

on_both_databases!(
    a_job_is_one_servers,
    what_is_made_of_one_item_is_one_servers,
    what_somebody_waits_for_comes_first,
    devices_take_turns,
    how_far_it_is_is_said_while_it_runs,
    ranges_are_taken_one_by_one_and_joined_when_all_have_ended,
    what_a_dead_process_left_is_put_back,
);

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000).unwrap()
}

fn job(n: u128) -> NewJob {
    NewJob {
        item: ItemId::from_uuid(uuid::Uuid::from_u128(n)),
        recipe_id: "recipe".to_owned(),
        kind: "probe".to_owned(),
        recipe: "{}".to_owned(),
        asked: None,
    }
}

fn attempt() -> JobAttempt {
    let upload = UploadId::from_uuid(uuid::Uuid::from_u128(1));
    JobAttempt { upload, object: "derivatives/x".to_owned() }
}

/// The one job of an item.
async fn claim(records: &Records) -> Option<JobRow> {
    let mut claimed = records.claim_jobs("", now()).await.unwrap();
    assert!(claimed.len() <= 1, "{claimed:?}");
    claimed.pop()
}

async fn what_is_made_of_one_item_is_one_servers(home: Home) {
    let (one, two) = (home.records().await, home.records().await);
    let of = |kind: &str, n| {
        let kind = kind.to_owned();
        NewJob { recipe_id: format!("recipe of {kind}"), kind, ..job(n) }
    };
    let kinds = ["probe", "proxy", "poster"];
    let jobs: Vec<_> = (0..64).flat_map(|n| kinds.map(|kind| of(kind, n))).collect();
    one.add_jobs(&jobs).await.unwrap();
    let probe = two.claim_jobs("probe", now()).await.unwrap();
    assert_eq!(probe.iter().map(|row| &row.job).collect::<Vec<_>>(), [&of("probe", 0)]);
    let claims = (0..64).map(|n| {
        let records = if n % 2 == 0 { &one } else { &two };
        records.claim_jobs("", now())
    });
    let claimed = join_all(claims).await.into_iter().map(Result::unwrap);
    let claimed: Vec<_> = claimed.collect();
    for rows in &claimed {
        let items: BTreeSet<_> = rows.iter().map(|row| row.job.item.to_string()).collect();
        assert_eq!(items.len(), 1, "each gets one item, whole but for what was claimed before");
    }
    let claimed: Vec<_> = claimed.into_iter().flatten().chain(probe).map(|row| row.job).collect();
    let key = |job: &NewJob| (job.item.to_string(), job.recipe_id.clone());
    let all: BTreeSet<_> = claimed.iter().map(key).collect();
    assert_eq!((claimed.len(), all.len()), (192, 192), "each once");
    assert_eq!(one.claim_jobs("", now()).await.unwrap(), []);
}

async fn a_job_is_one_servers(home: Home) {
    let (one, two) = (home.records().await, home.records().await);
    one.add_jobs(&(0..20).map(job).collect::<Vec<_>>()).await.unwrap();
    let claims = (0..24).map(|n| claim(if n % 2 == 0 { &one } else { &two }));
    let claimed: Vec<_> = join_all(claims).await.into_iter().flatten().collect();
    let items: BTreeSet<_> = claimed.iter().map(|row| row.job.item.to_string()).collect();
    assert_eq!((claimed.len(), items.len()), (20, 20), "one each, as long as there are any");
    assert_eq!(claim(&two).await, None);
    assert!(one.keep_job(&claimed[0], 0).await.unwrap());
    assert!(one.end_job(&claimed[0]).await.unwrap());
    assert!(!one.keep_job(&claimed[0], 0).await.unwrap(), "it has ended");
    assert_eq!(one.open_jobs().await.unwrap(), 19);
}

/// A device that has sent ten items waits with each for those that have sent two.
async fn devices_take_turns(home: Home) {
    let records = home.records().await;
    let sent = |device: u128, n: u128| (device << 64) + n;
    let mut texts = Vec::new();
    for (device, count) in [(1, 10), (2, 2), (3, 2)] {
        for n in 0..count {
            let item = job(sent(device, n)).item;
            texts.push(format!(
                "INSERT INTO items (force, item, leaf_index, state, state_reason, name, size_bytes, sha256, blake3, object, device, \
                 read_by, camera, recording, upload, captured_claimed, received_at_ms, source_key, \
                 disclosure_status, restricted, fault) \
                 VALUES ('{ORIGIN}', '{item}', {}, 'stored', '', '', 1, '', '', '', 'device {device}', '', '', '', '', '', 0, '', '', 0, '')",
                device * 100 + n
            ));
        }
    }
    for text in texts {
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(records.pool()).await.unwrap();
    }
    let jobs = |device, count| (0..count).map(|n| job(sent(device, n))).collect::<Vec<_>>();
    records.add_jobs(&jobs(1, 10)).await.unwrap();
    records.add_jobs(&jobs(2, 2)).await.unwrap();
    let device = |row: &JobRow| row.job.item.uuid().as_u128() >> 64;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(device(&claim(&records).await.unwrap()));
    }
    // One that comes late does not wait for what is before it, nor gets what the others have had.
    records.add_jobs(&jobs(3, 2)).await.unwrap();
    while let Some(row) = claim(&records).await {
        order.push(device(&row));
    }
    assert_eq!(order, [1, 2, 1, 2, 3, 1, 3, 1, 1, 1, 1, 1, 1, 1]);
}

async fn how_far_it_is_is_said_while_it_runs(home: Home) {
    let records = home.records().await;
    records.add_jobs(&[job(1)]).await.unwrap();
    let row = claim(&records).await.unwrap();
    assert!(records.keep_job(&row, 420).await.unwrap());
    let permille = "SELECT permille FROM jobs";
    let said = sqlx::query_scalar::<_, i64>(permille).fetch_one(records.pool()).await.unwrap();
    assert_eq!(said, 420);
    records.put_back_job(&row, now()).await.unwrap();
    claim(&records).await.unwrap();
    let said = sqlx::query_scalar::<_, i64>(permille).fetch_one(records.pool()).await.unwrap();
    assert_eq!(said, 0, "it begins anew");
}

async fn ranges_are_taken_one_by_one_and_joined_when_all_have_ended(home: Home) {
    let (one, two) = (home.records().await, home.records().await);
    let of = |kind: &str, n| {
        let kind = kind.to_owned();
        NewJob { recipe_id: format!("recipe of {kind}"), kind, ..job(n) }
    };
    one.add_jobs(&[of("proxy", 1), of("poster", 1), of("poster", 2)]).await.unwrap();
    let claimed = one.claim_jobs("", now()).await.unwrap();
    let kinds: BTreeSet<_> = claimed.iter().map(|row| row.job.kind.as_str()).collect();
    assert_eq!(kinds, ["poster", "proxy"].into());
    let whole = claimed.into_iter().find(|row| row.job.kind == "proxy").unwrap();
    let range = |n: usize| ("proxy-range".to_owned(), format!("{{\"range\":{n}}}"));
    let ranges: Vec<_> = (0..12).map(range).collect();
    for _ in 0..2 {
        assert!(one.add_ranges(&whole, &ranges).await.unwrap(), "those that are there stay");
    }
    assert!(one.put_back_job(&whole, now()).await.unwrap());
    assert!(!one.add_ranges(&whole, &ranges).await.unwrap(), "nobody has it");
    assert_eq!(one.claim_job(&whole.job).await.unwrap(), None, "it waits for its ranges");

    // Another item's poster has the same turn and takes less time.
    let short = two.claim_jobs("", now()).await.unwrap();
    assert_eq!(short.iter().map(|row| &row.job).collect::<Vec<_>>(), [&of("poster", 2)]);
    let claims = (0..11).map(|n| claim(if n % 2 == 0 { &one } else { &two }));
    let mut claimed: Vec<_> = join_all(claims).await.into_iter().flatten().collect();
    claimed.extend(two.claim_range(&whole.job).await.unwrap());
    let recipes: BTreeSet<_> = claimed.iter().map(|row| row.job.recipe.clone()).collect();
    assert_eq!(recipes, ranges.iter().map(|(_, recipe)| recipe.clone()).collect(), "each once");
    assert!(claimed.iter().all(|row| row.part_of.as_deref() == Some("recipe of proxy")));
    assert_eq!(one.claim_range(&whole.job).await.unwrap(), None);

    // Nobody takes the whole before the last has ended.
    let item = job(1).item;
    for row in &claimed[..11] {
        assert!(two.end_range(row, "made").await.unwrap());
        assert!(!two.end_range(row, "again").await.unwrap(), "it has ended");
    }
    assert_eq!(one.claim_job(&whole.job).await.unwrap(), None);
    assert_eq!(claim(&one).await, None);
    one.cancel_ranges(item, "recipe of proxy", "somebody").await.unwrap();
    let by = one.cancelled_by(&claimed[11]).await.unwrap();
    assert_eq!(by.as_deref(), Some("somebody"), "of those that have not ended");
    assert_eq!(one.cancelled_by(&claimed[0]).await.unwrap(), None);
    assert!(two.end_range(&claimed[11], "failed").await.unwrap());

    let joins = one.claim_jobs("", now()).await.unwrap();
    assert_eq!(joins.iter().map(|row| &row.job).collect::<Vec<_>>(), [&whole.job]);
    let ended = one.ranges(&whole.job).await.unwrap();
    let in_order: Vec<_> = ended.iter().map(|range| range.row.job.recipe.clone()).collect();
    assert_eq!(in_order, ranges.into_iter().map(|(_, recipe)| recipe).collect::<Vec<_>>());
    one.reopen_jobs(item).await.unwrap();
    assert_eq!(claim(&two).await.map(|row| row.job), None, "a range is not taken up again");
    for range in &ended {
        one.forget_range(&range.row).await.unwrap();
    }
    assert_eq!(one.ranges(&whole.job).await.unwrap(), []);
    assert!(one.end_job(&joins[0]).await.unwrap());
    assert!(!one.is_open(item, "recipe of proxy").await.unwrap());
}

async fn what_somebody_waits_for_comes_first(home: Home) {
    let records = home.records().await;
    records.add_jobs(&[job(1), job(2), job(3)]).await.unwrap();
    records.hurry_jobs(job(3).item).await.unwrap();
    let first = claim(&records).await.unwrap();
    assert_eq!(first.job, job(3));
    // One that waits after trouble is not hurried.
    let later = Timestamp::from_unix_millis(now().unix_millis() + 1).unwrap();
    assert!(records.put_back_job(&first, later).await.unwrap());
    records.hurry_jobs(job(3).item).await.unwrap();
    let rest = [claim(&records).await.unwrap().job, claim(&records).await.unwrap().job];
    assert_eq!(rest, [job(1), job(2)]);
    assert_eq!(claim(&records).await, None);
}

async fn what_a_dead_process_left_is_put_back(home: Home) {
    let one = home.records().await;
    one.add_jobs(&[job(1)]).await.unwrap();
    let left = claim(&one).await.unwrap();
    assert!(one.begin_attempt(&left, &attempt()).await.unwrap());
    let two = home.records().await;
    lapse(&two).await;
    let cut_off = two.cut_off_jobs().await.unwrap();
    assert_eq!(cut_off.len(), 1);
    assert_eq!(cut_off[0].attempt, Some(attempt()), "where it wrote is known");
    assert!(two.put_back_job(&cut_off[0], now()).await.unwrap());
    assert_eq!(claim(&two).await.unwrap().job, left.job);
}

/// As if the time that servers said had passed.
async fn lapse(records: &Records) {
    let text = "UPDATE jobs SET claimed_until_ms = 1";
    sqlx::query(text).execute(records.pool()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_keeps_no_job_and_one_that_wakes_changes_none() {
    let home = Home::postgres();
    let (one, two) = (home.records().await, home.records().await);
    one.add_jobs(&[job(1)]).await.unwrap();
    let old = claim(&one).await.unwrap();
    assert!(two.cut_off_jobs().await.unwrap().is_empty(), "a live server works on it");
    assert_eq!(claim(&two).await, None);
    lapse(&two).await;
    assert!(one.keep_job(&old, 0).await.unwrap(), "late, and nobody has taken it");
    assert_eq!(claim(&two).await, None, "it is kept");
    lapse(&two).await;
    let new = claim(&two).await.unwrap();
    assert_eq!(new.job, old.job);
    assert!(!one.keep_job(&old, 0).await.unwrap());
    assert!(!one.begin_attempt(&old, &attempt()).await.unwrap());
    assert!(!one.put_back_job(&old, now()).await.unwrap());
    assert!(!one.end_job(&old).await.unwrap());
    assert!(two.keep_job(&new, 500).await.unwrap(), "the one that wakes has changed nothing");
    assert!(two.end_job(&new).await.unwrap());
}
