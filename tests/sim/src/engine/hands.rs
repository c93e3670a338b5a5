//! What people do on the engine, and what the daemon's own going and coming does.

use std::collections::BTreeMap;
use std::time::Duration;

use chanop::container::config::{ContainerConfig, Limits};
use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::input::{Answer, Failure};

use super::{Engine, How, Maker, Starter};

impl Engine {
    /// `docker kill`, or the process ends by itself.
    pub fn kill(&mut self, id: &ContainerId, code: i64) {
        if self.containers.get(id).is_some_and(|c| c.state == ContainerState::Running) {
            self.tell(id, "kill", None);
            self.end(id, code);
        }
    }

    /// `docker stop`.
    pub fn stop_by_hand(&mut self, id: &ContainerId) {
        if self.containers.get(id).is_some_and(|c| c.state == ContainerState::Running) {
            self.tell(id, "kill", None);
            self.end(id, 143);
            self.tell(id, "stop", None);
        }
    }

    /// `docker start`.
    pub fn start_by_hand(&mut self, id: &ContainerId) {
        let _refused = self.start(id, Starter::Person);
    }

    /// `docker rm -f`.
    pub fn remove_by_hand(&mut self, id: &ContainerId) {
        let _refused = self.remove(id, true);
    }

    /// A removal that takes its time.
    pub fn remove_slowly(&mut self, id: &ContainerId, until: Duration) {
        self.agent_ends(id, 137, How::Kill);
        let clock = self.clock();
        if let Some(found) = self.containers.get_mut(id) {
            if found.is_live() {
                found.exit_code = 137;
                found.finished_at = Some(clock);
            }
            found.state = ContainerState::Removing;
            self.removals.push((until, id.clone()));
            self.tell(id, "die", Some(137));
        }
    }

    /// The engine fails half-way through a removal.
    pub fn leave_dead(&mut self, id: &ContainerId) {
        self.agent_ends(id, 137, How::Kill);
        let clock = self.clock();
        if let Some(found) = self.containers.get_mut(id) {
            // A removal kills the process first, and the engine notes its end.
            if found.is_live() {
                found.exit_code = 137;
                found.finished_at = Some(clock);
            }
            found.state = ContainerState::Dead;
            self.tell(id, "die", Some(137));
        }
    }

    /// `docker network rm` of the instance's network.
    pub fn remove_network(&mut self) {
        self.network = false;
        self.push(None);
    }

    /// Another engine under the same socket: nothing of ours is on it.
    pub fn exchange(&mut self) {
        self.agents_killed(137);
        self.id = format!("{}'", self.id);
        self.containers.clear();
        self.ends.clear();
        self.removals.clear();
        self.network = false;
        self.anchor = None;
    }

    /// `docker pause`.
    pub fn pause(&mut self, id: &ContainerId) {
        if let Some(found) =
            self.containers.get_mut(id).filter(|c| c.state == ContainerState::Running)
        {
            found.state = ContainerState::Paused;
            self.agent_rests(id, true);
            self.tell(id, "pause", None);
        }
    }

    /// `docker unpause`.
    pub fn unpause(&mut self, id: &ContainerId) {
        if let Some(found) =
            self.containers.get_mut(id).filter(|c| c.state == ContainerState::Paused)
        {
            found.state = ContainerState::Running;
            self.agent_rests(id, false);
            self.tell(id, "unpause", None);
        }
    }

    /// `docker rename`.
    pub fn rename(&mut self, id: &ContainerId, name: &ContainerName) {
        if self.named(name).is_some() {
            return;
        }
        if let Some(found) = self.containers.get_mut(id) {
            found.name = name.clone();
            self.tell(id, "rename", None);
        }
    }

    /// `docker update`: limits, and perhaps a restart policy.
    pub fn update_by_hand(
        &mut self,
        id: &ContainerId,
        limits: Option<Limits>,
        policy: Option<&str>,
    ) {
        if let Some(found) = self.containers.get_mut(id) {
            if let Some(limits) = limits {
                found.config.limits = limits;
            }
            if let Some(policy) = policy {
                policy.clone_into(&mut found.restart_policy);
            }
            self.tell(id, "update", None);
        }
    }

    /// `docker update` of what chanop never sets.
    pub fn pin_by_hand(&mut self, id: &ContainerId) {
        if let Some(found) = self.containers.get_mut(id) {
            found.set_by_hand.insert("cpuset-cpus", "0".to_owned());
            self.tell(id, "update", None);
        }
    }

    /// `docker network disconnect`: an event of the network's, which nobody is told of.
    pub fn disconnect(&mut self, id: &ContainerId) {
        if let Some(found) = self.containers.get_mut(id) {
            found.networks.clear();
            self.push(None);
        }
    }

    /// `docker exec -it`: somebody is in it.
    pub fn enter(&mut self, id: &ContainerId) {
        if let Some(found) =
            self.containers.get_mut(id).filter(|c| c.state == ContainerState::Running)
        {
            let session = format!("exec{}", found.execs.len());
            found.execs.push(session);
            self.tell(id, "exec_start", None);
        }
    }

    /// Everybody leaves.
    pub fn leave(&mut self, id: &ContainerId) {
        if let Some(found) = self.containers.get_mut(id)
            && !found.execs.is_empty()
        {
            found.execs.clear();
            self.tell(id, "exec_die", Some(0));
        }
    }

    /// A container of any configuration, as a create makes it.
    pub fn make(
        &mut self,
        name: &ContainerName,
        config: &ContainerConfig,
    ) -> Result<ContainerId, Failure> {
        match self.create(name, config, Maker::Operator)? {
            Answer::Created(id) => Ok(id),
            other => Err(Failure::Unknown(format!("{other:?}"))),
        }
    }

    /// A person's own container, with whatever labels.
    pub fn create_by_hand(
        &mut self,
        name: &ContainerName,
        labels: BTreeMap<String, String>,
    ) -> Option<ContainerId> {
        let config =
            ContainerConfig { image: "img-a:1".to_owned(), labels, ..ContainerConfig::default() };
        match self.create(name, &config, Maker::Person) {
            Ok(Answer::Created(id)) => {
                self.start_by_hand(&id);
                Some(id)
            }
            _ => None,
        }
    }

    /// The daemon ends.
    pub fn go_down(&mut self, live_restore: bool, code: i64) {
        let clock = self.clock();
        self.down = true;
        self.ring.clear();
        self.phantoms.clear();
        if !live_restore {
            self.agents_killed(code);
            let live: Vec<ContainerId> =
                self.containers.values().filter(|c| c.is_live()).map(|c| c.id.clone()).collect();
            for id in live {
                if let Some(found) = self.containers.get_mut(&id) {
                    found.state = ContainerState::Exited;
                    found.exit_code = code;
                    found.finished_at = Some(clock);
                    found.execs.clear();
                }
            }
        }
        self.ring.clear();
        self.news.clear();
    }

    /// The daemon is back.
    pub fn come_up(&mut self) {
        self.down = false;
        self.sees_ends();
        let again: Vec<ContainerId> = self
            .containers
            .values()
            .filter(|c| c.restart_policy == "always" && !c.is_live())
            .map(|c| c.id.clone())
            .collect();
        for id in again {
            self.start_by_hand(&id);
        }
    }
}
