//! B3: after a failure nothing is changed before its time, whatever events come.
//!
//! The shortest waits of each class, without growth: that they grow is told by the scenarios' numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use chanop::controller::effect::Call;
use chanop::controller::input::{Answer, Failure};
use chanop::resource::condition::Reason;

#[derive(Debug, Clone, Copy)]
struct Gate {
    until: Duration,
    /// Closed by the engine's failure, and opened by its return.
    engine: bool,
    /// A removal of what failed does not open it.
    lasts: bool,
}

/// By channel.
#[derive(Debug, Default)]
pub(super) struct Gates(BTreeMap<String, Gate>);

impl Gates {
    /// Its file says something else now.
    pub(super) fn open(&mut self, channel: &str) {
        self.0.remove(channel);
    }

    /// A list came: the engine answers.
    pub(super) fn engine_is_back(&mut self) {
        self.0.retain(|_, gate| !gate.engine);
    }

    /// Why nothing may be changed.
    pub(super) fn closed(&self, channel: &str, now: Duration) -> Option<String> {
        let gate = self.0.get(channel).filter(|gate| gate.until > now)?;
        Some(format!("{} ms too early after a failure", (gate.until - now).as_millis()))
    }

    /// A call was answered.
    pub(super) fn answered(
        &mut self,
        channel: &str,
        now: Duration,
        call: &Call,
        answer: &Result<Answer, Failure>,
    ) {
        if !call.mutates() {
            return;
        }
        let (millis, engine, lasts) = match answer {
            Ok(_) => {
                let lasts = self.0.get(channel).is_some_and(|gate| gate.lasts);
                let opens = matches!(call, Call::Start { .. } | Call::Update { .. })
                    || matches!(call, Call::Remove { .. }) && !lasts;
                if opens {
                    self.0.remove(channel);
                }
                return;
            }
            // It is brought.
            Err(Failure::Refused(Reason::ImageMissing, _))
                if matches!(call, Call::Create { .. }) =>
            {
                return;
            }
            Err(Failure::NotFound(_)) if !matches!(call, Call::Create { .. }) => return,
            Err(Failure::NameTaken(_) | Failure::Conflict(_)) => (25, false, false),
            Err(Failure::NotFound(_) | Failure::Refused(..) | Failure::Failed(..)) => {
                (2_500, false, true)
            }
            Err(Failure::NoSpace(_)) => (15_000, false, false),
            Err(Failure::Unknown(_) | Failure::Unreachable(_)) => (100, true, false),
        };
        let until = now + Duration::from_millis(millis);
        // What is over by then hides no later failure.
        let longer = |old: &&Gate| old.lasts && !lasts && old.until > until;
        let longer = self.0.get(channel).filter(longer).is_some();
        if !longer {
            self.0.insert(channel.to_owned(), Gate { until, engine, lasts });
        }
    }
}
