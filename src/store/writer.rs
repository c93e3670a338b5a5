//! The store on a thread of its own: commits from async code, grouped.
//!
//! A durable commit costs one wait for the disk, whatever is in it. While the thread waits for one, callers queue; it then
//! takes all that is there into a single transaction and answers each. A lone commit is never held back for company.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Store, StoreError};
use crate::world::record::Write;

/// How many commits may queue. The core has one in flight a key, so a house of 250 channels never waits for a place;
/// beyond that waiting is right, since the disk is the bottleneck.
const MAILBOX: usize = 256;

type Answer = Result<(), StoreError>;

#[derive(Debug)]
enum Request {
    Commit { writes: Vec<Write>, answer: oneshot::Sender<Answer> },
    Close { answer: oneshot::Sender<Answer> },
}

/// Where commits are handed in. Clones share one writer.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    requests: mpsc::Sender<Request>,
}

impl StoreHandle {
    /// Returns when all of `writes` are on the disk, or none can be counted on. They are written even when the caller
    /// stops waiting.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Commit { writes, answer };
        self.requests.send(request).await.map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// The running writer: what ends it.
#[derive(Debug)]
pub struct StoreWriter {
    requests: mpsc::Sender<Request>,
}

impl StoreWriter {
    /// Writes what was handed in before, checkpoints, closes the database and lets go of the state directory. Later
    /// commits are answered with [`StoreError::Closed`].
    pub async fn close(self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Close { answer };
        self.requests.send(request).await.map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Moves the store to its thread. It ends after [`StoreWriter::close`], or when nobody can reach it any more.
pub fn start(store: Store) -> Result<(StoreHandle, StoreWriter), StoreError> {
    let (requests, received) = mpsc::channel(MAILBOX);
    let path = store.path.clone();
    thread::Builder::new()
        .name("chanop-store".to_owned())
        .spawn(move || run(store, received))
        .map_err(|error| StoreError::io("start the writer of", &path, error))?;
    Ok((StoreHandle { requests: requests.clone() }, StoreWriter { requests }))
}

fn run(mut store: Store, mut received: mpsc::Receiver<Request>) {
    while let Some(first) = received.blocking_recv() {
        let group = Group::gather(first, &mut received);
        let outcome = store.commit(&group.writes);
        for answer in group.answers {
            // Whoever no longer waits does not need to know.
            let _ = answer.send(outcome.clone());
        }
        if let Some(closer) = group.close {
            received.close();
            let _ = closer.send(store.close());
            return;
        }
    }
    if let Err(error) = store.close() {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the store was not closed cleanly"
        );
    }
}

/// All that was queued when the thread looked.
#[derive(Debug, Default)]
struct Group {
    writes: Vec<Write>,
    answers: Vec<oneshot::Sender<Answer>>,
    close: Option<oneshot::Sender<Answer>>,
}

impl Group {
    fn gather(first: Request, received: &mut mpsc::Receiver<Request>) -> Self {
        let mut group = Self::default();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Commit { writes, answer } => {
                    group.writes.extend(writes);
                    group.answers.push(answer);
                }
                Request::Close { answer } => {
                    group.close = Some(answer);
                    break;
                }
            }
            // Bounded by the mailbox, so that one group cannot grow for ever while callers keep coming.
            next = if group.answers.len() < MAILBOX { received.try_recv().ok() } else { None };
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(requests: &mpsc::Sender<Request>, key: &str) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let writes = vec![Write::Meta(key.to_owned(), String::new())];
        requests.try_send(Request::Commit { writes, answer }).unwrap();
        answered
    }

    fn gather(received: &mut mpsc::Receiver<Request>) -> Group {
        let first = received.try_recv().unwrap();
        Group::gather(first, received)
    }

    #[test]
    fn all_that_waits_becomes_one_transaction_in_its_order() {
        let (requests, mut received) = mpsc::channel(MAILBOX);
        let waiting: Vec<_> = ["a", "b", "c"].map(|key| commit(&requests, key)).into();
        let group = gather(&mut received);
        let keys = ["a", "b", "c"].map(|key| Write::Meta(key.to_owned(), String::new()));
        assert_eq!(group.writes, keys);
        assert_eq!(group.answers.len(), waiting.len());
        assert!(group.close.is_none());
    }

    #[test]
    fn what_comes_after_the_close_is_not_written() {
        let (requests, mut received) = mpsc::channel(MAILBOX);
        let _before = commit(&requests, "before");
        let (answer, _closed) = oneshot::channel();
        requests.try_send(Request::Close { answer }).unwrap();
        let _after = commit(&requests, "after");
        let group = gather(&mut received);
        assert_eq!(group.writes, [Write::Meta("before".to_owned(), String::new())]);
        assert!(group.close.is_some());
    }
}
