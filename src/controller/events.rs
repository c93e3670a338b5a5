//! What is worth telling, on record.

use super::{Controller, EVENTS_MAX};
use crate::resource::Now;
use crate::world::record::{EventRecord, Write};

impl Controller {
    /// Puts something worth telling on record, once, with a count.
    pub(super) fn record(
        &mut self,
        now: Now,
        object: &str,
        warning: bool,
        reason: &str,
        message: &str,
    ) {
        let event = self.event(now, object, warning, reason, message);
        self.unsaved.push(event);
    }

    /// The same, for one who decides when it is written.
    pub(super) fn event(
        &mut self,
        now: Now,
        object: &str,
        warning: bool,
        reason: &str,
        message: &str,
    ) -> Write {
        let same = |event: &EventRecord| {
            event.object == object && event.reason == reason && event.message == message
        };
        let record = match self.events.iter().rposition(same) {
            Some(at) => {
                let mut record = self.events.remove(at);
                record.count += 1;
                record.last = now.wall;
                record
            }
            None => EventRecord {
                object: object.to_owned(),
                warning,
                reason: reason.to_owned(),
                message: message.to_owned(),
                count: 1,
                first: now.wall,
                last: now.wall,
            },
        };
        self.events.push(record.clone());
        if self.events.len() > EVENTS_MAX {
            self.events.remove(0);
        }
        self.view_dirty = true;
        Write::Event(record)
    }
}
