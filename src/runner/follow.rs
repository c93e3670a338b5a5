//! A run's turns from its first to its end, whatever becomes of the connection in between.

use std::time::Duration;

use crate::http::client::{Client, ClientError, Events, TurnEvent};
use crate::resource::ResourceName;

/// How often a connection that broke is tried again: an operator that is restarted is back within seconds, one that is
/// upgraded within a minute.
const TRIES_MAX: u32 = 30;
/// Before the first try, and doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(200);
/// Thirty tries take two minutes then.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A run's turns. None is lost, and none comes twice, across restarts of the operator.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    run: ResourceName,
    last: Option<String>,
    events: Option<Events>,
    tries: u32,
    connected: bool,
}

impl Follow {
    pub(super) const fn new(client: Client, run: ResourceName) -> Self {
        Self { client, run, last: None, events: None, tries: 0, connected: false }
    }

    /// The next turn. Behind [`Turn::End`](super::Turn::End) there is none. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<TurnEvent, ClientError> {
        loop {
            let broke = match &mut self.events {
                None => match self.client.turns(&self.run, self.last.as_deref()).await {
                    Ok(events) => {
                        self.events = Some(events);
                        self.connected = true;
                        continue;
                    }
                    Err(error) => error,
                },
                Some(events) => match events.next().await {
                    Ok(Some(event)) => {
                        self.tries = 0;
                        if event.id.is_some() {
                            self.last.clone_from(&event.id);
                        }
                        return Ok(event);
                    }
                    Ok(None) => ClientError::Broken("the stream ended before the run did".into()),
                    Err(error) => error,
                },
            };
            self.events = None;
            // Who never answered is not waited for.
            if !self.connected || !may_pass(&broke) || self.tries >= TRIES_MAX {
                return Err(broke);
            }
            let pause = PAUSE.saturating_mul(1 << self.tries.min(10)).min(PAUSE_MAX);
            self.tries += 1;
            tokio::time::sleep(pause).await;
        }
    }
}

/// May another try do better? While the operator restarts, its socket is not there.
const fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::NoOperator(_)
        | ClientError::Connect(..)
        | ClientError::Timeout(..)
        | ClientError::Broken(_) => true,
        ClientError::Refused { code, .. } => matches!(code, 429 | 503 | 504),
        ClientError::Forbidden(_) | ClientError::Unreadable(_) => false,
    }
}
