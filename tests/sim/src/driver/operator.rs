//! The operator as a process: it begins, is killed, is told to end, and loses its state directory.

use std::sync::Arc;
use std::time::Duration;

use chanop::controller::input::Input;
use chanop::controller::view::View;
use chanop::controller::{Beginning, Controller};
use chanop::world::Settings;
use chanop::world::ownership::Holder;
use chanop::world::record::Loaded;

use super::{Happening, Sim};
use crate::rng::Rng;

impl Sim {
    pub(super) fn begin(&mut self) {
        if self.core.is_some() {
            return;
        }
        self.restarts_at = None;
        let (loaded, sources) = self.store.load();
        let process = uuid::Uuid::from_u128(u128::from(self.generation) + 1);
        self.check.restarted(&loaded);
        self.check.begins(process, &loaded);
        let beginning = Beginning {
            settings: Settings { process, ..self.settings.clone() },
            loaded,
            sources,
            scope: self.scope.clone(),
            takeover: self.takeover,
            seed: u64::from(self.generation) + 7,
        };
        self.born = self.now;
        self.view = Arc::new(View { blocked: Some("it begins".to_owned()), ..View::default() });
        self.core = Some(Controller::new(beginning));
        self.note("the operator begins");
        let generation = self.generation;
        let first = self.now + self.rng.millis(1, 200 + self.luck.slow);
        self.at(first, Happening::Periodic { generation });
        self.feed(Input::Tick);
    }

    /// `kill -9`, and a new one after a while.
    pub fn crash(&mut self, back_after: Duration) {
        self.crash_where(back_after, |rng| rng.permille(500));
    }

    /// `kill -9`, after which all that is on its way is carried out, or none of it.
    pub fn crash_and(&mut self, arrives: bool, back_after: Duration) {
        self.crash_where(back_after, |_| arrives);
    }

    /// `kill -9`; `arrives` says of each request and commit on its way whether it is carried out.
    pub(super) fn crash_where(
        &mut self,
        back_after: Duration,
        mut arrives: impl FnMut(&mut Rng) -> bool,
    ) {
        let Some(core) = self.core.take() else { return };
        self.marks.extend(core.marks());
        self.note("the operator is killed");
        self.generation += 1;
        self.wake = None;
        self.stream = None;
        self.following.clear();
        self.committing.clear();
        // Its requests may be in the engine's socket still.
        let flying: Vec<u64> = self.flying.keys().copied().collect();
        for call in flying {
            if !arrives(&mut self.rng) {
                self.flying.remove(&call);
            } else if let Some(flight) = self.flying.get_mut(&call) {
                flight.answers = false;
            }
        }
        // A commit on its way is durable or not.
        let commits: Vec<(Duration, u64)> = self
            .happenings
            .iter()
            .filter(|(_, happening)| matches!(happening, Happening::Durable { .. }))
            .map(|(at, _)| *at)
            .collect();
        for at in commits {
            if let Some(Happening::Durable { writes, fails, .. }) = self.happenings.remove(&at)
                && arrives(&mut self.rng)
                && !fails
                && !self.store.failing
            {
                self.make_durable(writes);
            }
        }
        let at = self.now + back_after;
        self.restarts_at = Some(at);
        self.at(at, Happening::Restart);
    }

    /// An operator with `--takeover` takes the instance; `None`: `docker volume prune` takes the anchor.
    pub fn take_anchor(&mut self, holder: impl Into<Option<Holder>>) {
        self.engine.anchor = holder.into();
        self.check.holder_is(self.now, self.engine.anchor.as_ref());
    }

    /// SIGTERM: it begins nothing more.
    pub fn shut_down(&mut self) {
        self.note("the operator is told to end");
        self.feed(Input::Shutdown);
    }

    /// The state directory is lost; what follows has another.
    pub fn lose_store(&mut self) {
        self.note("the state directory is lost");
        let number = self.generation + 2;
        self.store.durable =
            Loaded { state_id: format!("state-{number}"), fresh: true, ..Loaded::default() };
        self.engine.lose_run_directories();
        self.check.store_lost();
    }
}
