//! The engine's own account of what started and ended: were two containers of one channel ever alive at the same time?

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::operator::Ground;

/// Listens from here on.
pub(crate) struct Witness(Child);

impl Witness {
    pub(crate) fn new(ground: &Ground) -> Self {
        let label = format!("label=dev.chanop.instance={}", ground.instance);
        // A moment of before, so that whatever comes while it connects is in it.
        let mut events =
            ground.docker_command(&["events", "--since", "1s", "--format", "{{json .}}"]);
        events.args(["--filter", "type=container", "--filter", &label]);
        Self(events.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Ends it, and says for each channel how many of its containers were ever alive at the same time. Containers that bear
    /// our labels but not the name that they spell are nobody's.
    pub(crate) fn most_at_once(mut self, ground: &Ground) -> BTreeMap<String, usize> {
        // A last event that ends the account.
        let the_end = "the-end";
        let label = format!("dev.chanop.instance={}", ground.instance);
        let (name, last) =
            (format!("{}-last", ground.instance), format!("dev.chanop.channel={the_end}"));
        let create = ["create", "--name", &name, "--label", &label, "--label", &last];
        ground.docker(&[&create[..], &[&ground.image, "true"]].concat());
        ground.docker(&["rm", &name]);
        let mut alive: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut most = BTreeMap::new();
        let stream = BufReader::new(self.0.stdout.take().unwrap());
        for line in stream.lines() {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            let (action, id) = (text("/Action"), text("/Actor/ID"));
            let channel = text("/Actor/Attributes/dev.chanop.channel").to_owned();
            if channel == the_end {
                break;
            }
            let ours = text("/Actor/Attributes/name") == ground.container(&channel);
            let containers = alive.entry(channel.clone()).or_default();
            match action {
                "start" if ours => drop(containers.insert(id.to_owned())),
                // Whoever is renamed away is nobody's from then on.
                "rename" if !ours => drop(containers.remove(id)),
                "die" => drop(containers.remove(id)),
                _ => continue,
            }
            let most = most.entry(channel).or_default();
            *most = containers.len().max(*most);
        }
        most
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
