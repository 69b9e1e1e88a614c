//! The machine in a world of its own, crashed after every effect with lost, kept and repeated outcomes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::command::{Guard, Refusal, SourceKey};
use crate::digest::Sha256;
use crate::entry::Salt;
use crate::event::{EventKind, field};
use crate::ids::{DeviceId, EventId, ItemId, LeafIndex, SubjectId};
use crate::merkle::leaf_hash;
use crate::note::SigningKey;
use crate::tile::{TILE_WIDTH, TileEdge, new_bundles, new_tiles};
use crate::time::Timestamp;

const ORIGIN: &str = "ledger.test";

/// What survives a crash: a database and a store. Every promise is checked whenever something becomes visible.
#[derive(Default)]
struct World {
    epoch: u64,
    entries: Vec<PlacedEntry>,
    checkpoints: BTreeMap<u64, SignedCheckpoint>,
    recorded: u64,
    files: HashMap<(FileClass, String), Vec<u8>>,
    shown: Option<SignedCheckpoint>,
    acknowledged: BTreeMap<EventId, LeafIndex>,
    clock: i64,
}

fn signer() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32]).unwrap()
}

fn event(n: u8) -> EventId {
    EventId::from_uuid(uuid::Uuid::from_u128(u128::from(n) + 1))
}

fn subject(n: u8) -> SubjectId {
    format!("device:cam-{}", n % 3).parse().unwrap()
}

fn command(n: u8) -> Command {
    Command::new(EventKind::ItemViewed, event(n))
        .touching(subject(n))
        .field(field::SHA256, n.to_string(), Salt([n; 32]))
        .field(field::BY, "somebody", Salt([n; 32]))
}

impl World {
    fn size(&self) -> TreeSize {
        TreeSize(self.entries.len() as u64)
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for placed in &self.entries {
            facts.events.insert(placed.entry.event, placed.index);
            for s in &placed.entry.subjects {
                facts.heads.insert(s.id.clone(), Head { count: s.seq + 1, last: placed.index });
            }
        }
        facts
    }

    fn start(&mut self) -> (Sequencer, Vec<Effect>) {
        self.epoch += 1;
        let signed = self.checkpoints.values().last().cloned();
        let size = signed.as_ref().map_or(TreeSize(0), |c| c.unverified().size);
        let files = &self.files;
        let edge = TileEdge::restore(size, |path| {
            files.get(&(FileClass::Hashes, path.to_string())).cloned().ok_or(())
        });
        let unfilled = (size.0 - size.0 % TILE_WIDTH) as usize..size.0 as usize;
        let growth = Growth::restore(edge.unwrap(), self.entries[unfilled].to_vec()).unwrap();
        Sequencer::recover(Found {
            origin: ORIGIN.parse().unwrap(),
            epoch: Epoch(self.epoch),
            growth,
            unsigned: self.entries[size.0 as usize..].to_vec(),
            signed,
            shown: self.shown.clone(),
            recorded: TreeSize(self.recorded),
        })
        .expect("database and store of one history never contradict each other")
    }

    /// Does a durable effect. None when a guard refuses it.
    fn execute(&mut self, effect: &Effect) -> Option<Done> {
        match effect {
            Effect::Commit { epoch, from, commands, .. } => {
                self.guard(*epoch, *from)?;
                self.clock -= 1;
                let at = Timestamp::from_unix_millis(self.clock).unwrap();
                let decided = decide(commands, self.facts(), *from, at);
                if !decided.entries.is_empty() {
                    let shown = self.shown.as_ref().map_or(TreeSize(0), |c| c.unverified().size);
                    assert_eq!(shown, *from, "recorded as published, and it is not");
                    self.recorded = from.0;
                }
                self.entries.extend(decided.entries.iter().cloned());
                self.check_entries();
                Some(Done::Committed(decided))
            }
            Effect::WriteFiles { grown } => {
                for file in &grown.files {
                    let name = (file.class, file.path.clone());
                    let there = self.files.entry(name).or_insert_with(|| file.bytes.clone());
                    assert_eq!(*there, file.bytes, "{} would change", file.path);
                }
                Some(Done::FilesWritten)
            }
            Effect::StoreCheckpoint { epoch, checkpoint } => {
                self.guard(*epoch, checkpoint.size)?;
                let signed = checkpoint.sign(&signer()).unwrap();
                let kept = self.checkpoints.entry(checkpoint.size.0).or_insert(signed).clone();
                self.check_covered(&kept);
                Some(Done::CheckpointStored(kept))
            }
            Effect::Publish { checkpoint } => {
                let (new, shown) = (checkpoint.unverified(), self.shown.as_ref());
                let shown = shown.map(SignedCheckpoint::unverified);
                if shown.is_some_and(|s| s.size > new.size || (s.size == new.size && s != new)) {
                    return None;
                }
                self.check_covered(checkpoint);
                self.shown = Some(checkpoint.clone());
                Some(Done::Published)
            }
            Effect::RecordPublished { epoch, size } => {
                self.guard(*epoch, *size)?;
                self.recorded = size.0;
                Some(Done::Recorded)
            }
            told => panic!("not durable: {told:?}"),
        }
    }

    fn guard(&self, epoch: Epoch, size: TreeSize) -> Option<()> {
        (epoch.0 == self.epoch && size == self.size()).then_some(())
    }

    /// I4 and I8.
    fn check_entries(&self) {
        let mut events = BTreeSet::new();
        let mut counts: HashMap<&SubjectId, u64> = HashMap::new();
        for (position, placed) in self.entries.iter().enumerate() {
            assert_eq!(placed.index.0, position as u64, "indexes are dense");
            assert!(events.insert(placed.entry.event), "an event is one entry");
            for s in &placed.entry.subjects {
                let count = counts.entry(&s.id).or_default();
                assert_eq!(s.seq, *count, "seq is dense");
                *count += 1;
            }
        }
    }

    /// I2 and I3: all files of this size stand, and the root is that of the entries.
    fn check_covered(&self, checkpoint: &SignedCheckpoint) {
        let head = checkpoint.unverified();
        let mut edge = TileEdge::new();
        for placed in &self.entries[..head.size.0 as usize] {
            edge.append(leaf_hash(&placed.bytes));
        }
        assert_eq!(edge.root(), head.root, "another root at {}", head.size);
        for tile in edge.take_writes() {
            let stored = self.files.get(&(FileClass::Hashes, tile.path.to_string()));
            assert_eq!(stored, Some(&tile.bytes), "{} is not durable", tile.path);
        }
        assert_eq!(new_tiles(TreeSize(0), head.size).is_empty(), head.size.0 == 0);
        for bundle in new_bundles(TreeSize(0), head.size) {
            let range = openings_path(bundle);
            let (entries, evidential, personal) = (
                (FileClass::Entries, bundle.to_string()),
                (FileClass::Evidential, range.clone()),
                (FileClass::Personal, range),
            );
            for name in [entries, evidential, personal] {
                assert!(self.files.contains_key(&name), "{name:?} is not durable");
            }
        }
    }

    /// Who is told that it is committed finds it in the database, at one place for ever.
    fn check_committed(
        &mut self,
        decisions: &[(Ticket, Decision)],
        asked: &HashMap<Ticket, EventId>,
    ) {
        for (ticket, decision) in decisions {
            let (Decision::Placed(index) | Decision::Repeated(index)) = decision else {
                panic!("nothing is refused here: {decision:?}");
            };
            assert_eq!(self.entries[index.0 as usize].entry.event, asked[ticket]);
            let first = *self.acknowledged.entry(asked[ticket]).or_insert(*index);
            assert_eq!(first, *index, "a retry gets the same place");
        }
    }

    /// A told effect. What is acknowledged stands under what is shown, at one place for ever.
    fn tell(&mut self, effect: Effect, asked: &HashMap<Ticket, EventId>) {
        let Effect::Answer { decisions, grown, checkpoint } = effect else { return };
        for (ticket, decision) in decisions {
            let (Decision::Placed(index) | Decision::Repeated(index)) = decision else {
                panic!("nothing is refused here: {decision:?}");
            };
            let checkpoint = checkpoint.as_ref().expect("an entry has a checkpoint");
            let shown = self.shown.as_ref().expect("something is shown").unverified();
            assert!(checkpoint.unverified().size.covers(index) && shown.size.covers(index));
            assert_eq!(self.entries[index.0 as usize].entry.event, asked[&ticket]);
            let first = *self.acknowledged.entry(asked[&ticket]).or_insert(index);
            assert_eq!(first, index, "a retry gets the same place");
            if let Some(proof) = grown.as_ref().filter(|g| g.entry(index).is_some()) {
                let leaf = leaf_hash(&self.entries[index.0 as usize].bytes);
                let proof = proof.prove(index).expect("a new entry can be proved");
                proof.verify(&leaf, &checkpoint.unverified().root).unwrap();
            }
        }
    }
}

/// What happens to a durable effect.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    /// Done twice, as by a retry below us.
    Twice,
    /// The process dies before it.
    Lost,
    /// The process dies after it, before it knows.
    Kept,
    /// It is reported as failed, and was not done.
    FailedLost,
    /// It is reported as failed, but was done.
    FailedKept,
    /// Another process takes over before it; then this one goes on as if nothing had happened.
    Overtaken,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Done),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Kept),
        1 => Just(Fate::FailedLost),
        1 => Just(Fate::FailedKept),
        1 => Just(Fate::Overtaken),
    ]
}

struct Run<'a> {
    world: World,
    asked: HashMap<Ticket, EventId>,
    fates: Box<dyn Iterator<Item = Fate> + 'a>,
}

impl Run<'_> {
    /// Executes effects until none is left. The machine, unless it was lost.
    fn drive(&mut self, mut machine: Sequencer, effects: Vec<Effect>) -> Option<Sequencer> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            if let Effect::Committed { decisions } = &effect {
                self.world.check_committed(decisions, &self.asked);
                continue;
            }
            if matches!(effect, Effect::Answer { .. } | Effect::Stop { .. }) {
                self.world.tell(effect, &self.asked);
                continue;
            }
            let input = match self.fates.next().unwrap_or(Fate::Done) {
                Fate::Done => self.input(&effect),
                Fate::Twice => {
                    let first = self.input(&effect);
                    // A commit is guarded by the size, so its repeat is refused; the others change nothing.
                    let _repeated = self.world.execute(&effect);
                    first
                }
                Fate::Lost => return None,
                Fate::Kept => {
                    let _known_to_nobody = self.world.execute(&effect);
                    return None;
                }
                Fate::FailedLost => Input::Failed("lost".to_owned()),
                Fate::FailedKept => {
                    let _known_to_nobody = self.world.execute(&effect);
                    Input::Failed("kept".to_owned())
                }
                Fate::Overtaken => {
                    self.overtake();
                    self.input(&effect)
                }
            };
            effects.extend(machine.step(input));
        }
        matches!(machine.phase, Phase::Idle).then_some(machine)
    }

    /// Nobody asks for a while.
    fn rest(&mut self, mut machine: Sequencer) -> Option<Sequencer> {
        let effects = machine.step(Input::Rest);
        self.drive(machine, effects)
    }

    fn input(&mut self, effect: &Effect) -> Input {
        match self.world.execute(effect) {
            Some(done) => Input::Done(done),
            None => Input::Failed("fenced".to_owned()),
        }
    }

    fn overtake(&mut self) {
        let fates = std::mem::replace(&mut self.fates, Box::new(std::iter::empty()));
        let (machine, effects) = self.world.start();
        let mut other = self.drive(machine, effects).expect("nothing fails the other");
        let ticket = Ticket(1_000_000 + self.world.epoch);
        self.asked.insert(ticket, event(200));
        let mut effects = other.step(Input::Asked(ticket, command(200)));
        effects.extend(other.step(Input::Begin));
        self.drive(other, effects);
        self.fates = fates;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// I2, I3, I4, I8 hold whatever happens, and what was acknowledged is never lost.
    #[test]
    fn no_crash_breaks_a_promise(
        batches in proptest::collection::vec(proptest::collection::vec(0u8..60, 1..40), 1..12),
        fates in proptest::collection::vec(fates(), 0..80),
        rests in proptest::collection::vec(any::<bool>(), 0..12),
    ) {
        let mut rests = rests.into_iter();
        let mut run =
            Run { world: World::default(), asked: HashMap::new(), fates: Box::new(fates.into_iter()) };
        let mut machine = None;
        let mut tickets = 0;
        for batch in batches {
            // A machine that was lost or stopped comes back by recovery alone, however often that is cut short.
            let mut alive = loop {
                match machine.take() {
                    Some(alive) => break alive,
                    None => {
                        let (fresh, effects) = run.world.start();
                        machine = run.drive(fresh, effects);
                    }
                }
            };
            let mut effects = Vec::new();
            for n in batch {
                let ticket = Ticket(tickets);
                tickets += 1;
                run.asked.insert(ticket, event(n));
                effects.extend(alive.step(Input::Asked(ticket, command(n))));
            }
            effects.extend(alive.step(Input::Begin));
            machine = run.drive(alive, effects);
            if rests.next().unwrap_or_default() {
                machine = machine.and_then(|alive| run.rest(alive));
            }
        }
        run.fates = Box::new(std::iter::empty());
        let (fresh, effects) = run.world.start();
        let last = run.drive(fresh, effects).expect("nothing fails the last recovery");
        let rested = run.rest(last).expect("nor its rest");
        prop_assert!(!rested.is_unrecorded());
        let world = run.world;
        world.check_entries();
        prop_assert_eq!(world.recorded, world.entries.len() as u64);
        if let Some(shown) = &world.shown {
            prop_assert_eq!(shown.unverified().size, world.size());
            world.check_covered(shown);
        }
        for (event, index) in &world.acknowledged {
            prop_assert_eq!(world.entries[index.0 as usize].entry.event, *event);
        }
    }
}

#[test]
fn bundles_and_tiles_fill_up_across_batches() {
    let mut growth = Growth::default();
    let mut next = 0;
    let mut names = BTreeMap::new();
    for count in [1u64, 254, 1, 1, 700, 67] {
        let at = Timestamp::from_unix_millis(0).unwrap();
        let commands: Vec<_> = (next..next + count)
            .map(|n| {
                let id = EventId::from_uuid(uuid::Uuid::from_u128(u128::from(n)));
                Command::new(EventKind::ListViewed, id).field(field::BY, "x", Salt([1; 32]))
            })
            .collect();
        let decided = decide(&commands, Facts::default(), TreeSize(next), at);
        let grown = growth.append(decided.entries);
        next += count;
        assert_eq!(grown.to, TreeSize(next));
        for file in &grown.files {
            assert!(names.insert((file.class, file.path.clone()), file.bytes.clone()).is_none());
        }
        for placed in &grown.entries {
            let proof = grown.prove(placed.index).unwrap();
            proof.verify(&leaf_hash(&placed.bytes), &grown.root).unwrap();
        }
        assert!(grown.prove(LeafIndex(next)).is_none());
    }
    for bundle in new_bundles(TreeSize(0), TreeSize(next)) {
        let openings = &names[&(FileClass::Personal, openings_path(bundle))];
        let decoded = decode_openings(openings).unwrap();
        assert_eq!(decoded.len(), usize::from(bundle.width()));
        assert_eq!(decoded[0].0.0, bundle.index() * TILE_WIDTH);
        assert_eq!(decoded[0].1[0].value, "x");
        assert!(names.contains_key(&(FileClass::Entries, bundle.to_string())));
    }
}

#[test]
fn a_batch_sees_its_own_entries() {
    let item: ItemId = "0193a7c2-0000-7000-8000-000000000009".parse().unwrap();
    let sha256 = Sha256::of(b"footage");
    let source = SourceKey::new("cam", "-", "-", &sha256);
    let receive = |n: u8| {
        Command::new(EventKind::ItemReceived, event(n))
            .touching(item)
            .provided(Guard::NoSuchSource(source))
            .field(field::STATE, "stored", Salt([0; 32]))
            .field(field::DEVICE, "cam", Salt([0; 32]))
            .field(field::SHA256, sha256.to_string(), Salt([0; 32]))
    };
    let unknown =
        Command::new(EventKind::ItemViewed, event(9)).provided(Guard::SubjectExists(subject(1)));
    let twice =
        Command::new(EventKind::ItemViewed, event(8)).touching(subject(1)).touching(subject(1));
    let commands = [receive(1), receive(2), unknown, twice, receive(1)];
    let at = Timestamp::from_unix_millis(0).unwrap();
    let decided = decide(&commands, Facts::default(), TreeSize(5), at);
    let duplicate = Refusal::Duplicate { item, leaf_index: LeafIndex(5) };
    assert_eq!(decided.decisions[0], Decision::Placed(LeafIndex(5)));
    assert_eq!(decided.decisions[1], Decision::Refused(duplicate));
    assert_eq!(decided.decisions[2], Decision::Refused(Refusal::UnknownSubject(subject(1))));
    assert!(matches!(decided.decisions[3], Decision::Refused(Refusal::Malformed(_))));
    assert_eq!(decided.decisions[4], Decision::Repeated(LeafIndex(5)));
    assert_eq!(decided.entries.len(), 1);
}

#[test]
fn an_older_database_or_store_signs_nothing() {
    let mut run =
        Run { world: World::default(), asked: HashMap::new(), fates: Box::new(std::iter::empty()) };
    let (mut machine, _) = run.world.start();
    let mut place = |run: &mut Run<'_>, n: u8| {
        run.asked.insert(Ticket(n.into()), event(n));
        let mut effects = machine.step(Input::Asked(Ticket(n.into()), command(n)));
        effects.extend(machine.step(Input::Begin));
        let taken = std::mem::replace(&mut machine, Sequencer::recover(empty()).unwrap().0);
        machine = run.drive(taken, effects).unwrap();
    };
    place(&mut run, 1);
    let old = (run.world.entries.clone(), run.world.checkpoints.clone(), run.world.shown.clone());
    place(&mut run, 2);
    let now = run.world.shown.clone();
    let found =
        |signed: Option<&SignedCheckpoint>, shown: &Option<SignedCheckpoint>, recorded| Found {
            signed: signed.cloned(),
            shown: shown.clone(),
            recorded: TreeSize(recorded),
            ..empty()
        };
    let behind = Sequencer::recover(found(old.1.values().last(), &now, 1)).unwrap_err();
    assert!(matches!(behind, CannotRecover::DatabaseBehind { published: TreeSize(2), .. }));
    let store = Sequencer::recover(found(run.world.checkpoints.values().last(), &old.2, 2));
    assert!(matches!(store.unwrap_err(), CannotRecover::StoreBehind { .. }));
    let mut other = now.clone().unwrap().unverified().clone();
    other.root = leaf_hash(b"another history");
    let other = Some(other.sign(&signer()).unwrap());
    let forked = Sequencer::recover(found(run.world.checkpoints.values().last(), &other, 2));
    assert!(matches!(forked.unwrap_err(), CannotRecover::Forked { size: TreeSize(2) }));
    let damaged = Sequencer::recover(found(run.world.checkpoints.values().last(), &now, 2));
    assert!(matches!(damaged.unwrap_err(), CannotRecover::Damaged { .. }), "an empty tree");
}

fn empty() -> Found {
    Found {
        origin: ORIGIN.parse().unwrap(),
        epoch: Epoch(1),
        growth: Growth::default(),
        unsigned: Vec::new(),
        signed: None,
        shown: None,
        recorded: TreeSize(0),
    }
}

#[test]
fn who_waits_too_long_is_turned_away_and_a_known_failure_goes_on() {
    let (mut machine, _) = Sequencer::recover(empty()).unwrap();
    for n in 0..MAX_WAITING as u64 {
        assert!(machine.step(Input::Asked(Ticket(n), command(1))).is_empty());
    }
    let full = machine.step(Input::Asked(Ticket(9_999), command(1)));
    assert!(matches!(full[..], [Effect::TurnAway(Ticket(9_999))]));
    let begun = machine.step(Input::Begin);
    assert!(
        matches!(&begun[..], [Effect::Commit { commands, .. }] if commands.len() == MAX_BATCH_COMMANDS)
    );
    let given_up = machine.step(Input::NotCommitted("no room".to_owned()));
    assert!(
        matches!(&given_up[..], [Effect::GiveUp { tickets, .. }] if tickets.len() == MAX_BATCH_COMMANDS)
    );
    assert!(matches!(machine.step(Input::Begin)[..], [Effect::Commit { .. }]), "it goes on");
    let stopped = machine.step(Input::Failed("fsync".to_owned()));
    assert!(
        matches!(&stopped[..], [Effect::Stop { tickets, .. }] if tickets.len() == MAX_WAITING - MAX_BATCH_COMMANDS)
    );
    let later = machine.step(Input::Asked(Ticket(1), command(1)));
    assert!(matches!(later[..], [Effect::Stop { .. }]), "it stays stopped");
    assert!(machine.step(Input::Begin).is_empty());
}

const OPENINGS_VECTOR: &[u8] = include_bytes!("../../tests/vectors/openings/two-entries.jsonl");

#[test]
fn an_openings_file_reads_and_writes_as_its_vector() {
    let decoded = decode_openings(OPENINGS_VECTOR).unwrap();
    assert_eq!((decoded[0].0, decoded[1].0), (LeafIndex(255), LeafIndex(256)));
    assert_eq!((decoded[0].1.len(), decoded[1].1.len()), (2, 0));
    assert_eq!(decoded[0].1[0].value, "bit-flip");
    let encoded = encode_openings(decoded.iter().map(|(index, openings)| (*index, openings)));
    assert_eq!(encoded, OPENINGS_VECTOR);
}

#[test]
fn malformed_openings_files_are_refused() {
    let good = std::str::from_utf8(OPENINGS_VECTOR).unwrap();
    let cases = [
        ("last_newline_missing", good.trim_end().to_owned()),
        ("empty_line", good.replace("\n{", "\n\n{")),
        ("unknown_key", good.replace("{\"entry\":256,", "{\"dup\":1,\"entry\":256,")),
        (
            "key_order",
            good.replace("{\"entry\":256,\"openings\":[]}", "{\"openings\":[],\"entry\":256}"),
        ),
        ("salt_short", good.replace("0101\",", "01\",")),
        ("carriage_return", good.replace('\n', "\r\n")),
    ];
    for (name, text) in cases {
        assert_ne!(text, good, "{name} changes nothing");
        assert!(decode_openings(text.as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn a_revoked_device_gets_no_entry_from_its_revocation_on() {
    let device: DeviceId = "0193a7c2-0000-7000-8000-000000000009".parse().unwrap();
    let sends = |n: u8| {
        Command::new(EventKind::ItemReceived, event(n)).provided(Guard::DeviceMaySend(device))
    };
    let acts = |kind, n: u8| Command::new(kind, event(n)).touching(device);
    let commands = [
        sends(1),
        acts(EventKind::DeviceRevoked, 2),
        sends(3),
        acts(EventKind::DeviceEnrolled, 4),
        sends(5),
        acts(EventKind::ItemReceived, 6),
    ];
    let at = Timestamp::from_unix_millis(0).unwrap();
    let refused = Decision::Refused(Refusal::DeviceRevoked(device));
    let decided = decide(&commands, Facts::default(), TreeSize(0), at);
    assert_eq!(decided.decisions[2], refused);
    assert_eq!(decided.entries.len(), 5);
    let facts = Facts { revoked: [device].into(), ..Facts::default() };
    let decided = decide(&commands[..1], facts, TreeSize(0), at);
    assert_eq!(decided.decisions, [refused]);
}
