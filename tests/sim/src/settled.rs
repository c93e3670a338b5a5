//! L1, from the engine's side: is everything as the files want it?

use chanop::container::ContainerState;

use crate::check::HUSH;
use crate::driver::Sim;
use crate::engine::{IMAGE_BAD, IMAGE_CRASHES, IMAGE_MISSING};
use crate::tree::Spec;

mod runs;

/// The channels that there may be.
pub const CHANNELS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// Does the container itself keep failing?
pub fn is_sane(spec: &Spec) -> bool {
    !matches!(spec.image, IMAGE_MISSING | IMAGE_BAD | IMAGE_CRASHES)
}

/// L1: what is not as the files want it.
pub fn unsettled(sim: &Sim) -> Option<String> {
    if sim.view.blocked.is_some() || sim.core().is_none() {
        return Some(format!("the operator is blocked: {:?}", sim.view.blocked));
    }
    // A call that hangs since before the faults stopped is given up in its own time.
    let sane = sim.tree.files.values().all(|file| is_sane(&file.spec));
    let brings =
        sim.core().is_some_and(|core| core.world().images.values().any(|it| it.work.is_some()));
    if sane && (sim.check.is_busy() || brings) {
        return Some("a call is on its way".to_owned());
    }
    for channel in CHANNELS {
        if let Some(why) = channel_unsettled(sim, channel) {
            return Some(format!("{channel}: {why}"));
        }
    }
    runs::runs_unsettled(sim)
}

fn channel_unsettled(sim: &Sim, channel: &str) -> Option<String> {
    let shell = sim.shell(channel);
    let Some(file) = sim.tree.files.get(channel) else {
        let left = shell.map(|found| format!("{:?} is left though its file is gone", found.state));
        let listed = sim
            .channel(channel)
            .map(|view| format!("still shown: {} ({})", view.status, view.message));
        return left.or(listed);
    };
    let spec = &file.spec;
    if spec.zone.is_some() || spec.suspend {
        return shell
            .filter(|found| found.is_live())
            .map(|_| "it runs though it should not".to_owned());
    }
    if !spec.enabled {
        return shell.map(|found| format!("{:?} is left though no shell is wanted", found.state));
    }
    if !is_sane(spec) {
        return None;
    }
    let Some(found) = shell else { return Some("there is no shell".to_owned()) };
    if found.state != ContainerState::Running {
        return Some(format!("its shell is {:?}", found.state));
    }
    let memory = i64::from(spec.memory) << 20;
    if found.config.limits.memory_bytes != memory || found.config.limits.pids == 7 {
        return Some(format!("its limits are {:?}", found.config.limits));
    }
    if !found.set_by_hand.is_empty() {
        return Some(format!("by hand it has {:?}", found.set_by_hand));
    }
    if found.config.image != spec.image {
        return Some(format!("its image is {}", found.config.image));
    }
    if !found.config.env.contains(&format!("VAR={HUSH}{}", spec.var)) {
        return Some(format!("its environment is {:?}", found.config.env));
    }
    if found.networks.is_empty() {
        return Some("it is on no network".to_owned());
    }
    if found.restart_policy != "no" {
        return Some(format!("its restart policy is {}", found.restart_policy));
    }
    if sim.engine.has_replaced_workspace(found) {
        // Restarts for this cause may be up to an hour apart.
        let pending = sim.channel(channel).and_then(|view| view.pending.as_ref());
        return match pending.map(|pending| pending.action.as_str()) {
            Some("restart") => None,
            other => Some(format!("it has a replaced workspace, and waits for {other:?}")),
        };
    }
    if !sim.is_ready(channel) {
        let view = sim.channel(channel);
        return Some(format!(
            "it is not shown as ready: {:?}",
            view.map(|v| (&v.status, &v.message))
        ));
    }
    None
}
