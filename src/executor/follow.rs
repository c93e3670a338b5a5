//! The engine's events, as doorbells.
//!
//! The engine waits for every listener, with the container's lock held: so this task does nothing but hand on, and the
//! mailbox is wide. Should the core be so far behind that the mailbox is full, the engine's own ring drops events, and the
//! core's list of every minute makes up for it.

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::container::{Identity, label};
use crate::controller::input::{Doorbell, Input, Seq, StreamEvent};
use crate::docker::Engine;
use crate::docker::engine::EngineEvent;
use crate::resource::ResourceName;

/// Hands on events until the stream ends or nobody listens.
pub async fn follow<E: Engine>(
    engine: E,
    instance: ResourceName,
    epoch: Seq,
    since: Timestamp,
    mailbox: mpsc::Sender<Input>,
) {
    let mut events = engine.events(label::INSTANCE, instance.as_str(), since);
    let mut end = "the engine closed the event stream".to_owned();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(EngineEvent::Opened) => StreamEvent::Opened,
            Ok(EngineEvent::Container(event)) => StreamEvent::Container(Doorbell {
                id: event.id,
                object: Identity::object_of(&event.labels),
                action: event.action,
                exit_code: event.exit_code,
                time_nano: event.time_nano,
            }),
            Err(error) => {
                end = error.to_string();
                break;
            }
        };
        if mailbox.send(Input::Stream { epoch, event }).await.is_err() {
            return;
        }
    }
    let ended = Input::Stream { epoch, event: StreamEvent::Ended(end) };
    drop(mailbox.send(ended).await);
}
