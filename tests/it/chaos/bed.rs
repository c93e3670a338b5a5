//! An operator whose way to an engine of its own leads through the fault proxy, and what must hold after every fault.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::operator::Ground;
use crate::support::own_engine::OwnEngine;
use crate::support::proxy::{Fault, Line, Proxy, Rule, ask, count};
use crate::support::witness::Witness;

/// An operator that is told to end has so long, whatever hangs.
pub(super) const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// A process that hangs, as long as this lives.
pub(super) struct Asleep(Pid);

impl Asleep {
    pub(super) fn new(process: Pid) -> Self {
        kill_process(process, Signal::STOP).unwrap();
        Self(process)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// See the module. Its parts go in this order.
pub(super) struct Bed {
    witness: Option<Witness>,
    pub(super) ground: Ground,
    pub(super) proxy: Proxy,
    pub(super) engine: OwnEngine,
    /// Bears our labels and another name: not ours.
    stranger: String,
    stranger_was: Value,
}

impl Bed {
    /// An engine, a stranger on it, and an operator that does not run yet.
    pub(super) fn new() -> Self {
        Self::on(OwnEngine::new())
    }

    pub(super) fn on(engine: OwnEngine) -> Self {
        let proxy = Proxy::before(&engine.socket());
        let ground = Ground::behind(engine.socket(), proxy.socket());
        let stranger = format!("{}-stranger", ground.instance);
        let label = |key: &str, value: &str| format!("dev.chanop.{key}={value}");
        let labels =
            [label("instance", &ground.instance), label("kind", "shell"), label("channel", "a")];
        let labels = labels.iter().flat_map(|label| ["--label", label]);
        let mut run = vec!["run", "-d", "--name", &stranger, "--network", "none"];
        run.extend(labels);
        run.extend([&ground.image, "sleep", "100000"]);
        ground.docker(&run);
        let stranger_was = ground.inspect(&[&stranger])[0].clone();
        let witness = Some(Witness::new(&ground));
        Self { witness, ground, proxy, engine, stranger, stranger_was }
    }

    /// The same with these channels running.
    pub(super) fn with(channels: &[&str]) -> Self {
        let mut bed = Self::new();
        for channel in channels {
            bed.write(channel, "");
        }
        bed.ground.start();
        bed.ground.until_converged(channels);
        bed
    }

    /// The file of a channel that is made anew without waiting for visitors.
    pub(super) fn write(&self, channel: &str, more: &str) {
        let more = format!("  updateStrategy: {{type: Recreate}}\n{more}");
        self.ground.channel(&format!("{channel}.yaml"), channel, &more);
    }

    /// Changes what only a new container can have.
    pub(super) fn change(&self, channel: &str, word: &str) {
        self.write(channel, &format!("  env: [{{name: WORD, value: \"{word}\"}}]\n"));
    }

    /// Until its shell is the one of [`Self::change`].
    pub(super) fn until_changed(&mut self, channel: &str, word: &str) -> Value {
        let word = format!("WORD={word}");
        self.ground.until_runs(channel, |now| now["Config"]["Env"].to_string().contains(&word))
    }

    /// A fault from now on.
    pub(super) fn fault(&self, method: &str, pattern: &str, fault: Fault) {
        self.proxy.rule(Rule::on(method, pattern, fault));
    }

    /// A fault of the next such request alone.
    pub(super) fn once(&self, method: &str, pattern: &str, fault: Fault) {
        use crate::support::proxy::When;
        self.proxy.rule(Rule::on(method, pattern, fault).when(When::Nth(1)));
    }

    /// How often a request of this kind was made since the mark.
    pub(super) fn asked(&self, mark: usize, method: &str, pattern: &str) -> usize {
        count(&self.proxy.since(mark), method, pattern)
    }

    /// Until so many requests of this kind were made since the mark.
    pub(super) fn until_asked(&mut self, mark: usize, times: usize, method: &str, pattern: &str) {
        let proxy = &self.proxy;
        self.ground.until(&format!("{times} times {method} {pattern}"), |_| {
            count(&proxy.since(mark), method, pattern) >= times
        });
    }

    /// Until the operator follows one stream of events, and has let go of any other.
    pub(super) fn until_one_stream(&mut self) {
        let proxy = &self.proxy;
        self.ground.until("one stream is followed", |_| proxy.open("GET", "/events") == 1);
    }

    /// What was changed in the engine, or tried to be, since the mark.
    pub(super) fn changes(&self, mark: usize) -> Vec<Line> {
        self.proxy.since(mark).into_iter().filter(Line::mutates).collect()
    }

    /// When the shell was started, and which it is.
    pub(super) fn run_of(&self, channel: &str) -> (Value, Value) {
        let shell = self.ground.shell(channel);
        (shell["Id"].clone(), shell["State"]["StartedAt"].clone())
    }

    /// Until the shell runs, and not in this run.
    pub(super) fn until_another_run(&mut self, channel: &str, before: &(Value, Value)) -> Value {
        self.ground.until_runs(channel, |now| {
            (&now["Id"], &now["State"]["StartedAt"]) != (&before.0, &before.1)
        })
    }

    /// Kills a shell's process, as a hand would.
    pub(super) fn kill(&self, channel: &str) {
        self.ground.docker(&["kill", &self.ground.container(channel)]);
    }

    /// The operator's process.
    pub(super) fn operator(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.ground.pid()).unwrap()).unwrap()
    }

    /// The engine's name table, with the instance's label: the shells, and no stranger.
    pub(super) fn shells(&self) -> Vec<String> {
        let mut names = self.ground.containers();
        names.retain(|name| *name != self.stranger);
        names
    }

    /// A question to the operator's socket.
    fn get(&self, path: &str) -> (u16, String) {
        ask(&self.ground.path("run/c.sock"), "GET", path, "")
    }

    /// Is the operator ready, as it says?
    pub(super) fn is_ready(&self) -> bool {
        self.get("/readyz").0 == 200
    }

    /// What keeps it from being ready.
    pub(super) fn unready(&self) -> String {
        self.get("/readyz?verbose").1
    }

    /// Until it says that this keeps it from being ready.
    pub(super) fn until_unready(&mut self, why: &str) {
        let socket = self.ground.path("run/c.sock");
        self.ground.until(&format!("not ready: {why}"), |_| {
            let (code, said) = ask(&socket, "GET", "/readyz?verbose", "");
            code == 503 && said.contains(why)
        });
    }

    /// Until the operator says that the engine is away.
    pub(super) fn until_away(&mut self) {
        self.until_unready("[-]engine failed");
    }

    /// All that must hold once the faults are over: these channels run, each in one container, and never in two; strangers are
    /// as they were; the operator lives and is ready; and in the end nothing is left of anything.
    pub(super) fn finish(mut self, channels: &[&str]) {
        self.proxy.heal();
        self.ground.until_converged(channels);
        assert!(self.is_ready(), "{}", self.ground.dump(&self.unready()));
        let mut expected: Vec<String> =
            channels.iter().map(|channel| self.ground.container(channel)).collect();
        expected.sort();
        assert_eq!(self.shells(), expected, "{}", self.ground.dump("one container a channel"));
        for channel in channels {
            assert!(self.ground.running(channel).is_some(), "{}", self.ground.dump(channel));
        }
        // And rests.
        let mark = self.proxy.mark();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(self.changes(mark), [], "{}", self.ground.dump("it is restless"));
        self.stranger_is_untouched();
        if let Some(witness) = self.witness.take() {
            let most = witness.most_at_once(&self.ground);
            assert!(most.values().all(|most| *most <= 1), "two shells of one channel: {most:?}");
        }
        let named = format!("name={}", self.ground.instance);
        for kind in ["network", "volume"] {
            let found = self.ground.docker(&[kind, "ls", "-q", "--filter", &named]);
            let found = found.lines().count();
            assert!(found <= 1, "one {kind} of the instance's, not {found}");
        }
        let took = self.ground.stop();
        assert!(took < ENDS_WITHIN, "{took:?}");
        self.leave_nothing();
    }

    pub(super) fn stranger_is_untouched(&self) {
        let now = self.ground.inspect(&[&self.stranger])[0].clone();
        for field in ["Id", "Name", "RestartCount", "State", "Config", "HostConfig"] {
            assert_eq!(now[field], self.stranger_was[field], "{field} of a stranger");
        }
    }

    /// The engine restarts what it stopped by itself for nobody: a stranger that was stopped with it is judged from here on.
    pub(super) fn accept_stranger(&mut self) {
        self.stranger_was = self.ground.inspect(&[&self.stranger])[0].clone();
    }

    fn leave_nothing(self) {
        let Self { witness, ground, proxy, mut engine, .. } = self;
        drop((witness, ground));
        let socket: PathBuf = engine.socket();
        let (_, containers) = ask(&socket, "GET", "/containers/json?all=1", "");
        assert!(containers.contains("[]"), "containers: {containers}");
        let (_, volumes) = ask(&socket, "GET", "/volumes", "");
        assert!(volumes.contains("\"Volumes\":[]"), "volumes: {volumes}");
        let (_, networks) =
            ask(&socket, "GET", "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D", "");
        assert!(networks.contains("[]"), "networks: {networks}");
        drop(proxy);
        let left = engine.leftovers();
        assert!(left.is_empty(), "left on the machine: {left:#?}");
    }
}
