//! An effective spec in the form in which files write it.
//!
//! What the API shows under `spec` can be put back into a file: `memory: 4Gi`, not a number of bytes. Fields appear in the
//! order of the documentation.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::resource::effective::{
    Agent, Effective, EnvValue, EnvVar, FileCopy, Image, McpServer, Mount, Network, Port,
    Resources, RunDefaults, SecurityContext, User,
};

/// The spec as a file would write it, every default filled.
pub(super) fn spec(it: &Effective) -> Value {
    json!({
        "className": it.class_name.as_ref().map(ToString::to_string),
        "suspend": it.suspend,
        "hostSelector": it.host_selector,
        "workspace": {"path": it.workspace.path, "create": it.workspace.create},
        "home": {"type": it.home},
        "image": image(&it.image),
        "user": match it.user {
            User::Owner => "Owner".to_owned(),
            User::Image => "Image".to_owned(),
            User::Ids { uid, gid } => format!("{uid}:{gid}"),
        },
        "env": it.env.iter().map(env).collect::<Vec<_>>(),
        "mounts": it.mounts.iter().map(mount).collect::<Vec<_>>(),
        "files": it.files.iter().map(file).collect::<Vec<_>>(),
        "ports": it.ports.iter().copied().map(port).collect::<Vec<_>>(),
        "resources": resources(&it.resources),
        "securityContext": security(&it.security),
        "runtimeClassName": it.runtime_class_name,
        "network": match &it.network {
            Network::Bridge => json!({"mode": "Bridge"}),
            Network::None => json!({"mode": "None"}),
            Network::Host => json!({"mode": "Host"}),
            Network::Named(name) => json!({"mode": "Named", "name": name}),
        },
        "agent": agent(&it.agent),
        "shell": {"enabled": it.shell.enabled, "command": it.shell.command},
        "runs": runs(&it.runs),
        "updateStrategy": {
            "type": it.update_strategy.kind,
            "maxWait": duration(it.update_strategy.max_wait),
        },
        "deletion": {"runs": it.deletion.runs, "keepStopped": duration(it.deletion.keep_stopped)},
    })
}

fn image(it: &Image) -> Value {
    let mut image = Map::new();
    image.insert("ref".to_owned(), json!(it.reference));
    image.insert("pullPolicy".to_owned(), json!(it.pull_policy));
    if let Some(build) = &it.build {
        image.insert("build".to_owned(), json!(build));
    }
    Value::Object(image)
}

fn env(it: &EnvVar) -> Value {
    match &it.value {
        EnvValue::Plain(value) => json!({"name": it.name, "value": value}),
        EnvValue::Secret(secret) => json!({
            "name": it.name,
            "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}},
        }),
    }
}

fn mount(it: &Mount) -> Value {
    match it {
        Mount::Bind { source, target, read_only, optional } => json!({
            "type": "bind", "source": source, "target": target,
            "readOnly": read_only, "optional": optional,
        }),
        Mount::Volume { source, target, read_only } => {
            json!({"type": "volume", "source": source, "target": target, "readOnly": read_only})
        }
        Mount::Tmpfs { target, size_bytes, exec } => {
            json!({"type": "tmpfs", "target": target, "size": bytes(*size_bytes), "exec": exec})
        }
    }
}

fn file(it: &FileCopy) -> Value {
    json!({"source": it.source, "target": it.target, "optional": it.optional})
}

fn port(it: Port) -> Value {
    json!({"containerPort": it.container_port, "hostPort": it.host_port})
}

fn resources(it: &Resources) -> Value {
    json!({
        "limits": {
            "cpu": cpu(it.nano_cpus),
            "memory": bytes(u64::try_from(it.memory_bytes).unwrap_or(0)),
            "pids": it.pids,
        },
        "shmSize": bytes(u64::try_from(it.shm_size_bytes).unwrap_or(0)),
    })
}

fn security(it: &SecurityContext) -> Value {
    json!({
        "supplementalGroups": it.supplemental_groups,
        "capabilities": {"drop": it.drop_capabilities, "add": it.add_capabilities},
        "allowPrivilegeEscalation": it.allow_privilege_escalation,
        "readOnlyRootFilesystem": it.read_only_root_filesystem,
    })
}

fn agent(it: &Agent) -> Value {
    let servers: Map<String, Value> =
        it.mcp_servers.iter().map(|(name, server)| (name.clone(), mcp_server(server))).collect();
    json!({
        "bin": it.bin,
        "cli": it.cli,
        "model": it.model,
        "systemPrompt": it.system_prompt,
        "permissionMode": it.permission_mode,
        "credentials": it.credentials.as_ref().map(|secret| json!({"secret": secret})),
        "mcpServers": servers,
        "workspaceSettings": it.workspace_settings,
        "projectFile": it.project_file,
        "args": it.args,
    })
}

fn mcp_server(it: &McpServer) -> Value {
    let variables: Map<String, Value> = it
        .env
        .iter()
        .map(|variable| {
            let value = match &variable.value {
                EnvValue::Plain(value) => json!(value),
                EnvValue::Secret(secret) => {
                    json!({"secretKeyRef": {"name": secret.name, "key": secret.key}})
                }
            };
            (variable.name.clone(), value)
        })
        .collect();
    if it.url.is_empty() {
        return json!({"command": it.command, "args": it.args, "env": variables});
    }
    json!({"url": it.url, "env": variables})
}

fn runs(it: &RunDefaults) -> Value {
    json!({
        "maxConcurrent": it.max_concurrent,
        "queue": {"maxLength": it.queue_max_length, "maxAge": duration(it.queue_max_age)},
        "activeDeadlineSeconds": it.active_deadline.as_secs(),
        "terminationGracePeriodSeconds": it.termination_grace_period.as_secs(),
        "backoffLimit": it.backoff_limit,
        "maxTurns": it.max_turns,
        "maxBudgetUSD": it.max_budget_usd,
        "keepContainer": duration(it.keep_container),
        "history": {"limit": it.history_limit, "maxAge": duration(it.history_max_age)},
    })
}

/// `1h30m`, the largest units first.
fn duration(it: Duration) -> String {
    let mut rest = it.as_secs();
    let mut text = String::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= seconds {
            text = format!("{text}{}{unit}", rest / seconds);
            rest %= seconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `4Gi`: the largest binary unit that divides it; empty: no limit.
fn bytes(it: u64) -> String {
    let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    if it == 0 {
        return String::new();
    }
    units
        .iter()
        .find(|(_, shift)| it.trailing_zeros() >= *shift)
        .map_or_else(|| it.to_string(), |(unit, shift)| format!("{}{unit}", it >> shift))
}

/// `1500m` or `2`; empty: no limit. What is finer than a thousandth is shown in billionths.
fn cpu(nano_cpus: i64) -> String {
    match nano_cpus {
        0 => String::new(),
        n if n % 1_000_000_000 == 0 => (n / 1_000_000_000).to_string(),
        n if n % 1_000_000 == 0 => format!("{}m", n / 1_000_000),
        n => format!("{n}n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!(bytes(4 << 30), "4Gi");
        assert_eq!(bytes(1536 << 20), "1536Mi");
        assert_eq!(bytes(1000), "1000");
        assert_eq!(bytes(0), "");
        assert_eq!([cpu(0), cpu(2_000_000_000), cpu(1_500_000_000)], ["", "2", "1500m"]);
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let of = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([of(0), of(90), of(3600), of(86_400 * 90)], ["0s", "1m30s", "1h", "90d"]);
    }
}
