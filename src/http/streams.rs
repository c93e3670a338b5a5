//! Streams of one run: its transcript's bytes, and its turns.
//!
//! Both read the transcript and nothing else, so that a slow listener, or one that comes back, loses nothing and costs
//! nothing. Whether an attempt has ended is the record's word: what is read after that was said is all there is.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};

use super::connections::StreamPermit;
use super::core::Snapshots;
use super::routes::Api;
use super::transcript::{TranscriptSource, TranscriptTail};
use super::turns::{AttemptTurn, EndTurn, Place, Turn};
use crate::claude::parser::{Located, Parser};
use crate::controller::view::{RunView, View};
use crate::resource::ResourceName;
use crate::world::run::Attempt;

/// A transcript that is not there yet is looked for again: its first line is seconds away, and nobody tells of it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Of an attempt that has ended, its file is read at disk's speed; a disk that takes longer hangs.
const LAST_READ_WITHIN: Duration = Duration::from_secs(10);
/// Who does not follow gets what is there: a live transcript that is silent for so long has no more now.
const QUIET: Duration = Duration::from_millis(300);

/// One attempt's transcript, from a byte on.
struct Reading {
    source: Arc<dyn TranscriptSource>,
    view: Snapshots,
    run: ResourceName,
    attempt: u32,
    // How far it was read.
    at: u64,
    tail: Option<Box<dyn TranscriptTail>>,
    // The record says that it has ended, and said so before the tail was opened.
    ended: bool,
}

impl Reading {
    fn new(
        source: &Arc<dyn TranscriptSource>,
        view: &Snapshots,
        run: &ResourceName,
        attempt: u32,
        at: u64,
    ) -> Self {
        let (source, view, run) = (Arc::clone(source), view.clone(), run.clone());
        Self { source, view, run, attempt, at, tail: None, ended: false }
    }

    /// The next bytes; `None` when the attempt has ended and all was read.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(tail) = &mut self.tail else {
                self.ended = has_ended(&self.view.take(), &self.run, self.attempt);
                match self.source.open(&self.run, self.attempt, self.at) {
                    Ok(tail) => self.tail = Some(tail),
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Err(_none) if self.ended => return Ok(None),
                    Err(_not_yet) => self.wait().await?,
                }
                continue;
            };
            let read = if self.ended {
                // Not an end: who comes back goes on here, and nothing of it is passed over.
                tokio::time::timeout(LAST_READ_WITHIN, tail.next()).await??
            } else {
                let end = self.view.until(|view| has_ended(view, &self.run, self.attempt));
                tokio::select! {
                    biased;
                    read = tail.next() => read?,
                    // Opened anew, it is read to its end.
                    () = end => None,
                }
            };
            match read {
                Some(bytes) => {
                    self.at = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
                    return Ok(Some(bytes));
                }
                None if self.ended => return Ok(None),
                None => {
                    self.tail = None;
                    if !has_ended(&self.view.newest(), &self.run, self.attempt) {
                        self.wait().await?;
                    }
                }
            }
        }
    }

    /// Until something changes, or it is time to look again.
    async fn wait(&mut self) -> io::Result<()> {
        match tokio::time::timeout(LOOK_AGAIN, self.view.changed()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::ErrorKind::Interrupted.into()),
            Err(_elapsed) => Ok(()),
        }
    }
}

fn attempts<'v>(view: &'v View, run: &ResourceName) -> &'v [Attempt] {
    let record = view.runs.get(run).and_then(|it| it.record.as_ref());
    record.map_or(&[], |record| &record.attempts)
}

fn has_ended(view: &View, run: &ResourceName, attempt: u32) -> bool {
    // One that is not there any more has.
    attempts(view, run).iter().find(|it| it.number == attempt).is_none_or(|it| it.end.is_some())
}

/// The bytes of one attempt's transcript.
pub(super) fn log(
    api: Api,
    source: &Arc<dyn TranscriptSource>,
    run: &ResourceName,
    attempt: u32,
    follow: bool,
    permit: StreamPermit,
) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let reading = Reading::new(source, &api.faces().core.snapshots, run, attempt, 0);
    stream::unfold((reading, api, permit), move |(mut reading, api, permit)| async move {
        let is_live = !has_ended(&reading.view.newest(), &reading.run, reading.attempt);
        let read = tokio::select! {
            () = api.stopped() => return None,
            read = reading.next() => read,
            () = tokio::time::sleep(QUIET), if is_live && !follow => return None,
        };
        read.transpose().map(|read| (read, (reading, api, permit)))
    })
}

/// A run's turns as Server-Sent Events, behind `last`.
pub(super) fn turns(
    api: Api,
    source: &Arc<dyn TranscriptSource>,
    run: &ResourceName,
    last: Option<Place>,
    permit: StreamPermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let view = api.faces().core.snapshots.clone();
    let turns = Turns {
        source: Arc::clone(source),
        view,
        run: run.clone(),
        open: None,
        resume: last,
        done: 0,
        queue: VecDeque::new(),
        is_over: false,
    };
    // A stream of its own: it goes on where it was when a comment is sent between two events.
    let events: Pin<Box<dyn Stream<Item = Bytes> + Send>> =
        Box::pin(stream::unfold(turns, |mut turns| async {
            let event = turns.next().await?;
            Some((event, turns))
        }));
    stream::unfold((events, api, permit), |(mut events, api, permit)| async move {
        let event = tokio::select! {
            () = api.stopped() => return None,
            event = events.next() => event?,
            () = tokio::time::sleep(api.silence()) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok(event), (events, api, permit)))
    })
}

struct Turns {
    source: Arc<dyn TranscriptSource>,
    view: Snapshots,
    run: ResourceName,
    open: Option<Open>,
    // Where the listener was, until that attempt is opened.
    resume: Option<Place>,
    // The last attempt that was read to its end.
    done: u32,
    queue: VecDeque<Bytes>,
    is_over: bool,
}

/// The attempt that is being told.
struct Open {
    reading: Reading,
    parser: Parser,
    resume: Place,
}

impl Turns {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            match &mut self.open {
                Some(open) => match open.reading.next().await {
                    Ok(Some(bytes)) => {
                        let lines = open.parser.push(&bytes);
                        self.tell(lines);
                    }
                    Ok(None) => {
                        let last = open.parser.finish();
                        self.done = open.reading.attempt;
                        self.tell(last);
                        self.open = None;
                    }
                    // The operator ends.
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
                    Err(error) => {
                        let (run, attempt) = (&self.run, open.reading.attempt);
                        tracing::warn!(%run, attempt, %error, "failed to read a transcript");
                        return None;
                    }
                },
                None => self.open_next().await?,
            }
        }
    }

    /// Opens the next attempt, tells the end, or waits for one of both. `None`: the run is not there any more.
    async fn open_next(&mut self) -> Option<()> {
        let view = self.view.take();
        let run = view.runs.get(&self.run)?;
        let at = self.resume.map_or(self.done, |it| it.attempt.saturating_sub(1)).max(self.done);
        match attempts(&view, &self.run).iter().find(|it| it.number > at) {
            Some(attempt) => self.begin(attempt),
            None => match end(run) {
                Some(end) => {
                    self.queue.extend(event(&Turn::End(end), None));
                    self.is_over = true;
                }
                None => self.view.changed().await.then_some(())?,
            },
        }
        Some(())
    }

    fn begin(&mut self, attempt: &Attempt) {
        let number = attempt.number;
        let resume = self.resume.take().filter(|place| place.attempt == number);
        let place = resume.unwrap_or_else(|| Place::beginning(number));
        if resume.is_none() {
            let turn = AttemptTurn {
                number,
                kind: format!("{:?}", attempt.kind),
                session: attempt.session.to_string(),
            };
            self.queue.extend(event(&Turn::Attempt(turn), Some(place)));
        }
        self.open = Some(Open {
            reading: Reading::new(&self.source, &self.view, &self.run, number, place.offset),
            parser: Parser::starting_at(place.offset),
            resume: place,
        });
    }

    fn tell(&mut self, lines: impl IntoIterator<Item = Located>) {
        let Some(open) = &self.open else { return };
        for line in lines {
            let told = if line.offset == open.resume.offset { open.resume.told } else { 0 };
            let told = usize::try_from(told).unwrap_or(usize::MAX);
            let turns = Turn::located(open.resume.attempt, &line);
            let rest = turns.iter().skip(told);
            self.queue.extend(rest.filter_map(|(place, turn)| event(turn, Some(*place))));
        }
    }
}

fn end(run: &RunView) -> Option<EndTurn> {
    let end = run.record.as_ref()?.end.as_ref()?;
    Some(EndTurn {
        phase: end.phase.to_string(),
        reason: end.reason.clone(),
        message: end.message.clone(),
    })
}

/// One event. JSON has no newline in it, so its data is one line.
fn event(turn: &Turn, place: Option<Place>) -> Option<Bytes> {
    let (word, data) = turn.said()?;
    let id = place.map_or_else(String::new, |place| format!("id: {place}\n"));
    Some(format!("{id}event: {word}\ndata: {data}\n\n").into())
}
