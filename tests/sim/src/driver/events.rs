//! The event stream: what is told late, twice, out of order or not at all.

use std::time::Duration;

use chanop::controller::input::Seq;

use super::{Happening, Sim};
use crate::engine::Event;

impl Sim {
    // Events.

    pub(super) fn subscribe(&mut self, epoch: Seq) {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.epoch == epoch) else {
            return;
        };
        stream.subscribed = true;
        let since = stream.since;
        let replay: Vec<Event> =
            self.engine.ring.iter().filter(|event| event.at >= since).cloned().collect();
        for event in replay {
            self.deliver(epoch, event);
        }
    }

    pub(super) fn spread_news(&mut self) {
        let news = std::mem::take(&mut self.engine.news);
        let Some(stream) = self.stream.filter(|stream| stream.subscribed) else { return };
        for event in news {
            self.deliver(stream.epoch, event);
        }
    }

    pub(super) fn deliver(&mut self, epoch: Seq, event: Event) {
        if self.deaf || event.doorbell.is_none() || self.rng.permille(self.luck.event_lost) {
            return;
        }
        self.counted.events += 1;
        let number = self.counted.events;
        if self.planned.event.take_if(|planned| *planned == number).is_some() {
            return;
        }
        let generation = self.generation;
        if self.rng.permille(self.luck.event_twice) {
            let again = self.soon();
            self.at(again, Happening::Ring { generation, epoch, event: event.clone() });
        }
        let mut at = self.soon();
        if self.rng.permille(self.luck.event_late) {
            at += self.rng.millis(1, 5_000);
        }
        self.at(at, Happening::Ring { generation, epoch, event });
    }

    /// `docker network disconnect`.
    pub fn disconnect_by_hand(&mut self, id: &chanop::container::ContainerId) {
        self.engine.disconnect(id);
        self.check.tampered.insert(id.clone());
    }

    /// The event stream breaks.
    pub fn cut_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.note("the event stream breaks");
            let generation = self.generation;
            self.at(self.now, Happening::Ended { generation, epoch: stream.epoch });
        }
    }

    /// The daemon goes, and comes back.
    pub fn restart_engine(&mut self, live_restore: bool, back_after: Duration) {
        // The engine invents the codes of what it no longer saw ending.
        let code = self.rng.pick(&[255, 137, 143, 0]).copied().unwrap_or(255);
        let code = if code == 0 { self.engine.made_up_code() } else { code };
        self.goes_and_comes(live_restore, code, back_after);
    }

    /// The daemon goes, ends what runs, says that it ended with this code, and comes back.
    pub fn restart_engine_with(&mut self, code: i64, back_after: Duration) {
        self.goes_and_comes(false, code, back_after);
    }

    fn goes_and_comes(&mut self, live_restore: bool, code: i64, back_after: Duration) {
        if self.engine.down {
            return;
        }
        self.note(format!("the engine goes down (live restore: {live_restore}, {code})"));
        self.engine.agents.loses_exits = code == self.engine.made_up_code();
        self.engine.go_down(live_restore, code);
        self.cut_stream();
        self.at(self.now + back_after, Happening::EngineUp);
    }
}
