//! The state machine alone, with an engine that has already all that the files want: no time but the core's own.
//!
//! Effects are carried out at once, one after the other. Containers are made from the targets that the core itself will
//! compare them with, so there is nothing to be done but to see that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chanop::container::ContainerName;
use chanop::controller::effect::{Call, Effect};
use chanop::controller::input::{Answer, Input, StreamEvent};
use chanop::controller::scan::Sources;
use chanop::controller::{Beginning, Controller, judge};
use chanop::planner::report::{Report, report};
use chanop::resource::Now;
use chanop::world::Settings;
use chanop::world::facts::Facts;
use chanop::world::ownership::Holder;
use chanop_sim::Spec;
use chanop_sim::engine::{Engine, Maker, wall};
use chanop_sim::host::{Host, settings};
use chanop_sim::store::Store;
use chanop_sim::tree::Tree;

use crate::Outcome;

/// How often the core may ask to be woken until it has seen everything.
const WAKES_MAX: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub struct Core {
    controller: Controller,
    engine: Engine,
    host: Host,
    store: Store,
    tree: Tree,
    settings: Settings,
    now: Duration,
    wake: Option<Duration>,
    inputs: VecDeque<Input>,
}

impl Core {
    /// So many channels that run as they should, and a core that knows it.
    pub fn converged(count: usize) -> Outcome<Self> {
        let (settings, host, mut tree) = (settings(), Host::default(), Tree::default());
        for number in 0..count {
            tree.write(&format!("c{number}"), Spec::default());
        }
        let mut store = Store::default();
        let (loaded, sources) = store.load();
        let beginning = Beginning {
            settings: settings.clone(),
            loaded,
            sources,
            scope: "specs".to_owned(),
            takeover: false,
            seed: 7,
        };
        let controller = Controller::new(beginning);
        let mut core = Self {
            controller,
            engine: Engine::new(),
            host,
            store,
            tree,
            settings,
            now: Duration::ZERO,
            wake: None,
            inputs: VecDeque::new(),
        };
        core.populate()?;
        let scan = core.tree.scan(core.now());
        core.inputs.extend([Input::Tick, Input::Scanned(scan)]);
        for _ in 0..WAKES_MAX {
            core.settle();
            if core.report() == (Report { lines: Vec::new(), unchanged: count }) {
                return Ok(core);
            }
            core.wait();
        }
        Err(format!("the core does not come to rest: {:?}", core.report().lines.first()).into())
    }

    /// Makes what the files want.
    fn populate(&mut self) -> Outcome<()> {
        let mut sources = Sources::default();
        sources.absorb(self.tree.scan(self.now()), self.settings.prune_delay);
        let nobody = Arc::default();
        let (_, wanted) = judge::desired(&sources, &Facts::default(), &self.settings, &nobody);
        let facts = self.host.probe(&wanted);
        let (desired, _) = judge::desired(&sources, &facts, &self.settings, &nobody);
        self.engine.network = true;
        self.engine.anchor = Some(Holder {
            state_id: self.store.durable.state_id.clone(),
            process: Some(self.settings.process),
            place: self.settings.state_place.clone(),
        });
        for (channel, wish) in &desired.channels {
            let target = wish.target.as_ref().ok_or("a channel is not admitted")?;
            let name = ContainerName::shell(&self.settings.instance, channel);
            let made = self.engine.create(&name, &target.config, Maker::Operator);
            let Ok(Answer::Created(id)) = made else { return Err(format!("{made:?}").into()) };
            let started =
                self.engine.execute(&self.settings.instance, &Call::Start { id, target: None });
            started.map_err(|failure| failure.message().to_owned())?;
        }
        Ok(())
    }

    /// What time it is for the core.
    pub fn now(&self) -> Now {
        Now { mono: self.now, wall: wall(self.now) }
    }

    /// The core itself.
    pub const fn controller(&self) -> &Controller {
        &self.controller
    }

    /// What would be done.
    pub fn report(&self) -> Report {
        report(self.controller.world(), self.now())
    }

    /// A scan in which one file says something new.
    pub fn one_changed(&mut self, channel: usize, memory: u32) -> Input {
        self.tree.write(&format!("c{channel}"), Spec { memory, ..Spec::default() });
        self.now += Duration::from_secs(1);
        Input::Scanned(self.tree.scan(self.now()))
    }

    /// Gives the core one input; its effects are carried out, and their answers wait for [`Self::settle`].
    pub fn take(&mut self, input: Input) {
        let now = self.now();
        let effects = self.on(now, input);
        self.carry_out(effects);
    }

    /// The core's part of [`Self::take`].
    pub fn on(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.controller.on(now, input)
    }

    /// Until nothing is left to be answered.
    pub fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.take(input);
        }
    }

    /// Until the core asked to be woken.
    fn wait(&mut self) {
        self.now = self.wake.take().unwrap_or(self.now).max(self.now + Duration::from_millis(1));
        self.engine.pass(self.now);
        self.inputs.push_back(Input::Tick);
    }

    /// Does what the core wants.
    pub fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Call { seq, call: Call::Probe(wanted), .. } => {
                    let answer = Ok(Answer::Facts(self.host.probe(&wanted)));
                    self.inputs.push_back(Input::Answered { seq, answer });
                }
                Effect::Call { seq, call, .. } => {
                    let answer = self.engine.execute(&self.settings.instance, &call);
                    self.inputs.push_back(Input::Answered { seq, answer });
                }
                Effect::Commit { seq, writes } => {
                    self.store.commit(writes);
                    self.inputs.push_back(Input::Committed { seq, result: Ok(()) });
                }
                Effect::FollowRuns(_) => {}
                Effect::Follow { epoch, .. } => {
                    self.inputs.push_back(Input::Stream { epoch, event: StreamEvent::Opened });
                }
                Effect::Scan => {
                    let scan = self.tree.scan(self.now());
                    self.inputs.push_back(Input::Scanned(scan));
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Publish(_) | Effect::Reply { .. } | Effect::Fatal(_) => {}
            }
        }
    }
}
