//! The ledger and its log witnesses: cosignatures that hold, outages that hold nothing back, other histories.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chain_of_custody::checkpoint::{Checkpoint, SignedCheckpoint};
use chain_of_custody::command::Command;
use chain_of_custody::entry::Salt;
use chain_of_custody::event::{EventKind, field};
use chain_of_custody::ids::TreeSize;
use chain_of_custody::log_witness::{AddCheckpoint, Answer, Refused, SIZE_CONTENT_TYPE, decide};
use chain_of_custody::note::{Signer as _, SigningKey, VerifierKey};
use chain_of_custody::policy::Policy;
use futures_util::future::{BoxFuture, FutureExt as _};
use storage::ledger::{
    COSIGNATURE_PATIENCE, Ledger, LedgerError, LogWitness, LogWitnesses, Placed,
};
use storage::objects::{Kek, ObjectStore};
use storage::records::WITNESSED_SIZE;
use support::{Home, act, assert_clean, assert_proved, event, log_key, options};

const TIME: u64 = 1_795_370_700;
const PATIENCE: Duration = Duration::from_secs(20);

on_both_databases!(
    receipts_carry_cosignatures_at_once_and_so_does_what_is_published,
    a_log_witness_that_is_away_holds_nothing_back_and_is_caught_up_with,
    garbage_is_never_kept,
    behind_what_is_known_outside_nothing_is_signed_until_a_person_confirms_it,
    a_second_history_is_refused_and_said,
);

/// What a log witness does with a request.
const COSIGN: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;
const GARBAGE: u8 = 3;
const OF_ANOTHER: u8 = 4;

/// A log witness without a network: the protocol's own decision, a memory, and faults.
#[derive(Debug)]
struct Outsider {
    key: SigningKey,
    vkey: VerifierKey,
    held: Mutex<Option<Checkpoint>>,
    refused: Mutex<Vec<Refused>>,
    mood: AtomicU8,
}

impl Outsider {
    fn new(name: &str) -> Arc<Self> {
        let key = SigningKey::for_cosignatures(name, [name.as_bytes()[0]; 32]).unwrap();
        Arc::new(Self {
            vkey: key.vkey(),
            key,
            held: Mutex::default(),
            refused: Mutex::default(),
            mood: AtomicU8::new(COSIGN),
        })
    }

    fn set(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }

    fn held(&self) -> u64 {
        self.held.lock().unwrap().as_ref().map_or(0, |held| held.size.0)
    }

    fn answer(&self, body: &str) -> Answer {
        let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
        let mut held = self.held.lock().unwrap();
        let plain = |status, body: String| Answer { status, content_type: None, body: body.into() };
        match decide(&request, &[log_key().vkey()], held.as_ref()) {
            Ok(()) => {
                *held = Some(request.checkpoint.unverified().clone());
                plain(200, format!("{}\n", request.checkpoint.cosign(&self.key, TIME).unwrap()))
            }
            Err(Refused::Conflict { held }) => Answer {
                content_type: Some(SIZE_CONTENT_TYPE.to_owned()),
                ..plain(409, format!("{held}\n"))
            },
            Err(refused) => {
                let status = refused.status();
                self.refused.lock().unwrap().push(refused);
                plain(status, String::new())
            }
        }
    }
}

impl LogWitness for Outsider {
    fn key(&self) -> &VerifierKey {
        &self.vkey
    }

    fn add_checkpoint(&self, body: String) -> BoxFuture<'_, Result<Answer, String>> {
        async move {
            match self.mood.load(Ordering::SeqCst) {
                AWAY => Err("connection refused".to_owned()),
                SILENT => std::future::pending().await,
                GARBAGE => Ok(Answer { status: 200, content_type: None, body: b"<html>\n".into() }),
                OF_ANOTHER => {
                    let other = Checkpoint { size: TreeSize(1), ..head_of(&body) };
                    let line = other.sign(&log_key()).unwrap().cosign(&self.key, TIME).unwrap();
                    let body = format!("{line}\n").into_bytes();
                    Ok(Answer { status: 200, content_type: None, body })
                }
                _ => Ok(self.answer(&body)),
            }
        }
        .boxed()
    }
}

fn head_of(body: &str) -> Checkpoint {
    AddCheckpoint::parse(body.as_bytes()).unwrap().checkpoint.unverified().clone()
}

async fn try_open(
    home: &Home,
    outsiders: &[&Arc<Outsider>],
    confirmed: Option<u64>,
) -> Result<Ledger, LedgerError> {
    let objects = ObjectStore::open(&home.objects_path(), Kek::new([9; 32].into())).unwrap();
    let ways = outsiders.iter().map(|o| Arc::clone(*o) as Arc<dyn LogWitness>).collect();
    let witnesses = LogWitnesses { ways, confirmed: confirmed.map(TreeSize) };
    Ledger::open_witnessed(home.records().await, objects, options(), witnesses).await
}

async fn open(home: &Home, outsiders: &[&Arc<Outsider>]) -> Ledger {
    try_open(home, outsiders, None).await.unwrap()
}

fn policy(outsiders: &[&Arc<Outsider>]) -> Policy {
    let keys: Vec<_> = outsiders.iter().map(|outsider| outsider.vkey.clone()).collect();
    Policy::of_force(&log_key().vkey(), &keys, keys.len()).unwrap()
}

fn is_cosigned(placed: &Placed, by: &[&Arc<Outsider>]) -> bool {
    assert_proved(placed);
    placed.receipt().unwrap().verify(&policy(by)).is_ok()
}

/// What everybody may fetch.
async fn published(ledger: &Ledger) -> SignedCheckpoint {
    let bytes = ledger.public_file("checkpoint").await.unwrap();
    SignedCheckpoint::parse(&bytes).unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn receipts_carry_cosignatures_at_once_and_so_does_what_is_published(home: Home) {
    let (one, two) = (Outsider::new("one.example"), Outsider::new("two.example"));
    let both = [&one, &two];
    let ledger = open(&home, &both).await;
    for n in 0..20 {
        let placed = ledger.submit(act(n)).await.unwrap();
        assert!(is_cosigned(&placed, &both), "entry {n}");
        assert_eq!(one.held(), placed.checkpoint.unverified().size.0);
    }
    let repeated = ledger.submit(act(3)).await.unwrap();
    assert!(repeated.repeated && is_cosigned(&repeated, &both), "a retry is worth as much");
    assert!(policy(&both).accept(&ledger.latest()).is_ok());
    let is_published = async || policy(&both).accept(&published(&ledger).await).is_ok();
    eventually("the published checkpoint is cosigned", is_published).await;
    let states = ledger.log_witnesses();
    assert!(states.iter().all(|state| state.trouble.is_none()));
    assert_eq!(states[1].cosigned.unwrap().size, TreeSize(22));
    assert_clean(&ledger).await;
    ledger.close().await;
    drop(ledger);

    let again = open(&home, &both).await;
    assert_eq!(
        again.log_witnesses()[0].cosigned.unwrap().time_unix_s,
        TIME,
        "known from the store"
    );
    assert!(is_cosigned(&again.submit(act(99)).await.unwrap(), &both));
    assert!(one.refused.lock().unwrap().is_empty());
}

async fn a_log_witness_that_is_away_holds_nothing_back_and_is_caught_up_with(home: Home) {
    let (here, away) = (Outsider::new("here.example"), Outsider::new("away.example"));
    away.set(SILENT);
    let ledger = open(&home, &[&here, &away]).await;
    let begun = Instant::now();
    let first = ledger.submit(act(0)).await.unwrap();
    assert!(begun.elapsed() < COSIGNATURE_PATIENCE * 6, "{:?}", begun.elapsed());
    assert!(is_cosigned(&first, &[&here]) && !is_cosigned(&first, &[&here, &away]));
    let weighed = policy(&[&here, &away]).weigh(&first.checkpoint).unwrap();
    assert!(weighed.rests_on.sentences()[1].contains("1 of 2 log witnesses (here.example)"));
    let begun = Instant::now();
    for n in 1..6 {
        assert!(is_cosigned(&ledger.submit(act(n)).await.unwrap(), &[&here]));
    }
    assert!(begun.elapsed() < COSIGNATURE_PATIENCE * 4, "only the first one waits for it");
    assert_eq!(away.held(), 0);
    ledger.close().await;
    drop(ledger);

    away.set(AWAY);
    let ledger = open(&home, &[&here, &away]).await;
    let is_said = async || {
        let trouble = ledger.log_witnesses()[1].trouble.clone();
        trouble.is_some_and(|t| t.reason.contains("refused") && !t.other_history)
    };
    eventually("the trouble is said", is_said).await;
    assert!(is_cosigned(&ledger.submit(act(6)).await.unwrap(), &[&here]));
    away.set(COSIGN);
    let both = policy(&[&here, &away]);
    let caught_up = async || both.accept(&published(&ledger).await).is_ok();
    eventually("it is caught up with", caught_up).await;
    assert_eq!(away.held(), 9);
    assert!(ledger.log_witnesses()[1].trouble.is_none());
    let again = ledger.placed(first.leaf_index).await.unwrap();
    assert!(is_cosigned(&again, &[&here, &away]), "an equally valid receipt, asked for again");
    let now_waited_for = async || is_cosigned(&ledger.submit(act(7)).await.unwrap(), &[&away]);
    eventually("it is waited for again", now_waited_for).await;
}

async fn garbage_is_never_kept(home: Home) {
    let outsider = Outsider::new("liar.example");
    for (n, mood) in [GARBAGE, OF_ANOTHER].into_iter().enumerate() {
        outsider.set(mood);
        let ledger = open(&home, &[&outsider]).await;
        let placed = ledger.submit(act(n as u64)).await.unwrap();
        assert_eq!(placed.checkpoint.note().signatures().len(), 1, "the log's own alone");
        let is_said = async || ledger.log_witnesses()[0].trouble.is_some();
        eventually("it is said", is_said).await;
        assert!(ledger.log_witnesses()[0].cosigned.is_none());
        ledger.close().await;
    }
}

/// Everything goes back to an older copy: database and object store agree, and only somebody outside knows better.
async fn behind_what_is_known_outside_nothing_is_signed_until_a_person_confirms_it(home: Home) {
    let outsider = Outsider::new("outside.example");
    let ledger = open(&home, &[&outsider]).await;
    for n in 0..4 {
        ledger.submit(act(n)).await.unwrap();
    }
    ledger.close().await;
    drop(ledger);
    // A ledger of the same name and key that never heard of the entries: the whole folder lost, or an old copy of it.
    let older = home.another();
    let refused = try_open(&older, &[&outsider], None).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            LedgerError::HeadNotConfirmed { known: TreeSize(6), ours: TreeSize(0), .. }
        ),
        "{refused}"
    );
    assert_eq!(outsider.held(), 6);
    let too_small = try_open(&older, &[&outsider], Some(5)).await.unwrap_err();
    assert!(matches!(too_small, LedgerError::HeadNotConfirmed { .. }), "{too_small}");

    let ledger = try_open(&older, &[&outsider], Some(6)).await.unwrap();
    let witnessed = ledger.known_outside().unwrap();
    assert_eq!(witnessed, TreeSize(6));
    let recovered = Command::new(EventKind::LedgerRecovered, event(100))
        .public(WITNESSED_SIZE, witnessed.to_string())
        .field(field::REASON, "the disk was lost", Salt([1; 32]));
    ledger.submit(recovered).await.unwrap();
    ledger.close().await;
    drop(ledger);
    let ledger = try_open(&older, &[&outsider], None).await.unwrap();
    assert_proved(&ledger.submit(act(50)).await.unwrap());
    let is_said = async || {
        let trouble = ledger.log_witnesses()[0].trouble.clone();
        trouble.is_some_and(|trouble| trouble.other_history)
    };
    eventually("another history is said for as long as it is known", is_said).await;
    assert_eq!(outsider.held(), 6, "it goes on vouching for the first history alone");
}

/// The log key signs elsewhere, and nobody noticed at the start.
async fn a_second_history_is_refused_and_said(home: Home) {
    let outsider = Outsider::new("outside.example");
    let ledger = open(&home, &[&outsider]).await;
    for n in 0..4 {
        ledger.submit(act(n)).await.unwrap();
    }
    let fork = home.another();
    outsider.set(AWAY);
    let forked = open(&fork, &[&outsider]).await;
    for n in 100..110 {
        forked.submit(act(n)).await.unwrap();
    }
    outsider.set(COSIGN);
    let is_said = async || {
        let trouble = forked.log_witnesses()[0].trouble.clone();
        trouble.is_some_and(|t| t.other_history && t.reason.contains("not the first 6"))
    };
    eventually("another history is said", is_said).await;
    assert!(outsider.refused.lock().unwrap().iter().all(Refused::is_evidence));
    assert!(!outsider.refused.lock().unwrap().is_empty());
    assert_eq!(forked.latest().note().signatures().len(), 1, "the fork is never cosigned");
    let placed = ledger.submit(act(4)).await;
    let cosigned = async || is_cosigned(&ledger.submit(act(5)).await.unwrap(), &[&outsider]);
    assert!(placed.is_ok(), "the true one goes on");
    eventually("the true one is cosigned", cosigned).await;
}
