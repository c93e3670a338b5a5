//! The core as the faces know it: the newest snapshot, and a mailbox for requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::controller::request::{Reply, Request};
use crate::controller::view::View;

/// Something asked, and whom to tell.
pub type Question = (Request, oneshot::Sender<Reply>);

/// The way to the core.
#[derive(Debug, Clone)]
pub struct CoreHandle {
    /// The newest snapshot.
    pub view: watch::Receiver<Arc<View>>,
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
        Arc::clone(&self.view.borrow())
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
