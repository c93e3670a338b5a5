//! The processes of run containers: what they print and when they end, by themselves or because somebody ends them; and the
//! truth of all of it, which outlives containers and is what the operator's records are held against.
//!
//! `chanop-init`'s part is here too: its start guard, which lets the agent run once for each attempt's directory on the host,
//! and its own record of the end. Both can be switched off: the core must keep its promises without them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chanop::claude::command::Session;
use chanop::container::{ContainerId, ContainerState, label};
use chanop::world::run::{ExitRecord, RunTarget, Task};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Engine, wall};
use crate::work::{Script, Work};

/// What init ends with when the guard says that the agent ran already.
pub const REFUSED_BY_GUARD: i64 = 254;
/// An agent that is silent for so long after its final result may be ended.
pub const STAYS: Duration = Duration::from_secs(30);
/// It takes so long for that.
const REFUSES_WITHIN: Duration = Duration::from_millis(10);

/// Who made a process begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// The operator's call.
    Operator,
    /// A person.
    Person,
    /// A restart policy that a person set.
    Policy,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By itself; or the kernel killed the agent, and init saw it.
    ByItself,
    /// TERM, which init passes on.
    Term,
    /// KILL, to all of the container.
    Kill,
}

/// What a run container is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// The channel.
    pub channel: String,
    /// The run.
    pub run: String,
    /// The attempt.
    pub attempt: u32,
    /// In which conversation.
    pub session: Session,
    /// What it is told.
    pub task: Task,
    /// The kernel killed something of it; known from then on.
    pub out_of_memory: Option<Duration>,
}

impl Agent {
    /// As it was asked for.
    pub fn of(target: &RunTarget) -> Self {
        Self {
            channel: target.target.config.labels.get(label::CHANNEL).cloned().unwrap_or_default(),
            run: target.run.to_string(),
            attempt: target.attempt,
            session: target.session,
            task: target.task.clone(),
            out_of_memory: None,
        }
    }

    /// The conversation that it writes.
    pub fn writes(&self) -> Uuid {
        match self.session {
            Session::Fresh(id) | Session::Fork { id, .. } => id.unwrap_or(Uuid::nil()),
            Session::Resume(id) => id,
        }
    }

    pub(super) fn key(&self) -> (String, u32) {
        (self.run.clone(), self.attempt)
    }
}

/// A line of the ledger: the agent ran, once.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// In which container.
    pub container: ContainerId,
    /// For what.
    pub agent: Agent,
    /// Who began it.
    pub by: Starter,
    /// When.
    pub began: Duration,
    /// When it really ended, with what, and how.
    pub ended: Option<(Duration, i64, How)>,
    /// It said that it succeeded, and then ended by itself with 0, or did not exit for half a minute.
    pub succeeded: bool,
    /// With which state directory.
    pub epoch: u32,
    script: Script,
    /// Time that it stood still.
    paused: Duration,
    paused_at: Option<Duration>,
}

impl Execution {
    /// Is it at work?
    pub const fn is_live(&self) -> bool {
        self.ended.is_none()
    }

    /// When it will end by itself.
    fn due(&self) -> Option<Duration> {
        let (after, _) = self.script.ends.filter(|_| self.is_live() && self.paused_at.is_none())?;
        Some(self.began + self.paused + after)
    }

    /// How long it had worked by then.
    fn worked(&self, now: Duration) -> Duration {
        let until = self.ended.map(|(at, ..)| at).or(self.paused_at).unwrap_or(now);
        until.saturating_sub(self.began + self.paused)
    }

    /// The lines that it had printed by then.
    pub fn printed(&self, now: Duration) -> impl Iterator<Item = &str> {
        let worked = self.worked(now);
        let lines = self.script.lines.iter().filter(move |(at, _)| *at <= worked);
        lines.map(|(_, line)| line.as_str())
    }

    /// How long it has been silent after its final result; `None`: it has not given one. What is paused is silent, too.
    pub fn stays_for(&self, now: Duration) -> Option<Duration> {
        let (last, line) = self.script.lines.last()?;
        let silent = self.worked(now).checked_sub(*last)? + self.paused;
        line.contains(r#""type":"result""#).then_some(silent)
    }

    /// Only KILL ends it.
    pub const fn ignores_term(&self) -> bool {
        self.script.ignores_term
    }

    /// What it had printed on standard error by its end.
    pub fn stderr(&self) -> &str {
        if self.is_live() { "" } else { &self.script.stderr }
    }
}

/// Everything about agents that is not the engine's own.
#[derive(Debug, Default)]
pub struct Agents {
    /// What each run's agent does, attempt by attempt; the last one's is that of all others.
    pub works: BTreeMap<String, Vec<Work>>,
    /// Every execution there ever was, the oldest first.
    pub ledger: Vec<Execution>,
    /// Init's start guard and record are not there.
    pub guard_off: bool,
    /// Conversations that exist, and whether one is too long to go on in.
    pub sessions: BTreeMap<Uuid, bool>,
    /// Ends are not noticed by the engine until it is started anew.
    pub ghosts: bool,
    /// Of ends that it did not see the engine makes a code up.
    pub loses_exits: bool,
    /// How late the engine knows that the kernel killed something.
    pub oom_late: Duration,
    /// Every container that was ever made for a run.
    pub made: BTreeSet<ContainerId>,
    /// Containers whose process the engine forgot.
    pub forgotten: BTreeSet<ContainerId>,
    /// Counts state directories: attempts are numbered anew in each.
    pub epoch: u32,
    /// Attempts that have a directory on the host.
    pub(super) places: BTreeSet<(String, u32)>,
    /// Attempts whose init has written down there that it begins.
    started: BTreeSet<(String, u32)>,
    records: BTreeMap<(String, u32), ExitRecord>,
    refusing: Vec<(Duration, ContainerId)>,
    killing: Vec<(Duration, ContainerId, usize)>,
}

impl Agents {
    fn work_of(&self, agent: &Agent) -> Work {
        let Some(works) = self.works.get(&agent.run) else { return Work::default() };
        let number = usize::try_from(agent.attempt).unwrap_or(1).saturating_sub(1);
        works.get(number).or(works.last()).cloned().unwrap_or_default()
    }

    /// What the agent does in this conversation, as it is now.
    fn script(&self, agent: &Agent, now: Timestamp) -> Script {
        let writes = agent.writes();
        if let Task::Compact(session) = agent.task {
            return match self.sessions.get(&session) {
                Some(_) => Script::compacts(writes),
                None => Script::without_session(session),
            };
        }
        let goes_on_in = match agent.session {
            Session::Fresh(_) => None,
            Session::Resume(id) => Some(id),
            Session::Fork { of, .. } => Some(of),
        };
        let is_new = !matches!(agent.session, Session::Resume(_));
        if is_new && self.sessions.contains_key(&writes) {
            let why = format!("Error: Session ID {writes} is already in use.");
            return Script::bad_invocation(&why);
        }
        match goes_on_in.map(|id| (id, self.sessions.get(&id))) {
            Some((id, None)) => Script::without_session(id),
            Some((_, Some(true))) => Script::too_long(writes),
            Some((_, Some(false))) | None => Script::of(&self.work_of(agent), writes, now),
        }
    }

    /// The process that lives in this container.
    pub fn live_in(&self, id: &ContainerId) -> Option<&Execution> {
        self.ledger.iter().rev().find(|it| it.container == *id).filter(|it| it.is_live())
    }

    fn live_in_mut(&mut self, id: &ContainerId) -> Option<&mut Execution> {
        self.ledger.iter_mut().rev().find(|it| it.container == *id).filter(|it| it.is_live())
    }

    /// All executions in this container, the oldest first.
    pub fn of<'a>(&'a self, id: &'a ContainerId) -> impl Iterator<Item = &'a Execution> {
        self.ledger.iter().filter(move |it| it.container == *id)
    }

    /// What init wrote down of this attempt.
    pub fn exit_record(&self, run: &str, attempt: u32) -> Option<&ExitRecord> {
        self.records.get(&(run.to_owned(), attempt))
    }

    /// What the host had for this attempt is taken away; did it say that its command was never started?
    pub(super) fn forget_place(&mut self, run: &str, attempt: u32) -> bool {
        let key = (run.to_owned(), attempt);
        let began = self.started.remove(&key) && !self.guard_off;
        self.records.remove(&key);
        self.places.remove(&key) && !began
    }

    pub(super) fn next_time(&self) -> Option<Duration> {
        let ends = self.ledger.iter().filter_map(Execution::due);
        let refused = self.refusing.iter().map(|(at, _)| *at);
        let killed = self.killing.iter().map(|(at, ..)| *at);
        ends.chain(refused).chain(killed).min()
    }
}

impl Engine {
    /// A process begins in a run's container: the agent, or init alone that says no.
    pub(super) fn agent_begins(&mut self, id: &ContainerId, by: Starter) {
        let (now, wall) = (self.at, wall(self.at));
        let Some(agent) = self.containers.get(id).and_then(|found| found.agent.clone()) else {
            return;
        };
        let first = self.agents.started.insert(agent.key());
        if !first && !self.agents.guard_off {
            self.agents.refusing.push((now + REFUSES_WITHIN, id.clone()));
            return;
        }
        let script = self.agents.script(&agent, wall);
        // The conversation is on the disk with the first line.
        let begins = script.lines.iter().any(|(_, line)| line.contains(r#""subtype":"init""#));
        let long = |of: &Uuid| self.agents.sessions.get(of).copied().unwrap_or(false);
        match agent.session {
            Session::Fork { of, .. } if begins => {
                let long = long(&of);
                self.agents.sessions.insert(agent.writes(), long);
            }
            Session::Fresh(_) if begins => {
                self.agents.sessions.insert(agent.writes(), false);
            }
            _ => {}
        }
        self.agents.ledger.push(Execution {
            container: id.clone(),
            agent,
            by,
            began: now,
            ended: None,
            succeeded: false,
            epoch: self.agents.epoch,
            script,
            paused: Duration::ZERO,
            paused_at: None,
        });
    }

    /// The truth of an end.
    pub(super) fn agent_ends(&mut self, id: &ContainerId, code: i64, how: How) {
        let (now, late, guard_off) = (self.at, self.agents.oom_late, self.agents.guard_off);
        let Some(ending) = self.agents.live_in_mut(id) else { return };
        if let Some(since) = ending.paused_at.take() {
            ending.paused += now.saturating_sub(since);
        }
        ending.ended = Some((now, code, how));
        let by_itself = how == How::ByItself && code == 0;
        // The kernel's kill counts as ours where ours was due.
        let killed = how != How::ByItself || code == 137;
        let stayed = killed
            && ending.script.answers
            && ending.stays_for(now).is_some_and(|silent| silent >= STAYS);
        ending.succeeded = stayed || (by_itself && ending.script.answers);
        let out_of_memory = how == How::ByItself && ending.script.out_of_memory;
        let (agent, began, compacted) =
            (ending.agent.clone(), ending.began, ending.succeeded && ending.script.answers);
        let too_long = ending.script.lines.iter().any(|(_, it)| it.contains("prompt_too_long"));
        match agent.task {
            Task::Compact(_) if compacted => {
                self.agents.sessions.insert(agent.writes(), false);
            }
            _ if too_long && how == How::ByItself => {
                self.agents.sessions.insert(agent.writes(), true);
            }
            _ => {}
        }
        if out_of_memory && let Some(found) = self.containers.get_mut(id) {
            found.agent = Some(Agent { out_of_memory: Some(now + late), ..agent.clone() });
        }
        if how != How::Kill && !guard_off {
            let record =
                ExitRecord { started_at: wall(began), finished_at: wall(now), exit_code: code };
            self.agents.records.entry(agent.key()).or_insert(record);
        }
    }

    /// Time passes for the agents.
    pub(super) fn agents_pass(&mut self) {
        let now = self.at;
        let due = |it: &Execution| it.due().filter(|due| *due <= now).is_some();
        let ending: Vec<(ContainerId, i64)> = self
            .agents
            .ledger
            .iter()
            .filter(|it| due(it))
            .map(|it| (it.container.clone(), it.script.ends.map_or(0, |(_, code)| code)))
            .collect();
        for (id, code) in ending {
            if self.down || self.agents.ghosts {
                self.agent_ends(&id, code, How::ByItself);
            } else {
                self.end_as(&id, code, How::ByItself);
            }
        }
        for (_, id) in take(&mut self.agents.refusing, |(at, _)| *at <= now) {
            if self.agents.live_in(&id).is_none() && !self.down {
                self.end_as(&id, REFUSED_BY_GUARD, How::ByItself);
            }
        }
        for (_, id, number) in take(&mut self.agents.killing, |(at, ..)| *at <= now) {
            if self.agents.ledger.get(number).is_some_and(Execution::is_live) && !self.down {
                self.end_as(&id, 137, How::Kill);
                self.tell(&id, "stop", None);
            }
        }
    }

    /// A stop that the agent does not heed: KILL follows. Answers whether it is so.
    pub(super) fn defies(&mut self, id: &ContainerId, grace: Duration) -> bool {
        let number = self.agents.ledger.iter().rposition(|it| it.container == *id && it.is_live());
        let Some(number) = number else { return false };
        let stubborn = self.agents.ledger.get(number).is_some_and(|it| it.script.ignores_term);
        if stubborn && !grace.is_zero() {
            self.agents.killing.push((self.at + grace, id.clone(), number));
            if let Some(found) = self.containers.get_mut(id) {
                found.stopped = true;
            }
        }
        stubborn && !grace.is_zero()
    }

    /// It stands still, or goes on.
    pub(super) fn agent_rests(&mut self, id: &ContainerId, rests: bool) {
        let now = self.at;
        let Some(found) = self.agents.live_in_mut(id) else { return };
        if rests {
            found.paused_at = found.paused_at.or(Some(now));
        } else if let Some(since) = found.paused_at.take() {
            found.paused += now.saturating_sub(since);
        }
    }

    /// The daemon goes and takes every agent with it.
    pub(super) fn agents_killed(&mut self, code: i64) {
        let live: Vec<(ContainerId, bool)> = self
            .agents
            .ledger
            .iter()
            .filter(|it| it.is_live())
            .map(|it| (it.container.clone(), it.script.ignores_term))
            .collect();
        for (id, stubborn) in live {
            if code == 143 && !stubborn {
                self.agent_ends(&id, 143, How::Term);
            } else {
                self.agent_ends(&id, 137, How::Kill);
            }
        }
    }

    /// The daemon is back, and sees who ended meanwhile; no event tells of it.
    pub(super) fn sees_ends(&mut self) {
        let clock = self.clock();
        let lost = self.made_up_code();
        for found in self.containers.values_mut() {
            if found.agent.is_none() || !found.is_live() || self.agents.live_in(&found.id).is_some()
            {
                continue;
            }
            let last = self.agents.ledger.iter().rev().find(|it| it.container == found.id);
            let code = last.and_then(|it| it.ended).map_or(255, |(_, code, _)| code);
            found.state = ContainerState::Exited;
            found.finished_at = Some(clock);
            found.exit_code = if self.agents.loses_exits { lost } else { code };
        }
        self.agents.ghosts = false;
    }

    /// What it says of an end that it did not see: three versions said 0.
    pub fn made_up_code(&self) -> i64 {
        if ["24.0.0", "24.0.1", "24.0.2"].contains(&self.version.as_str()) { 0 } else { 255 }
    }

    /// The daemon is killed between a process's begin and its note of it: the container stays as if nothing had been.
    pub fn starts_and_forgets(&mut self, id: &ContainerId) {
        let ready = self.containers.get(id).is_some_and(|it| it.state == ContainerState::Created);
        if !ready || self.start(id, Starter::Operator).is_err() {
            return;
        }
        self.news.clear();
        self.agents.forgotten.insert(id.clone());
        if let Some(found) = self.containers.get_mut(id) {
            found.state = ContainerState::Created;
            found.started_at = None;
        }
        self.go_down(false, 137);
    }

    /// The state directory is lost, and what init wrote into it.
    pub fn lose_run_directories(&mut self) {
        self.agents.epoch += 1;
        self.agents.places.clear();
        self.agents.started.clear();
        self.agents.records.clear();
    }

    /// `docker run`'s work is done by another hand: the kernel kills the agent.
    pub fn kill_agent(&mut self, id: &ContainerId) {
        if self.agents.live_in(id).is_some() {
            self.end_as(id, 137, How::ByItself);
        }
    }
}

fn take<T>(list: &mut Vec<T>, due: impl Fn(&T) -> bool) -> Vec<T> {
    let (taken, kept) = std::mem::take(list).into_iter().partition(|it| due(it));
    *list = kept;
    taken
}
