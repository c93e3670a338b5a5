//! Calls: what becomes of each on its way to the engine and back.

use std::collections::BTreeMap;
use std::time::Duration;

use chanop::controller::effect::Call;
use chanop::controller::input::{Answer, Failure, Input, Seq};
use chanop::resource::condition::Reason;
use chanop::resource::{Kind, ObjectRef};

use super::{Happening, Logged, OnItsWay, Sim};

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Fine,
    /// It is done, and answered so much later.
    Late(Duration),
    /// It never arrives; nobody knows.
    Lost,
    /// It is done, and its answer is lost.
    AnswerLost,
    /// Given up now, done after so long.
    Zombie(Duration),
    /// Nothing is heard until its time is up; it is never done.
    Hangs,
    /// The engine cannot be reached.
    Unreachable,
    /// The engine refuses.
    Refused(Reason),
    /// Its disk is full.
    NoSpace,
    /// Its state does not allow it.
    Conflict,
    /// The engine fails at it (500), and has not done it.
    Failed,
    /// What it is about vanishes just before: 404.
    Gone,
    /// It was done already: 304, or a create whose name our own container has.
    Already,
    /// A stranger takes the name just before, and leaves again after a while.
    Taken,
    /// The engine is killed between the process's begin and its note of it, and is back after a second.
    Forgotten,
}

impl Fate {
    /// Is the call carried out, and its answer heard?
    const fn is_heard(&self) -> bool {
        matches!(self, Self::Fine | Self::Late(_) | Self::Gone | Self::Already | Self::Taken)
    }

    /// Can this become of the call?
    pub fn suits(&self, word: &str) -> bool {
        match self {
            Self::Taken => word == "create",
            Self::Already => matches!(word, "create" | "start" | "stop" | "remove" | "update"),
            Self::Gone => matches!(
                word,
                "create" | "start" | "stop" | "remove" | "update" | "inspect" | "anchor" | "prompt"
            ),
            Self::Forgotten => word == "start",
            Self::Conflict => matches!(word, "start" | "stop" | "remove" | "update"),
            Self::NoSpace => matches!(word, "create" | "start" | "update" | "pull"),
            Self::Failed => !matches!(word, "ping" | "probe" | "info" | "list" | "inspect"),
            Self::Refused(_) => !matches!(word, "ping" | "probe" | "info" | "list" | "anchor"),
            Self::Fine
            | Self::Late(_)
            | Self::Lost
            | Self::AnswerLost
            | Self::Zombie(_)
            | Self::Hangs
            | Self::Unreachable => word != "probe",
        }
    }
}

/// The faults of one case of an exhaustive search: counted, not drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// The operator is killed after so many effects; and is what is on its way then still done?
    pub crash: Option<(u64, bool)>,
    /// What becomes of the call of this number.
    pub answer: Option<(u64, Fate)>,
    /// The event of this number is not told.
    pub event: Option<u64>,
}

/// What was counted: the numbers that a plan can name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Effects that do something.
    pub effects: u64,
    /// Every call but pings and looks at the host, by its word.
    pub calls: Vec<&'static str>,
    /// Events told.
    pub events: u64,
}

/// A stranger on our name leaves after this.
const STRANGER_STAYS: Duration = Duration::from_secs(20);

/// As the executor is told in production.
const STALLED_AFTER: Duration = Duration::from_mins(2);

impl Sim {
    // Calls.

    pub(super) fn roll(&mut self, call: &Call) -> Fate {
        if matches!(
            call,
            Call::Ping | Call::Probe(_) | Call::CheckMounts(_) | Call::RemoveSecrets { .. }
        ) {
            // A plan names none of them: there would be as many cases as minutes.
        } else {
            let number = self.counted.calls.len() as u64;
            self.counted.calls.push(call.word());
            if let Some((_, fate)) = self.planned.answer.take_if(|(planned, _)| *planned == number)
            {
                return fate;
            }
        }
        if let Some(at) = self.fates.iter().position(|(word, _)| *word == call.word()) {
            return self.fates.remove(at).map_or(Fate::Fine, |(_, fate)| fate);
        }
        if matches!(call, Call::Probe(_) | Call::CheckMounts(_) | Call::RemoveSecrets { .. }) {
            return Fate::Fine;
        }
        if self.engine.down {
            return Fate::Unreachable;
        }
        if self.rng.permille(self.luck.unknown) {
            return match self.rng.below(4) {
                0 => Fate::Lost,
                1 | 2 => Fate::AnswerLost,
                _ => Fate::Hangs,
            };
        }
        if self.rng.permille(self.luck.zombie) {
            return Fate::Zombie(self.rng.millis(1, 20_000));
        }
        let is_look = matches!(call, Call::Inspect(_) | Call::InspectName(_));
        if is_look && self.rng.permille(self.luck.refused / 4) {
            return Fate::Refused(Reason::HostFailed);
        }
        if call.mutates() && self.rng.permille(self.luck.refused) {
            let fate = match self.rng.below(8) {
                0 => Fate::NoSpace,
                1 => Fate::Conflict,
                2 => Fate::Refused(Reason::HostFailed),
                3 => Fate::Failed,
                4 => Fate::Gone,
                5 => Fate::Already,
                6 => Fate::Taken,
                _ => Fate::Unreachable,
            };
            return if fate.suits(call.word()) { fate } else { Fate::Unreachable };
        }
        Fate::Fine
    }

    pub(super) fn send(
        &mut self,
        seq: Seq,
        subject: Option<ObjectRef>,
        call: Call,
        timeout: Duration,
        cause: &str,
    ) {
        self.counter += 1;
        let number = self.counter;
        let target = subject.as_ref().map_or(String::new(), |it| format!(" {}", key_of(it)));
        let fate = self.roll(&call);
        let is_image = matches!(call, Call::BringImage(_));
        if !matches!(call, Call::Ping | Call::Probe(_) | Call::CheckMounts(_)) {
            self.note(format!("core: {}{target} ({cause}) [{fate:?}]", call.word()));
        }
        self.calls.push(Logged {
            at: self.now,
            channel: subject.as_ref().map(key_of),
            word: call.word(),
            mutates: call.mutates(),
        });
        self.check.sent(number, self.now, subject.as_ref(), &call, &self.engine, &self.settings);
        let generation = self.generation;
        let flight = OnItsWay {
            generation,
            seq,
            subject,
            call,
            sent: self.now,
            answers: fate.is_heard(),
            fate: fate.clone(),
        };
        self.flying.insert(number, flight);
        let unknown = || Err(Failure::Unknown("timed out".to_owned()));
        let mut done = self.soon();
        if is_image && self.luck.slow > 100 {
            // Long enough for others to be asked for meanwhile.
            done += self.rng.millis(0, 20_000);
        }
        match fate {
            Fate::Fine | Fate::Late(_) | Fate::Gone | Fate::Already | Fate::Taken => {
                self.at(done, Happening::Execute { call: number });
            }
            Fate::Failed => {
                let message = "500 Internal Server Error".to_owned();
                self.later(done, number, Err(Failure::Failed(Reason::HostFailed, message)));
            }
            Fate::Lost => self.later(done, number, unknown()),
            Fate::AnswerLost | Fate::Forgotten => {
                self.at(done, Happening::Execute { call: number });
                let answered = done + self.rng.millis(0, 50);
                self.later(answered, number, unknown());
            }
            Fate::Zombie(after) => {
                self.at(done + after, Happening::Execute { call: number });
                self.later(done, number, unknown());
            }
            // The executor gives up what does not advance.
            Fate::Hangs if is_image => self.later(self.now + STALLED_AFTER, number, unknown()),
            Fate::Hangs => self.later(self.now + timeout, number, unknown()),
            Fate::Unreachable => {
                self.later(
                    done,
                    number,
                    Err(Failure::Unreachable("connection refused".to_owned())),
                );
            }
            Fate::Refused(reason) => {
                self.later(done, number, Err(Failure::Refused(reason, "refused".to_owned())));
            }
            Fate::NoSpace => {
                self.later(done, number, Err(Failure::NoSpace("no space left".to_owned())));
            }
            Fate::Conflict => {
                self.later(done, number, Err(Failure::Conflict("conflict".to_owned())));
            }
        }
    }

    pub(super) fn later(&mut self, at: Duration, call: u64, answer: Result<Answer, Failure>) {
        let generation = self.generation;
        self.at(at, Happening::Answer { generation, call, answer });
    }

    pub(super) fn execute(&mut self, number: u64) {
        let Some(flight) = self.flying.get(&number) else { return };
        let (call, answers) = (flight.call.clone(), flight.answers);
        let late = if let Fate::Late(late) = flight.fate { late } else { Duration::ZERO };
        if let Call::Probe(wanted) = &call {
            let facts = self.host.probe(wanted);
            if self.probed.as_ref() != Some(&facts) {
                self.check.asked();
                self.probed = Some(facts.clone());
            }
            let at = self.soon();
            return self.later(at, number, Ok(Answer::Facts(facts)));
        }
        if let Call::RemoveSecrets { of, .. } = &call {
            self.check.secrets_removed(of, &self.engine, &self.settings);
            self.host.secrets_removed.push(of.clone());
            let at = self.soon() + late;
            return self.later(at, number, Ok(Answer::Done));
        }
        if let Call::CheckMounts(channels) = &call {
            let changes = self.host.mount_changes(&self.engine, &self.settings.instance, channels);
            let at = self.soon() + late;
            return self.later(at, number, Ok(Answer::MountChanges(changes)));
        }
        if let Call::ReadPrompt(file) = &call {
            self.just_before(number);
            let answer = self.read_prompt(file.as_str());
            if answers {
                let at = self.soon() + late;
                self.later(at, number, answer);
            }
            return;
        }
        if !self.engine.down {
            self.just_before(number);
        }
        let late = late + self.stubbornness(&call);
        if matches!(call, Call::List) && self.rng.permille(self.luck.stale_list) {
            self.note("engine: the list before the last");
            self.engine.stale_once = true;
        }
        let answer = if self.engine.down {
            Err(Failure::Unknown("connection reset".to_owned()))
        } else {
            self.engine.execute(&self.settings.instance, &call)
        };
        if let Ok(Answer::Created(id)) = &answer {
            self.check.created(number, id);
        }
        self.check.executed(&self.engine, self.settings.max_runs);
        self.check.holder_is(self.now, self.engine.anchor.as_ref());
        if call.mutates() && !answers {
            self.note(format!("engine: does {} all the same: {}", call.word(), answer.is_ok()));
        }
        if let Ok(Answer::Anchor(_)) = &answer {
            self.takeover = false;
        }
        if answers {
            // A long list takes its time to be told.
            let more = if matches!(call, Call::List) { 4 * self.luck.slow } else { 0 };
            let at = self.soon() + self.rng.millis(0, more) + late;
            self.later(at, number, answer);
        } else if flight_is_over(&self.flying, number, self.generation) {
            self.flying.remove(&number);
        }
    }

    /// What others did in the moment before the call arrived.
    fn just_before(&mut self, number: u64) {
        let Some(flight) = self.flying.get_mut(&number) else { return };
        let fate = std::mem::replace(&mut flight.fate, Fate::Fine);
        let call = flight.call.clone();
        match (fate, &call) {
            (Fate::Gone, Call::Create { target, .. }) => {
                self.engine.images.remove(&target.config.image);
            }
            (Fate::Gone, Call::CreateRun { target, .. }) => {
                self.engine.images.remove(&target.target.config.image);
            }
            (Fate::Gone, Call::ReadPrompt(file)) => {
                self.tree.prompts.remove(file.as_str());
            }
            (Fate::Forgotten, Call::Start { id, .. }) => self.forgets(id),
            (Fate::Gone, Call::Anchor(_)) => self.engine.anchor = None,
            (Fate::Gone, Call::InspectName(name)) => {
                if let Some(id) = self.engine.named(name).map(|found| found.id.clone()) {
                    self.engine.remove_by_hand(&id);
                }
            }
            (
                Fate::Gone,
                Call::Inspect(id)
                | Call::Start { id, .. }
                | Call::Stop { id, .. }
                | Call::Remove { id, .. }
                | Call::Update { id, .. },
            ) => self.engine.remove_by_hand(id),
            (Fate::Already, _) => {
                let answer = self.engine.execute(&self.settings.instance, &call);
                if let Ok(Answer::Created(id)) = answer {
                    self.check.created(number, &id);
                }
            }
            (Fate::Taken, Call::Create { name, .. } | Call::CreateRun { name, .. }) => {
                let stranger = self.engine.create_by_hand(name, BTreeMap::new());
                if let Some(stranger) = stranger {
                    self.at(self.now + STRANGER_STAYS, Happening::Leaves(stranger));
                }
            }
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, number: u64, answer: Result<Answer, Failure>) {
        let Some(flight) = self.flying.get(&number) else { return };
        if flight.generation != self.generation {
            return;
        }
        let (seq, subject, call) = (flight.seq, flight.subject.clone(), flight.call.clone());
        let (sent, answers) = (flight.sent, flight.answers);
        if let Err(failure) = &answer {
            let target = subject.as_ref().map_or(String::new(), |it| format!(" {}", key_of(it)));
            self.note(format!("answer: {}{target}: {failure:?}", call.word()));
        }
        self.check.answered(
            number,
            self.now,
            sent,
            subject.as_ref(),
            &call,
            &answer,
            &self.settings,
        );
        // A zombie is still to be done.
        if answers {
            self.flying.remove(&number);
        }
        self.feed(Input::Answered { seq, answer });
    }
}

/// How a subject is called in the log: a channel by its name alone.
pub fn key_of(subject: &ObjectRef) -> String {
    match subject.kind {
        Kind::Channel => subject.name.to_string(),
        _ => subject.to_string(),
    }
}

fn flight_is_over(flying: &BTreeMap<u64, OnItsWay>, number: u64, generation: u32) -> bool {
    flying.get(&number).is_some_and(|flight| flight.generation != generation)
}
