//! One clip's way from the camera to a verified receipt.
//!
//! Here: the order of the steps, and what each failure means for the clip. Not here: HTTP (`server`), the retry rules
//! (`retry`), the checks of a receipt (`check`).
//! Invariant: every step is in the journal before the next one that relies on it, so a death between any two of them
//! costs time and nothing else; bytes of two states of a file never end in one upload.

mod body;
mod facts;
mod send;
mod settle;

use std::path::Path;
use std::time::{Duration, Instant};

use chain_of_custody::digest::Digests;

use super::check::check_receipt;
use super::config::Source;
use super::journal::{AgentSeq, Claims, Clip, Ending, Record};
use super::observe::ClipEvent;
use super::reading::{ClipReader, ReadError};
use super::report::{ClipReport, Problem, Standing};
use super::retry::{Next, Retry, Trouble};
use super::server::UploadPath;
use super::{Agent, AgentError, blocking};

const STOPPED: &str = "stopped before it was finished";

/// Brings one clip in, as far as patience and the server allow.
///
/// # Errors
/// [`AgentError`] when the agent's own folder fails: then no clip can be called safe.
pub(super) async fn bring_in(agent: &Agent<'_>, source: &Source) -> Result<ClipReport, AgentError> {
    let path = source.path.clone();
    let (size_bytes, standing) = match blocking(move || ClipReader::open(&path)).await {
        Err(error) => (0, problem(Problem::Unreadable { reason: error.to_string() })),
        Ok(reader) => {
            let size_bytes = reader.clip().size_bytes;
            agent.observer.clip(&source.path, &ClipEvent::Began { size_bytes });
            let standing = tokio::select! {
                biased;
                () = agent.config.stop.cancelled() => Standing::Waiting { reason: STOPPED.into() },
                standing = take_on(agent, source, reader) => standing?,
            };
            (size_bytes, standing)
        }
    };
    agent.observer.clip(&source.path, &ClipEvent::Settled(standing.clone()));
    Ok(ClipReport { path: source.path.clone(), size_bytes, standing })
}

fn problem(problem: Problem) -> Standing {
    Standing::Problem(problem)
}

/// Goes on with what the journal knows of this file, or begins.
async fn take_on(
    agent: &Agent<'_>,
    source: &Source,
    reader: ClipReader,
) -> Result<Standing, AgentError> {
    let file = reader.clip().clone();
    let claims = source.claims.clone();
    let known = agent.with_journal(move |journal| {
        let other = journal.unfinished_other(&file).map(|clip| clip.agent_seq);
        Ok((journal.latest(&file, &claims).cloned(), other))
    });
    let (known, changed) = known.await?;
    if let Some(agent_seq) = changed {
        agent.observer.clip(&source.path, &ClipEvent::ChangedSinceBegun);
        let reason = "another size or time at the next run".to_owned();
        let ending = Ending::Changed { reason };
        agent.record(Record::Ended { agent_seq, ending }).await?;
    }
    let mut journey = Journey::new(agent, &source.path, reader);
    match known {
        Some(Clip { ending: Some(Ending::Quarantined { reason }), .. }) => {
            return Ok(problem(Problem::Quarantined { reason }));
        }
        Some(Clip { ending: Some(Ending::Changed { .. }), .. }) | None => {
            journey.begin(source.claims.clone()).await?;
        }
        Some(clip) => match journey.resume(clip).await? {
            Resumed::Settled(standing) => return Ok(standing),
            Resumed::GoOn => {}
            Resumed::OtherBytes => {
                agent.observer.clip(&source.path, &ClipEvent::ChangedSinceBegun);
                journey.begin(source.claims.clone()).await?;
            }
        },
    }
    journey.run().await
}

enum Resumed {
    Settled(Standing),
    GoOn,
    /// Same name, size and time; other bytes.
    OtherBytes,
}

/// Why an attempt ended early.
#[derive(Debug)]
enum Stop {
    Trouble(Trouble),
    Read(ReadError),
    Agent(AgentError),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<AgentError> for Stop {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}

struct Journey<'a> {
    agent: &'a Agent<'a>,
    path: &'a Path,
    /// Taken while a blocking task has it.
    reader: Option<ClipReader>,
    size_bytes: u64,
    seq: AgentSeq,
    claims: Claims,
    upload: Option<UploadPath>,
    retry: Retry,
    /// The furthest offset of this upload, and when it was reached.
    furthest: u64,
    moved: Instant,
}

impl<'a> Journey<'a> {
    fn new(agent: &'a Agent<'a>, path: &'a Path, reader: ClipReader) -> Self {
        Self {
            agent,
            path,
            size_bytes: reader.clip().size_bytes,
            reader: Some(reader),
            seq: AgentSeq(0),
            claims: Claims::default(),
            upload: None,
            retry: Retry::new(agent.config.patience),
            furthest: 0,
            moved: Instant::now(),
        }
    }

    /// Takes the clip on under a number of its own.
    async fn begin(&mut self, claims: Claims) -> Result<(), AgentError> {
        self.reader().forget();
        let (file, sent) = (self.reader().clip().clone(), claims.clone());
        self.seq = self.agent.with_journal(move |journal| journal.begin(file, sent)).await?;
        self.claims = claims;
        Ok(())
    }

    /// Takes up what an earlier run left. What it read is held against what is read now.
    async fn resume(&mut self, clip: Clip) -> Result<Resumed, AgentError> {
        self.seq = clip.agent_seq;
        self.claims = clip.claims;
        self.upload = clip.upload;
        if let Some((offset, digests)) = clip.acknowledged {
            self.observe(&ClipEvent::Resumed { offset });
            self.reader().expect(offset, digests);
        }
        let Some((digests, _)) = clip.manifested else { return Ok(Resumed::GoOn) };
        let size_bytes = self.size_bytes;
        self.reader().expect(size_bytes, digests);
        let Some(Ending::Safe { item, receipt, .. }) = clip.ending else {
            return Ok(Resumed::GoOn);
        };
        match self.read_to_end().await {
            Err(ReadError::Changed(_)) => return Ok(Resumed::OtherBytes),
            Err(ReadError::Io(error)) => {
                let reason = error.to_string();
                return Ok(Resumed::Settled(problem(Problem::Unreadable { reason })));
            }
            Ok(_) => {}
        }
        let name = receipt.clone();
        let Some(bytes) = self.agent.with_state(move |state| state.receipt(&name)).await? else {
            return Ok(Resumed::GoOn);
        };
        let Some(expected) = self.expected(item).await? else { return Ok(Resumed::GoOn) };
        Ok(match check_receipt(&bytes, &self.agent.policy, &expected) {
            Ok(proven) => Resumed::Settled(self.safe(proven, &receipt)),
            // What lies here is spoilt; the server can give it again.
            Err(_) => Resumed::GoOn,
        })
    }

    /// Tries until it is settled, refused, or patience is over.
    async fn run(mut self) -> Result<Standing, AgentError> {
        loop {
            let trouble = match self.attempt().await {
                Ok(standing) => return Ok(standing),
                Err(Stop::Agent(error)) => return Err(error),
                Err(Stop::Read(error)) => return self.unreadable(error).await,
                Err(Stop::Trouble(trouble)) => trouble,
            };
            match self.retry.after(&trouble, self.moved.elapsed(), rand::random()) {
                Next::Retry(wait) => self.wait(&trouble, wait).await,
                Next::StartAnew(wait) => {
                    self.upload = None;
                    self.furthest = 0;
                    self.wait(&trouble, wait).await;
                }
                Next::LeaveForLater => {
                    return Ok(Standing::Waiting { reason: trouble.to_string() });
                }
                Next::GiveUp => {
                    let reason = trouble.to_string();
                    self.end(Ending::Refused { reason: reason.clone() }).await?;
                    return Ok(problem(Problem::Refused { reason }));
                }
            }
        }
    }

    async fn end(&self, ending: Ending) -> Result<(), AgentError> {
        self.agent.record(Record::Ended { agent_seq: self.seq, ending }).await
    }

    async fn wait(&self, trouble: &Trouble, wait: Duration) {
        let reason = trouble.to_string();
        tracing::info!(agent_seq = %self.seq, ?wait, "trying again");
        self.observe(&ClipEvent::Retrying { reason, wait });
        tokio::time::sleep(wait).await;
    }

    fn moved_to(&mut self, offset: u64) {
        if offset > self.furthest {
            self.furthest = offset;
            self.moved = Instant::now();
            self.retry.progressed();
        }
        self.observe(&ClipEvent::Acknowledged { offset });
    }

    async fn go_to(&mut self, offset: u64) -> Result<(), ReadError> {
        if offset != self.reader().position() {
            self.observe(&ClipEvent::ReadAgain { offset });
        }
        self.with_reader(move |reader| reader.go_to(offset)).await
    }

    /// The digests of the whole file, reading what was not read yet.
    async fn read_to_end(&mut self) -> Result<Digests, ReadError> {
        let size_bytes = self.size_bytes;
        if self.reader().position() < size_bytes {
            self.observe(&ClipEvent::ReadAgain { offset: size_bytes });
        }
        self.with_reader(move |reader| {
            while reader.position() < size_bytes {
                reader.read_block(size_bytes)?;
            }
            reader.finish()
        })
        .await
    }

    async fn with_reader<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut ClipReader) -> T + Send + 'static,
    ) -> T {
        let mut reader = self.reader.take().expect("one task at a time has it");
        let (reader, out) = blocking(move || {
            let out = act(&mut reader);
            (reader, out)
        })
        .await;
        self.reader = Some(reader);
        out
    }

    fn reader(&mut self) -> &mut ClipReader {
        self.reader.as_mut().expect("one task at a time has it")
    }

    fn observe(&self, event: &ClipEvent) {
        self.agent.observer.clip(self.path, event);
    }
}
