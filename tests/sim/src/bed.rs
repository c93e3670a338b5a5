//! What the scenarios begin with and ask.

use std::time::Duration;

use chanop::container::ContainerId;
use chanop::resource::ObjectRef;

use crate::driver::Sim;
use crate::host::name;

/// A second.
pub const SECOND: Duration = Duration::from_secs(1);
/// Twelve channels.
pub const TWELVE: [&str; 12] = crate::settled::CHANNELS;

/// A world in which these channels have a file each, and a running shell.
pub fn converged(channels: &[&str]) -> Sim {
    let mut sim = Sim::with_channels(1, channels);
    assert!(sim.run_until(30 * SECOND, Sim::all_ready), "{}", sim.log.join("\n"));
    sim.run_for(15 * SECOND);
    sim
}

/// The ID of the channel's shell.
pub fn id(sim: &Sim, channel: &str) -> ContainerId {
    sim.shell(channel).expect("a shell").id.clone()
}

/// The channel's word in the table.
pub fn status(sim: &Sim, channel: &str) -> String {
    sim.channel(channel).map_or_else(String::new, |view| view.status.clone())
}

/// No promise was broken.
pub fn sound(sim: &Sim) {
    assert_eq!(sim.check.broken, None, "{}", sim.log.join("\n"));
}

/// The channel as requests name it.
pub fn target(channel: &str) -> ObjectRef {
    ObjectRef::channel(name(channel))
}
