//! A project file put over its channel, for the next run.
//!
//! Model and system prompt take the place of the channel's, servers merge by name. Of resources only what is tighter
//! counts; the rest is left out with a note, since a file that the agent can write must not give it more than it was given.

use crate::resource::effective::{Effective, Resources};
use crate::resource::merge::mcp_server;
use crate::resource::project::ProjectFile;

/// Something in the file that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which field: `resources.limits.memory`.
    pub field: &'static str,
    /// Why.
    pub message: String,
}

/// The channel with what its project says, and what of that does not count.
pub fn apply(channel: &Effective, project: &ProjectFile) -> (Effective, Vec<Note>) {
    let mut effective = channel.clone();
    let agent = &mut effective.agent;
    if let Some(model) = &project.model {
        agent.model.clone_from(model);
    }
    if let Some(text) = &project.system_prompt {
        agent.system_prompt.clone_from(text);
    }
    for (name, server) in project.mcp_servers.iter().flatten() {
        if server.patch.is_some() {
            agent.mcp_servers.remove(name);
        } else {
            agent.mcp_servers.insert(name.clone(), mcp_server(server));
        }
    }
    let mut notes = Vec::new();
    effective.resources = tightened(channel.resources, project, &mut notes);
    (effective, notes)
}

fn tightened(channel: Resources, project: &ProjectFile, notes: &mut Vec<Note>) -> Resources {
    let Some(resources) = &project.resources else { return channel };
    let limits = resources.limits.as_ref();
    let mut tighter = |field, channel: i64, asked: Option<i64>| {
        let Some(asked) = asked.filter(|asked| *asked != channel) else { return channel };
        // Zero is no limit, on either side.
        if asked > 0 && (channel == 0 || asked < channel) {
            return asked;
        }
        let message = "it is no tighter than the channel's, which counts".to_owned();
        notes.push(Note { field, message });
        channel
    };
    let cpu = limits.and_then(|limits| limits.cpu);
    let cpu = cpu.map(|cpu| i64::try_from(cpu.nano()).unwrap_or(i64::MAX));
    let memory =
        limits.and_then(|limits| limits.memory).map(crate::resource::quantity::Quantity::units);
    let pids = limits.and_then(|limits| limits.pids).map(i64::from);
    let shm = resources.shm_size.map(crate::resource::quantity::Quantity::units);
    Resources {
        nano_cpus: tighter("resources.limits.cpu", channel.nano_cpus, cpu),
        memory_bytes: tighter("resources.limits.memory", channel.memory_bytes, memory),
        pids: tighter("resources.limits.pids", channel.pids, pids),
        shm_size_bytes: tighter("resources.shmSize", channel.shm_size_bytes, shm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::tests::channel;
    use crate::resource::project::decode_project;
    use crate::specs::parse::parse_node;

    fn read(text: &str) -> Result<ProjectFile, Vec<String>> {
        let node =
            parse_node("project.yaml", text).map_err(|violation| vec![violation.to_string()])?;
        let (project, violations) = decode_project("project.yaml", &node);
        let said = |v: crate::resource::validate::Violation| format!("{} {v}", v.path);
        project.ok_or_else(|| violations.into_iter().map(said).collect())
    }

    const CHANNEL: &str = "resources: {limits: {memory: 1Gi, pids: 100}, shmSize: 64Mi}\nagent: {model: opus, systemPrompt: s, mcpServers: {a: {command: a}, b: {command: b, env: {K: {valueFrom: {secretKeyRef: {name: s, key: k}}}}}}}";

    #[test]
    fn what_a_project_may_say_counts() {
        let channel = channel(CHANNEL);
        let project = read("model: haiku\nsystemPrompt: be brief\nmcpServers:\n  a: {$patch: delete}\n  b: {url: 'https://b'}\n  c: {command: c, env: {X: y}}\nresources: {limits: {memory: 512Mi, cpu: 500m}}\n").unwrap();
        let (found, notes) = apply(&channel, &project);
        assert_eq!(notes, []);
        let mut expected = channel;
        expected.agent.model = "haiku".to_owned();
        expected.agent.system_prompt = "be brief".to_owned();
        expected.resources.memory_bytes = 512 << 20;
        expected.resources.nano_cpus = 500_000_000;
        let servers = &found.agent.mcp_servers;
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((servers["b"].url.as_str(), servers["b"].env.len()), ("https://b", 0));
        expected.agent.mcp_servers.clone_from(servers);
        assert_eq!(found, expected);
    }

    #[test]
    fn no_project_gives_itself_more_than_its_channel_has() {
        let channel = channel(CHANNEL);
        let project =
            read("resources: {limits: {memory: 2Gi, pids: 0, cpu: ''}, shmSize: 65Mi}").unwrap();
        let (found, notes) = apply(&channel, &project);
        assert_eq!(found, channel);
        let fields: Vec<_> = notes.iter().map(|note| note.field).collect();
        assert_eq!(
            fields,
            ["resources.limits.memory", "resources.limits.pids", "resources.shmSize"]
        );
    }

    #[test]
    fn a_project_that_says_nothing_changes_nothing() {
        let channel = channel(CHANNEL);
        for text in ["", "# nothing\n", "---\n", "{}", "model:\n"] {
            assert_eq!(
                apply(&channel, &read(text).unwrap()),
                (channel.clone(), Vec::new()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_project_may_not_say_is_refused_with_its_place() {
        for (text, said) in [
            ("modle: x\n", " project.yaml:1:1: unknown field `modle` [E0103]"),
            ("image: {ref: x}\n", " project.yaml:1:1: unknown field `image` [E0103]"),
            ("[]\n", " project.yaml:1:1: expected a map, found a list [E0105]"),
            (
                "mcpServers:\n  a:\n    command: a\n    env:\n      K: {valueFrom: {secretKeyRef: {name: s, key: k}}}\n",
                "mcpServers.a.env.K project.yaml:5:11: a project file may not name a secret [E0128]",
            ),
            ("a: 1\n---\nb: 2\n", "project.yaml:2:1: the file has more than one document [E0124]"),
        ] {
            assert_eq!(read(text), Err(vec![said.to_owned()]), "{text}");
        }
        let body = "Zq9".repeat(14);
        let found = read(&format!("systemPrompt: sk-ant-api03-{body}\n")).unwrap_err();
        assert!(found[0].ends_with("[E0121]") && !found[0].contains(&body), "{found:?}");
        let long = read(&format!("systemPrompt: '{}'\n", "x".repeat(200_000))).unwrap_err();
        assert!(long[0].ends_with("[E0123]"), "{long:?}");
    }
}
