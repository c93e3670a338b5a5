//! Runs in the driver: the follower of their output, their prompts, and what people do with their files.
//!
//! The follower is production's as the core meets it: it knows which containers to follow, reads their logs from the first
//! byte, tells how far they are, and once, when they have ended, all that was said. A crash takes what it knew; the logs are
//! read again, unless the container is gone by then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chanop::claude::outcome::Fold;
use chanop::claude::parser::Parser;
use chanop::container::ContainerId;
use chanop::controller::effect::{Call, FollowRun};
use chanop::controller::input::{Answer, Failure, Input};
use chanop::controller::view::RunView;
use chanop::resource::condition::Reason;
use chanop::world::record::Write;
use chanop::world::run::{Followed, RunProgress, RunRecord, TranscriptFact};

use super::{Happening, Sim};
use crate::engine::{Container, Execution};
use crate::host::name;
use crate::tree::RunFile;
use crate::work::Work;

/// A follower tells of progress so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(4);

/// One container that is followed.
#[derive(Debug, Clone)]
pub(super) struct Following {
    asked: FollowRun,
    /// Its logs were there to be read.
    saw: bool,
    /// Its end is on its way, or told.
    ended: bool,
    progress: RunProgress,
}

impl Sim {
    pub(super) fn follow_runs(&mut self, set: &Arc<BTreeMap<ContainerId, FollowRun>>) {
        self.following.retain(|id, _| set.contains_key(id));
        for (id, asked) in set.iter() {
            let ended = if asked.ended { ", which has ended" } else { "" };
            self.note(format!("core: follow {} {}{ended}", asked.run.name, asked.attempt));
            if let Some(known) = self.following.get_mut(id) {
                known.asked = asked.clone();
                continue;
            }
            let following = Following {
                asked: asked.clone(),
                saw: false,
                ended: false,
                progress: RunProgress::default(),
            };
            self.following.insert(id.clone(), following);
            let (generation, id) = (self.generation, id.clone());
            let at = self.now + self.rng.millis(500, 4_000);
            self.at(at, Happening::Progress { generation, id });
        }
    }

    /// Whose logs have an end by now?
    pub(super) fn watch_runs(&mut self) {
        if self.engine.down || self.follower_hangs || self.following.is_empty() {
            return;
        }
        let mut ended = Vec::new();
        for (id, following) in &mut self.following {
            let found = self.engine.containers.get(id);
            following.saw |= found.is_some();
            let over = found.is_none_or(|found| !found.is_live() && found.starts > 0);
            if !following.ended && (over || following.asked.ended) {
                following.ended = true;
                ended.push(id.clone());
            }
        }
        for id in ended {
            let at = self.soon() + self.rng.millis(0, 200);
            let generation = self.generation;
            self.at(at, Happening::Followed { generation, id });
        }
    }

    pub(super) fn progress(&mut self, id: &ContainerId) {
        let Some(following) = self.following.get(id).filter(|it| !it.ended) else { return };
        let before = following.progress;
        let lines: Vec<String> = if self.engine.down { Vec::new() } else { self.printed(id) };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let mut fold = Fold::new();
        for located in Parser::new().push(text.as_bytes()) {
            fold.add(&located.event);
        }
        let progress = RunProgress {
            turns: fold.turns(),
            tools: fold.tools(),
            dollars: fold.dollars(),
            refused: fold.unauthorized(),
            finished: fold.is_finished().then_some(text.len() as u64),
        };
        let (generation, next) = (self.generation, self.now + PROGRESS_EVERY);
        self.at(next, Happening::Progress { generation, id: id.clone() });
        if progress != before {
            if let Some(following) = self.following.get_mut(id) {
                following.progress = progress;
            }
            self.feed(Input::RunProgressed { id: id.clone(), progress });
        }
    }

    /// All that its processes have printed.
    fn printed(&self, id: &ContainerId) -> Vec<String> {
        let now = self.now;
        let of = self.engine.agents.of(id);
        of.flat_map(|execution| execution.printed(now)).map(ToOwned::to_owned).collect()
    }

    pub(super) fn followed(&mut self, id: &ContainerId) {
        let Some(following) = self.following.get(id).cloned() else { return };
        if self.engine.down {
            // Its logs are asked for again.
            let (generation, at) = (self.generation, self.now + Duration::from_secs(1));
            return self.at(at, Happening::Followed { generation, id: id.clone() });
        }
        let mut lines = self.printed(id);
        let gone = !self.engine.containers.contains_key(id);
        let missing = if gone && !following.saw {
            // What an earlier process had read lies on the disk.
            let kept = self.rng.below(lines.len() as u64 + 1);
            lines.truncate(usize::try_from(kept).unwrap_or_default());
            Some("the container is gone".to_owned())
        } else {
            None
        };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let (mut parser, mut fold) = (Parser::new(), Fold::new());
        for located in parser.push(text.as_bytes()).into_iter().chain(parser.finish()) {
            fold.add(&located.event);
        }
        let stderr: Vec<&str> = self.engine.agents.of(id).map(Execution::stderr).collect();
        let (run, attempt) = (following.asked.run.name.as_str(), following.asked.attempt);
        let hash = text
            .bytes()
            .fold(7_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let transcript =
            TranscriptFact { bytes: text.len() as u64, sha256: format!("{hash:064x}"), missing };
        let followed = Followed {
            fold,
            noise: parser.noise().clone(),
            stderr: stderr.concat(),
            transcript: Some(transcript),
            exit: self.engine.agents.exit_record(run, attempt).cloned(),
        };
        self.note(format!("followed: {run} {attempt}: {} lines", lines.len()));
        self.feed(Input::RunFollowed { id: id.clone(), followed: Box::new(followed) });
    }

    /// Writes become durable, and are held against the promises.
    pub(super) fn make_durable(&mut self, writes: Vec<Write>) {
        self.check.before_durable(&self.store.durable, &writes, &self.engine);
        self.store.commit(writes);
        self.check.after_durable(&self.store.durable);
    }

    pub(super) fn read_prompt(&self, file: &str) -> Result<Answer, Failure> {
        if self.tree.away.is_some() {
            let why = "the spec directory cannot be read".to_owned();
            return Err(Failure::Refused(Reason::SourceUnavailable, why));
        }
        let text = self.tree.prompts.get(file).cloned();
        let none = || Failure::NotFound(format!("{file} is not there"));
        text.map(Answer::Prompt).ok_or_else(none)
    }

    /// How much later a stop is answered because the agent does not heed TERM.
    pub(super) fn stubbornness(&self, call: &Call) -> Duration {
        let Call::Stop { id, grace_seconds } = call else { return Duration::ZERO };
        let stubborn = self.engine.agents.live_in(id).is_some_and(Execution::ignores_term);
        if stubborn { Duration::from_secs(u64::from(*grace_seconds)) } else { Duration::ZERO }
    }

    pub(super) fn forgets(&mut self, id: &ContainerId) {
        self.engine.starts_and_forgets(id);
        if self.engine.down {
            self.note("the engine is killed before it notes the start");
            self.cut_stream();
            let back = self.now + Duration::from_secs(1);
            self.at(back, Happening::EngineUp);
        }
    }

    // What people do.

    /// Writes a run's file.
    pub fn write_run(&mut self, run: &str, file: RunFile) {
        self.note(format!("file of run {run}: {file:?}"));
        self.tree.write_run(run, file);
        self.files_changed();
    }

    /// Changes a run's file.
    pub fn edit_run(&mut self, run: &str, change: impl FnOnce(&mut RunFile)) {
        let Some(mut file) = self.tree.runs.get(run).map(|found| found.file.clone()) else {
            return;
        };
        change(&mut file);
        self.write_run(run, file);
    }

    /// Deletes a run's file.
    pub fn delete_run(&mut self, run: &str) {
        self.note(format!("file of run {run}: deleted"));
        self.tree.runs.remove(run);
        self.files_changed();
    }

    /// What the run's agent does, attempt by attempt; the last one's is that of all others.
    pub fn works(&mut self, run: &str, works: impl Into<Vec<Work>>) {
        self.engine.agents.works.insert(run.to_owned(), works.into());
    }

    // What is.

    /// The newest record of the run that is on the disk.
    pub fn record(&self, run: &str) -> Option<&RunRecord> {
        let all = self.store.durable.runs.iter().filter(|record| record.id.name.as_str() == run);
        all.max_by_key(|record| record.id.rerun)
    }

    /// The run as published.
    pub fn run(&self, run: &str) -> Option<&RunView> {
        self.view.runs.get(&name(run)).map(AsRef::as_ref)
    }

    /// Is a record of the run on its way to the disk?
    pub fn is_committing_run(&self, run: &str) -> bool {
        let is_its = |write: &Write| matches!(write, Write::Run(it) if it.id.name.as_str() == run);
        self.committing.values().flatten().any(is_its)
    }

    /// Has its newest record an end on the disk?
    pub fn has_ended(&self, run: &str) -> bool {
        self.record(run).is_some_and(|record| record.end.is_some())
    }

    /// The run's containers.
    pub fn run_containers(&self, run: &str) -> Vec<&Container> {
        let of = |found: &&Container| found.agent.as_ref().is_some_and(|agent| agent.run == run);
        self.engine.containers.values().filter(of).collect()
    }

    /// How often the run's agent ran.
    pub fn executions(&self, run: &str) -> usize {
        self.engine.agents.ledger.iter().filter(|it| it.agent.run == run).count()
    }

    /// The execution that is at work for the run.
    pub fn live(&self, run: &str) -> Option<&Execution> {
        self.engine.agents.ledger.iter().find(|it| it.agent.run == run && it.is_live())
    }
}
