//! The core as the faces know it: the newest snapshot, and a mailbox for requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::controller::request::{Reply, Request};
use crate::controller::view::View;

/// Something asked, and whom to tell.
pub type Question = (Request, oneshot::Sender<Reply>);

/// The snapshots as they come.
///
/// Each is handed out as its own reference. Whoever looked at one within the channel would hold its lock; who did so twice at once, with the core
/// about to publish between the two, would stop the core, and then everyone.
#[derive(Debug, Clone)]
pub struct Snapshots(watch::Receiver<Arc<View>>);

impl Snapshots {
    /// Those of this channel.
    pub const fn new(newest: watch::Receiver<Arc<View>>) -> Self {
        Self(newest)
    }

    /// The newest one.
    pub fn newest(&self) -> Arc<View> {
        Arc::clone(&self.0.borrow())
    }

    /// The newest one, which is no change any more.
    pub fn take(&mut self) -> Arc<View> {
        Arc::clone(&self.0.borrow_and_update())
    }

    /// Whatever was taken, there is a change.
    pub fn mark_changed(&mut self) {
        self.0.mark_changed();
    }

    /// Until there is another than the one that was taken; `false`: there will be none. Cancelled, it takes nothing.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Until one is as wished, or there will be none.
    pub async fn until(&mut self, is_so: impl Fn(&View) -> bool) {
        let _gone = self.0.wait_for(|view| is_so(view)).await.is_err();
    }
}

/// The way to the core.
#[derive(Debug, Clone)]
pub struct CoreHandle {
    /// The snapshots as they come.
    pub snapshots: Snapshots,
    /// Requests; the wiring brings the answer back.
    pub requests: mpsc::Sender<Question>,
    /// Where clients reach the engine themselves, for `exec`.
    pub engine_endpoint: String,
}

/// Why the core gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoreUnavailable {
    /// Its mailbox is full.
    #[error("the operator has too many requests waiting; try again")]
    Busy,
    /// It is on its way out.
    #[error("the operator is shutting down")]
    Gone,
    /// No answer in time. What was asked may yet be done.
    #[error("the operator has not answered in {} s; what was asked may yet be done", .0.as_secs())]
    Late(Duration),
}

impl CoreHandle {
    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<View> {
        self.snapshots.newest()
    }

    /// Asks, and waits at most `patience` for the answer.
    pub async fn ask(
        &self,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, CoreUnavailable> {
        let (reply_to, reply) = oneshot::channel();
        // A full mailbox is told at once: whoever waits in line here would hold a connection for nothing.
        self.requests.try_send((request, reply_to)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CoreUnavailable::Busy,
            mpsc::error::TrySendError::Closed(_) => CoreUnavailable::Gone,
        })?;
        tokio::time::timeout(patience, reply)
            .await
            .map_err(|_elapsed| CoreUnavailable::Late(patience))?
            .map_err(|_dropped| CoreUnavailable::Gone)
    }
}
