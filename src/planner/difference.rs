//! How a container differs from what its file wants, as fields and in words.

use std::collections::BTreeSet;

use super::channel::Context;
use crate::container::config::{FieldDrift, Limits, NetworkMode, drift};
use crate::container::label;
use crate::world::desired::Target;
use crate::world::observed::Seen;

/// A CPU limit that is to be removed.
const CPU_LIMIT: &str = "cpu limit";
/// A memory limit that is to be removed.
const MEMORY_LIMIT: &str = "memory limit";

/// Is this a limit that the container has and should not have?
pub(super) fn is_limit(field: &FieldDrift) -> bool {
    matches!(field.field, CPU_LIMIT | MEMORY_LIMIT)
}

/// Limits that only a new container gets rid of: Docker sets and changes CPU and memory limits in place, and cannot remove them.
pub(super) fn limits_to_remove(have: Limits, want: Limits) -> Vec<FieldDrift> {
    let kept = want.updated_from(have);
    let found = |field, kept: i64, want: i64, words: &dyn Fn(i64) -> String| {
        (kept != want).then(|| FieldDrift { field, want: words(want), have: words(kept) })
    };
    let cpu = found(CPU_LIMIT, kept.nano_cpus, want.nano_cpus, &cpus);
    let memory = found(MEMORY_LIMIT, kept.memory_bytes, want.memory_bytes, &bytes);
    cpu.into_iter().chain(memory).collect()
}

/// The first differences in words: two are enough to know which change it is.
pub(super) fn describe(found: &[FieldDrift]) -> String {
    let words = |field: &FieldDrift| match field.field {
        "env" => format!("env {}", field.want),
        CPU_LIMIT | MEMORY_LIMIT => {
            let FieldDrift { field, want, have } = field;
            format!("{field} {have} → {want} (Docker cannot remove it in place)")
        }
        name if field.want.len() + field.have.len() > 60 => name.to_owned(),
        name => format!("{name} {} → {}", or_none(&field.have), or_none(&field.want)),
    };
    let named: Vec<String> = found.iter().take(2).map(words).collect();
    let more = match found.len() {
        0..=2 => String::new(),
        count => format!(" and {} more", count - 2),
    };
    format!("{}{more}", named.join(", "))
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

pub(super) fn describe_limits(have: Limits, want: Limits) -> String {
    let mut parts = Vec::new();
    if have.memory_bytes != want.memory_bytes {
        parts.push(format!("memory {} → {}", bytes(have.memory_bytes), bytes(want.memory_bytes)));
    }
    if have.nano_cpus != want.nano_cpus {
        parts.push(format!("cpu {} → {}", cpus(have.nano_cpus), cpus(want.nano_cpus)));
    }
    if have.pids != want.pids {
        parts.push(format!("pids {} → {}", have.pids, want.pids));
    }
    parts.join(", ")
}

/// Bytes in the largest binary unit that leaves a whole number.
fn bytes(count: i64) -> String {
    if count == 0 {
        return "none".to_owned();
    }
    for (unit, size) in [("Gi", 1_i64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if count % size == 0 {
            return format!("{}{unit}", count / size);
        }
    }
    count.to_string()
}

fn cpus(nano: i64) -> String {
    match nano {
        0 => "none".to_owned(),
        nano if nano % 1_000_000_000 == 0 => (nano / 1_000_000_000).to_string(),
        nano => format!("{}m", nano / 1_000_000),
    }
}

/// Every difference that only a new container mends, as far as the last look told. The file that a label names does not
/// count: a spec may move.
pub(super) fn differences(target: &Target, seen: &Seen) -> Vec<FieldDrift> {
    let configured = seen.snapshot.details.as_ref().into_iter().flat_map(|details| {
        let mut found = drift(&target.config, &details.config);
        found.retain(|field| field.field != "labels" || !field.want.starts_with(label::SOURCE));
        // The operator's own variables wait for the next start: see `host_environment_drift`.
        let of_host = |name: &str| target.host_environment.iter().any(|it| name_of(it) == name);
        found.retain(|field| field.field != "env" || !of_host(&field.want));
        let by_hand = details.set_by_hand.iter();
        found.extend(by_hand.map(|(field, have)| FieldDrift {
            field,
            want: String::new(),
            have: have.clone(),
        }));
        found.extend(limits_to_remove(details.limits, target.config.limits));
        found
    });
    configured
        .chain(network_drift(&target.config.network, seen.snapshot.networks.as_ref()))
        .collect()
}

/// The operator's own variables that the container has with other values, or lacks; `None`: there are none, or the last look
/// did not tell.
pub(super) fn host_environment_drift(target: &Target, seen: &Seen) -> Option<String> {
    let have = &seen.snapshot.details.as_ref()?.config.env;
    let changed = target.host_environment.iter().filter(|line| !have.contains(line));
    let names: Vec<&str> = changed.map(|line| name_of(line)).collect();
    (!names.is_empty()).then(|| format!("{} of the operator's own environment", names.join(", ")))
}

fn name_of(line: &str) -> &str {
    line.split('=').next().unwrap_or_default()
}

/// Networks are joined and left while a container runs, and its configuration goes on saying what it was made with.
fn network_drift(want: &NetworkMode, have: Option<&BTreeSet<String>>) -> Option<FieldDrift> {
    let have = have?;
    // Docker lists its `none` and `host` as networks, Podman does not.
    let (want, alone) = match want {
        NetworkMode::None => ("none", have.is_empty()),
        NetworkMode::Host => ("host", have.is_empty()),
        NetworkMode::Named(name) => (name.as_str(), false),
    };
    let same = alone || (have.len() == 1 && have.contains(want));
    let joined = || have.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    (!same).then(|| FieldDrift { field: "networks", want: want.to_owned(), have: joined() })
}

/// The fields in which a container of the right hash differs from its target: what a fresh container shows here, recreating
/// cannot mend.
pub fn drift_fields(target: &Target, seen: &Seen) -> Vec<&'static str> {
    let mut fields: Vec<&'static str> =
        differences(target, seen).into_iter().map(|field| field.field).collect();
    fields.dedup();
    fields
}

impl Context<'_> {
    /// Why limits or restart policy are to be set.
    pub(super) fn in_place(&self, seen: &Seen, want: Limits) -> Option<String> {
        if let Some(details) = &seen.snapshot.details {
            if details.has_restart_policy() {
                return Some(format!("restart policy {} → no", details.restart_policy));
            }
            let reached = want.updated_from(details.limits);
            if details.limits != reached {
                return Some(describe_limits(details.limits, reached));
            }
            let (swap, memory) = (details.memory_swap_bytes, reached.memory_bytes);
            let differs = self.world.engine_limits_swap && want.memory_bytes > 0 && swap != memory;
            return differs.then(|| format!("memory-swap {swap} → {memory}"));
        }
        let applied = self.world.applied.get(&seen.snapshot.id)?;
        let reached = want.updated_from(*applied);
        (*applied != reached).then(|| describe_limits(*applied, reached))
    }

    /// Were the limits given to it already, so that somebody else has changed them since?
    pub(super) fn is_as_applied(&self, seen: &Seen, want: Limits) -> bool {
        self.world.applied.get(&seen.snapshot.id) == Some(&want)
    }
}
