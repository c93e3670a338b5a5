//! Named tasks: each is told to stop, awaited, and named when it ends on its own.
//!
//! A task that nobody awaits fails in silence; so nothing is spawned but here. The set stops all of its tasks when it is
//! dropped.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It returned.
    Returned,
    /// It panicked, with this message.
    Panicked(String),
    /// It did not end in time and was dropped.
    Overdue,
}

/// A task that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// How.
    pub ending: Ending,
}

/// The running tasks.
#[derive(Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    running: JoinSet<Ending>,
    names: Vec<(Id, String)>,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. It gets a token of its own, which is cancelled when everything stops, and should then end soon.
    pub fn spawn<F>(&mut self, name: impl Into<String>, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let body = AssertUnwindSafe(task(self.stop.child_token())).catch_unwind();
        let handle = self.running.spawn(async move {
            match body.await {
                Ok(()) => Ending::Returned,
                Err(panic) => Ending::Panicked(message(panic.as_ref())),
            }
        });
        self.names.push((handle.id(), name.into()));
    }

    /// Cancelled when everything stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// The next task that ends; `None` when there is none left. Nothing is lost when the wait is given up.
    pub async fn join(&mut self) -> Option<Ended> {
        let (id, ending) = match self.running.join_next_with_id().await? {
            Ok(ended) => ended,
            // Panics were caught above, and nothing is aborted while it is waited for: the runtime is going down.
            Err(error) => (error.id(), Ending::Overdue),
        };
        Some(Ended { name: self.forget(id), ending })
    }

    /// Tells every task to stop and waits for them until `deadline` is over. Answers those that did not end well.
    pub async fn shutdown(mut self, deadline: Duration) -> Vec<Ended> {
        self.stop.cancel();
        let mut bad = Vec::new();
        let all = async {
            while let Some(ended) = self.join().await {
                if ended.ending != Ending::Returned {
                    bad.push(ended);
                }
            }
        };
        // Being late is told by the names that are left.
        let _ = tokio::time::timeout(deadline, all).await;
        let overdue = self.names.drain(..);
        bad.extend(overdue.map(|(_, name)| Ended { name, ending: Ending::Overdue }));
        bad
    }

    fn forget(&mut self, id: Id) -> String {
        match self.names.iter().position(|(known, _)| *known == id) {
            Some(index) => self.names.swap_remove(index).1,
            None => String::new(),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn ended(name: &str, ending: Ending) -> Ended {
        Ended { name: name.to_owned(), ending }
    }

    #[tokio::test]
    async fn the_first_task_that_ends_is_named() {
        let mut tasks = Tasks::new();
        tasks.spawn("patient", |stop| async move { stop.cancelled().await });
        tasks.spawn("hasty", |_| async {});
        assert_eq!(tasks.join().await, Some(ended("hasty", Ending::Returned)));
        assert_eq!(tasks.shutdown(SOON).await, []);
    }

    #[tokio::test]
    async fn a_panic_is_told_with_the_name_and_the_message() {
        let mut tasks = Tasks::new();
        tasks.spawn("clumsy", |_| async { panic!("dropped {}", "it") });
        let panicked = Ending::Panicked("dropped it".to_owned());
        assert_eq!(tasks.join().await, Some(ended("clumsy", panicked)));
        assert_eq!(tasks.join().await, None);
    }

    #[tokio::test]
    async fn whoever_does_not_stop_in_time_is_named_and_dropped() {
        let mut tasks = Tasks::new();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("deaf", |_| async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tasks.spawn("polite", |stop| async move { stop.cancelled().await });
        let late = tasks.shutdown(Duration::from_millis(50)).await;
        assert_eq!(late, [ended("deaf", Ending::Overdue)]);
        assert!(dropped.await.is_err(), "the task must be gone");
    }

    #[tokio::test]
    async fn a_panic_while_stopping_is_told() {
        let mut tasks = Tasks::new();
        tasks.spawn("fragile", |stop| async move {
            stop.cancelled().await;
            panic!("at the door");
        });
        let panicked = Ending::Panicked("at the door".to_owned());
        assert_eq!(tasks.shutdown(SOON).await, [ended("fragile", panicked)]);
    }

    #[tokio::test]
    async fn dropping_the_set_stops_its_tasks() {
        let mut tasks = Tasks::new();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("forgotten", |_| async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(tasks);
        assert!(dropped.await.is_err());
    }
}
