//! When containers died, by the engine's own word.

use std::sync::{Arc, Mutex, PoisonError};

use chanop::container::{ContainerId, label};
use chanop::docker::Engine as _;
use chanop::docker::engine::{ContainerEvent, EngineEvent};
use futures_util::StreamExt as _;

use crate::Bench;
use crate::engine::Real;

/// The `die` events of one instance, oldest first.
#[derive(Debug)]
pub(crate) struct Deaths(Arc<Mutex<Vec<ContainerEvent>>>);

impl Deaths {
    /// From now on. The task ends with the runtime.
    pub(crate) fn follow(bench: &Bench, real: &Real, instance: &str) -> Self {
        let seen: Arc<Mutex<Vec<ContainerEvent>>> = Arc::default();
        let known = Arc::clone(&seen);
        let mut events = real.docker().events(label::INSTANCE, instance, bench.clock.now().wall);
        bench.runtime.spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                if let EngineEvent::Container(event) = event
                    && event.action == "die"
                {
                    known.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                }
            }
        });
        Self(seen)
    }

    /// The last one of this container, in nanoseconds since 1970.
    pub(crate) fn of(&self, id: &ContainerId) -> Option<i128> {
        self.last(|event| event.id == *id)
    }

    /// The last one of this run.
    pub(crate) fn of_run(&self, run: &str) -> Option<i128> {
        self.last(|event| event.labels.get(label::RUN).is_some_and(|it| it == run))
    }

    fn last(&self, is_it: impl Fn(&ContainerEvent) -> bool) -> Option<i128> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().rfind(|event| is_it(event)).map(|event| i128::from(event.time_nano))
    }
}
