//! Merging, seen from the files.

use expect_test::expect;

use chanop::resource::effective::{EnvValue, Mount, Network};
use chanop::resource::merge::{FieldOrigin, Merged, effective};
use chanop::resource::{Channel, ChannelClass, Owner, Resource};
use chanop::specs::parse::parse_file;

fn owner() -> Owner {
    Owner { user: "ann".into(), uid: 1000, gid: 1000, home: "/home/ann".into() }
}

fn object(kind: &str, spec: &str) -> Resource {
    let text = format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n  {}\n",
        spec.replace('\n', "\n  ")
    );
    let mut parsed = parse_file("x.yaml", &text);
    assert_eq!(parsed.violations, vec![]);
    parsed.resources.remove(0)
}

fn channel(spec: &str) -> Channel {
    match object("Channel", &format!("workspace: {{path: ~/src/x}}\n{spec}")) {
        Resource::Channel(channel) => channel,
        other => panic!("{other:?}"),
    }
}

fn class(spec: &str) -> ChannelClass {
    match object("ChannelClass", spec) {
        Resource::Class(class) => class,
        other => panic!("{other:?}"),
    }
}

fn merged(channel_spec: &str, class_spec: &str) -> Merged {
    effective(&channel(channel_spec), Some(&class(class_spec)), &owner()).unwrap()
}

#[test]
fn the_smallest_channel_has_the_defaults() {
    let merged = effective(&channel(""), None, &owner()).unwrap();
    let json = serde_json::to_string_pretty(&merged.effective).unwrap();
    expect![[r#"
        {
          "className": null,
          "suspend": false,
          "hostSelector": {},
          "workspace": {
            "path": "/home/ann/src/x",
            "create": false
          },
          "home": "Channel",
          "image": {
            "ref": "chanop-agent:latest",
            "pullPolicy": "IfNotPresent",
            "build": null
          },
          "user": "Owner",
          "env": [],
          "mounts": [],
          "files": [],
          "ports": [],
          "resources": {
            "nanoCpus": 0,
            "memoryBytes": 4294967296,
            "pids": 4096,
            "shmSizeBytes": 268435456
          },
          "security": {
            "supplementalGroups": [],
            "dropCapabilities": [
              "ALL"
            ],
            "addCapabilities": [],
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": false
          },
          "runtimeClassName": "",
          "network": "Bridge",
          "agent": {
            "bin": "claude",
            "cli": "Image",
            "model": "",
            "systemPrompt": "",
            "permissionMode": "bypassPermissions",
            "credentials": null,
            "mcpServers": {},
            "workspaceSettings": "Pinned",
            "projectFile": false,
            "args": []
          },
          "shell": {
            "enabled": true,
            "command": []
          },
          "runs": {
            "maxConcurrent": 1,
            "queueMaxLength": 20,
            "queueMaxAge": {
              "secs": 86400,
              "nanos": 0
            },
            "activeDeadline": {
              "secs": 3600,
              "nanos": 0
            },
            "terminationGracePeriod": {
              "secs": 30,
              "nanos": 0
            },
            "backoffLimit": 0,
            "maxTurns": 0,
            "maxBudgetUSD": 0.0,
            "keepContainer": {
              "secs": 300,
              "nanos": 0
            },
            "historyLimit": 100,
            "historyMaxAge": {
              "secs": 7776000,
              "nanos": 0
            }
          },
          "updateStrategy": {
            "type": "WhenIdle",
            "maxWait": {
              "secs": 86400,
              "nanos": 0
            }
          },
          "deletion": {
            "runs": "Finish",
            "keepStopped": {
              "secs": 3600,
              "nanos": 0
            }
          }
        }"#]]
    .assert_eq(&json);
    let set: Vec<_> = merged.origins.iter().filter(|(_, o)| **o != FieldOrigin::Default).collect();
    assert_eq!(set, [(&"spec.workspace.path".to_owned(), &FieldOrigin::Channel)]);
}

#[test]
fn a_scalar_of_the_channel_overrides_the_classs_and_the_origin_says_so() {
    let merged = merged(
        "resources: {limits: {memory: 1Gi}}",
        "resources: {limits: {memory: 2Gi, cpu: 500m}}\nagent: {model: opus}",
    );
    assert_eq!(merged.effective.resources.memory_bytes, 1 << 30);
    assert_eq!(merged.effective.resources.nano_cpus, 500_000_000);
    assert_eq!(merged.effective.agent.model, "opus");
    let class = FieldOrigin::Class { name: "x".parse_name() };
    assert_eq!(merged.origins["spec.resources.limits.memory"], FieldOrigin::Channel);
    assert_eq!(merged.origins["spec.resources.limits.cpu"], class);
    assert_eq!(merged.origins["spec.resources.limits.pids"], FieldOrigin::Default);
}

#[test]
fn env_merges_by_name_in_the_classs_order_and_delete_removes() {
    let merged = merged(
        "env: [{name: NEW, value: n}, {name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: GONE, $patch: delete}]",
        "env: [{name: A, value: a}, {name: GONE, value: g}, {name: B, value: b}]",
    );
    let names: Vec<_> = merged.effective.env.iter().map(|env| env.name.as_str()).collect();
    assert_eq!(names, ["A", "B", "NEW"]);
    assert!(matches!(merged.effective.env[0].value, EnvValue::Secret(_)));
    assert_eq!(merged.origins["spec.env[A]"], FieldOrigin::Channel);
    assert!(matches!(merged.origins["spec.env[B]"], FieldOrigin::Class { .. }));
    assert!(!merged.origins.contains_key("spec.env[GONE]"));
}

#[test]
fn mounts_merge_by_where_they_appear_however_it_is_written() {
    let merged = merged(
        "mounts: [{type: volume, source: mine, target: /home/ann/.cargo}, {target: ~/old, $patch: delete}, '~/n/../n2:/x']"
            .replace("/n/../n2", "/./n2/")
            .as_str(),
        "mounts: ['cache:~/.cargo/', '~/old:~/old', {type: tmpfs, target: /scratch, size: 1Gi, exec: true}]",
    );
    let mounts = merged.effective.mounts;
    assert_eq!(
        mounts,
        [
            Mount::Volume {
                source: "mine".into(),
                target: "/home/ann/.cargo".into(),
                read_only: false
            },
            Mount::Tmpfs { target: "/scratch".into(), size_bytes: 1 << 30, exec: true },
            Mount::Bind {
                source: "/home/ann/n2".into(),
                target: "/x".into(),
                read_only: true,
                optional: false
            },
        ]
    );
}

#[test]
fn mcp_servers_merge_by_name_and_other_lists_replace() {
    let merged = merged(
        "agent: {args: [--b], mcpServers: {b: {url: 'https://b'}, gone: {$patch: delete}}}\nports: [{containerPort: 3000}]",
        "agent: {args: [--a], mcpServers: {a: {command: a, env: {K: v}}, b: {command: b}, gone: {command: g}}}\nports: [{containerPort: 1}]",
    );
    let names: Vec<_> = merged.effective.agent.mcp_servers.keys().cloned().collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(merged.effective.agent.mcp_servers["b"].command, "");
    assert_eq!(merged.effective.agent.args, ["--b"]);
    assert_eq!(merged.effective.ports[0].host_port, 3000);
    assert_eq!(merged.effective.ports.len(), 1);
}

#[test]
fn a_network_of_the_class_may_take_its_name_from_the_channel() {
    let merged = merged("network: {name: lab}", "network: {mode: Named}");
    assert_eq!(merged.effective.network, Network::Named("lab".into()));
    let violations = effective(&channel("network: {mode: Named}"), None, &owner()).unwrap_err();
    assert_eq!(violations[0].to_string(), "x.yaml:1:1: `mode: Named` needs `name` [E0106]");
}

#[test]
fn two_things_at_one_target_are_refused_only_when_they_meet() {
    let class = class("mounts: ['~/src:~/src/x']\nfiles: [{source: ~/a, target: /b}]");
    let channel = channel("mounts: [{type: tmpfs, target: /b}, {type: tmpfs, target: /proc/x}]");
    let violations = effective(&channel, Some(&class), &owner()).unwrap_err();
    let messages: Vec<_> = violations.iter().map(|v| v.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`/home/ann/src/x` is the target of a mount and of the workspace",
            "nothing can be put at `/proc/x`: it is the container's own",
            "`/b` is the target of a file and of a mount",
        ]
    );
}

#[test]
fn credentials_and_a_variable_that_signs_in_are_refused_when_they_meet() {
    let class = class("agent: {credentials: {secret: anthropic}}");
    let from = "{secretKeyRef: {name: a, key: b}}";
    let env = format!(
        "env: [{{name: ANTHROPIC_API_KEY, valueFrom: {from}}}, {{name: ANTHROPIC_BASE_URL, value: 'http://x'}}]"
    );
    let channel = channel(&env);
    let violations = effective(&channel, Some(&class), &owner()).unwrap_err();
    let said: Vec<_> = violations.iter().map(|v| (v.path.as_str(), v.message.as_str())).collect();
    let message =
        "the agent signs in with agent.credentials, and would take `ANTHROPIC_API_KEY` instead";
    assert_eq!(said, [("spec.env[ANTHROPIC_API_KEY]", message)]);
    assert!(effective(&channel, None, &owner()).is_ok());
}

trait ParseName {
    fn parse_name(&self) -> chanop::resource::ResourceName;
}

impl ParseName for str {
    fn parse_name(&self) -> chanop::resource::ResourceName {
        chanop::resource::ResourceName::parse(self).unwrap()
    }
}
