//! Drives the core: inputs in, effects out, in one task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::controller::Controller;
use crate::controller::effect::Effect;
use crate::controller::input::Input;
use crate::controller::request::Reply;
use crate::controller::view::View;
use crate::docker::Engine;
use crate::executor::{Executor, follow};
use crate::follower::Follower;
use crate::http::Question;
use crate::resource::ResourceName;
use crate::world::scan::RawScan;

/// After a signal, calls on their way have so long to be answered.
const DRAIN: Duration = Duration::from_secs(10);

/// The core with its mailboxes.
#[derive(Debug)]
pub struct CoreLoop<E> {
    /// The state machine.
    pub core: Controller,
    /// What carries out its calls.
    pub executor: Executor<E>,
    /// What follows the output of runs.
    pub follower: Follower<E>,
    /// Whose events are followed.
    pub engine: E,
    /// Whose containers are ours.
    pub instance: ResourceName,
    /// Tells the time.
    pub clock: Clock,
    /// From the event stream.
    pub inputs: mpsc::Receiver<Input>,
    /// Into the same.
    pub inputs_in: mpsc::Sender<Input>,
    /// From the spec directory.
    pub scans: mpsc::Receiver<RawScan>,
    /// From the faces.
    pub questions: mpsc::Receiver<Question>,
    /// To the faces.
    pub view: watch::Sender<Arc<View>>,
    /// To the spec directory: look again.
    pub rescan: mpsc::Sender<()>,
    /// To the wiring: it cannot go on.
    pub fatal: mpsc::Sender<String>,
}

/// What the effects leave behind between two inputs.
#[derive(Default)]
struct Standing {
    wake_at: Option<Duration>,
    follower: JoinSet<()>,
    askers: BTreeMap<u64, oneshot::Sender<Reply>>,
    asked: u64,
}

impl<E: Engine> CoreLoop<E> {
    /// Runs until told to stop, then drains.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut standing = Standing::default();
        self.step(&mut standing, Input::Tick);
        let mut draining: Option<Duration> = None;
        loop {
            let now = self.clock.now().mono;
            if let Some(until) = draining
                && (self.executor.is_idle() || now >= until)
            {
                break;
            }
            let wake = standing.wake_at.map_or(Duration::MAX, |at| at.saturating_sub(now));
            let wake = wake.min(draining.map_or(Duration::MAX, |until| until.saturating_sub(now)));
            let input = tokio::select! {
                () = stop.cancelled(), if draining.is_none() => {
                    draining = Some(self.clock.now().mono + DRAIN);
                    self.executor.give_up_long();
                    Input::Shutdown
                }
                Some(input) = self.executor.next(), if !self.executor.is_idle() => input,
                Some(input) = self.inputs.recv() => input,
                Some(scan) = self.scans.recv() => Input::Scanned(scan),
                Some((request, asker)) = self.questions.recv() => {
                    standing.asked += 1;
                    standing.askers.insert(standing.asked, asker);
                    Input::Requested { id: standing.asked, request }
                }
                () = tokio::time::sleep(wake.min(Duration::from_hours(1))) => Input::Tick,
            };
            self.step(&mut standing, input);
        }
        standing.follower.shutdown().await;
        self.follower.stop().await;
    }

    fn step(&mut self, standing: &mut Standing, input: Input) {
        let now = self.clock.now();
        standing.wake_at = None;
        for effect in self.core.on(now, input) {
            self.carry_out(standing, effect);
        }
    }

    fn carry_out(&mut self, standing: &mut Standing, effect: Effect) {
        match effect {
            Effect::Call { seq, subject, call, timeout, cause, waited } => {
                self.executor.call(seq, subject, call, timeout, cause, waited);
            }
            Effect::Commit { seq, writes } => self.executor.commit(seq, writes),
            Effect::Follow { epoch, since } => {
                standing.follower.abort_all();
                let (engine, instance) = (self.engine.clone(), self.instance.clone());
                let mailbox = self.inputs_in.clone();
                standing.follower.spawn(follow(engine, instance, epoch, since, mailbox));
            }
            Effect::FollowRuns(wanted) => self.follower.follow(&wanted),
            // One look that is asked for and not yet begun answers any number of askers.
            Effect::Scan => drop(self.rescan.try_send(())),
            Effect::WakeAt(at) => standing.wake_at = Some(at),
            Effect::Publish(view) => {
                self.view.send_replace(view);
            }
            Effect::Reply { id, reply } => {
                if let Some(asker) = standing.askers.remove(&id) {
                    // Whoever asked may have gone.
                    drop(asker.send(reply));
                }
            }
            Effect::Fatal(reason) => {
                if self.fatal.try_send(reason.clone()).is_err() {
                    warn!("{reason}");
                }
            }
        }
    }
}
