//! A table for each rule of the built-in policy.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::resource::effective::{
    Deletion, DeletionRuns, PullPolicy, Resources, RunDefaults, Shell, UpdateStrategy,
    UpdateStrategyKind, WorkspaceSettings,
};

fn effective() -> Effective {
    Effective {
        class_name: None,
        suspend: false,
        host_selector: BTreeMap::new(),
        workspace: Workspace { path: "/home/u/src/a".to_owned(), create: false },
        home: Home::Channel,
        image: Image {
            reference: "chanop-agent:latest".to_owned(),
            pull_policy: PullPolicy::Never,
            build: None,
        },
        user: User::Owner,
        env: vec![],
        mounts: vec![],
        files: vec![],
        ports: vec![],
        resources: Resources { nano_cpus: 0, memory_bytes: 0, pids: 0, shm_size_bytes: 0 },
        security: SecurityContext {
            supplemental_groups: vec![],
            drop_capabilities: vec!["ALL".to_owned()],
            add_capabilities: vec![],
            allow_privilege_escalation: false,
            read_only_root_filesystem: false,
        },
        runtime_class_name: String::new(),
        network: Network::Bridge,
        agent: Agent {
            bin: "claude".to_owned(),
            cli: AgentCli::Image,
            model: String::new(),
            system_prompt: String::new(),
            permission_mode: "bypassPermissions".to_owned(),
            credentials: None,
            mcp_servers: BTreeMap::new(),
            workspace_settings: WorkspaceSettings::Pinned,
            project_file: false,
            args: vec![],
        },
        shell: Shell { enabled: true, command: vec![] },
        runs: RunDefaults::default(),
        update_strategy: UpdateStrategy {
            kind: UpdateStrategyKind::WhenIdle,
            max_wait: Duration::from_hours(24),
        },
        deletion: Deletion { runs: DeletionRuns::Finish, keep_stopped: Duration::from_hours(1) },
    }
}

fn context() -> AdmissionContext {
    AdmissionContext {
        owner: Owner { user: "u".to_owned(), uid: 1000, gid: 1000, home: "/home/u".to_owned() },
        protected: vec!["/home/u/specs".to_owned(), "/var/lib/chanop".to_owned()],
        has_agent_cli: false,
        runtime_classes: BTreeSet::from(["runsc".to_owned(), "crun".to_owned()]),
        own_ports: BTreeSet::from([9841]),
    }
}

/// Every path that is wanted, as real as it is written, and every secret.
fn all_there(effective: &Effective) -> Facts {
    let wanted = facts_wanted(effective);
    let files: Vec<&String> = effective.files.iter().map(|file| &file.source).collect();
    let present = |path: &String| PathFact::Present {
        real: path.clone(),
        kind: if files.contains(&path) { PathKind::File } else { PathKind::Directory },
        uid: 1000,
        identity: (1, 1),
    };
    Facts {
        git: BTreeMap::new(),
        builds: wanted
            .builds
            .iter()
            .map(|build| (build.clone(), BuildFact::Present { hash: "h".to_owned() }))
            .collect(),
        paths: wanted.paths.iter().map(|path| (path.clone(), present(path))).collect(),
        secrets: wanted
            .secrets
            .into_iter()
            .map(|key| (key, SecretFact::Present { hash: "h".to_owned() }))
            .collect(),
        credentials: wanted
            .credentials
            .into_iter()
            .map(|name| (name, CredentialsFact::ApiKey { hash: "h".to_owned() }))
            .collect(),
        default_runtime: Some("runc".to_owned()),
    }
}

fn denials(effective: &Effective, facts: &Facts) -> Vec<(Rule, Reason, String)> {
    match admit(effective, facts, &context()) {
        Admission::Denied(denials) => {
            denials.into_iter().map(|d| (d.rule, d.reason, d.path)).collect()
        }
        Admission::Admitted => vec![],
        Admission::NotProbed => panic!("everything was probed"),
    }
}

/// The rules that `effective` breaks where everything is there.
fn broken(effective: &Effective) -> Vec<Rule> {
    denials(effective, &all_there(effective)).into_iter().map(|(rule, ..)| rule).collect()
}

fn bind(source: &str) -> Mount {
    Mount::Bind {
        source: source.to_owned(),
        target: "/mnt/x".to_owned(),
        read_only: true,
        optional: false,
    }
}

fn file(source: &str) -> FileCopy {
    FileCopy { source: source.to_owned(), target: "/x".to_owned(), optional: false }
}

#[test]
fn a_plain_channel_is_admitted() {
    assert_eq!(broken(&effective()), vec![]);
}

#[test]
fn host_paths_are_judged_by_their_text() {
    use Rule::{BelowHome, NoDotPath, NotProtected, RealPath};
    for (path, rules) in [
        ("/home/u/data", vec![]),
        ("/home/u/a.b/.hidden", vec![]),
        ("/home/u", vec![BelowHome]),
        ("/home", vec![BelowHome]),
        ("/", vec![RealPath]),
        ("/home/u2", vec![BelowHome]),
        ("/home/u2/data", vec![BelowHome]),
        ("/etc", vec![BelowHome]),
        ("/var/run/docker.sock", vec![BelowHome]),
        ("/home/u/", vec![RealPath]),
        ("/home/u/data/", vec![RealPath]),
        ("/home/u//data", vec![RealPath]),
        ("/home/u/../u2", vec![RealPath]),
        ("/home/u/./data", vec![RealPath]),
        ("/home/u/data/..", vec![RealPath]),
        ("home/u/data", vec![RealPath]),
        ("", vec![RealPath]),
        ("/home/u/a\0b", vec![RealPath]),
        ("/home/u/.ssh", vec![NoDotPath]),
        ("/home/u/.config/x", vec![NoDotPath]),
        ("/home/u/...", vec![NoDotPath]),
        ("/home/u/specs", vec![NotProtected]),
        ("/home/u/specs/team", vec![NotProtected]),
        ("/home/u/specs2", vec![]),
        // Beside the channel's own workspace.
        ("/home/u/src/ab", vec![]),
    ] {
        let mut with_bind = effective();
        with_bind.mounts = vec![bind(path)];
        assert_eq!(broken(&with_bind), rules, "bind {path:?}");
        let mut with_workspace = effective();
        with_workspace.workspace.path = path.to_owned();
        assert_eq!(broken(&with_workspace), rules, "workspace {path:?}");
        let mut with_file = effective();
        with_file.files = vec![file(path)];
        // A dot-file of the home itself may be copied.
        let rules = if matches!(path, "/home/u/.ssh" | "/home/u/...") { vec![] } else { rules };
        assert_eq!(broken(&with_file), rules, "file {path:?}");
    }
}

#[test]
fn a_mount_that_contains_the_operators_directories_is_denied() {
    let mut ctx = context();
    ctx.protected = vec!["/home/u/x/y/state".to_owned()];
    let mut effective = effective();
    effective.mounts = vec![bind("/home/u/x")];
    let Admission::Denied(denied) = admit(&effective, &all_there(&effective), &ctx) else {
        panic!("it contains the state directory")
    };
    assert_eq!(denied[0].rule, Rule::NotProtected);
    assert_eq!(denied[0].path, "spec.mounts[0].source");
}

#[test]
fn an_owner_whose_home_is_the_root_directory_may_mount_nothing() {
    let mut ctx = context();
    ctx.owner.home = "/".to_owned();
    let effective = effective();
    let Admission::Denied(denied) = admit(&effective, &all_there(&effective), &ctx) else {
        panic!("the whole host would be below the home")
    };
    assert_eq!(denied[0].rule, Rule::BelowHome);
}

#[test]
fn a_path_with_a_link_on_the_way_is_denied() {
    let mut facts = all_there(&effective());
    for fact in facts.paths.values_mut() {
        if let PathFact::Present { real, .. } = fact {
            *real = "/etc".to_owned();
        }
    }
    let found = denials(&effective(), &facts);
    assert_eq!(
        found,
        [(Rule::RealPath, Reason::PolicyViolation, "spec.workspace.path".to_owned())]
    );
}

#[test]
fn special_files_are_never_mounted() {
    use PathKind::{Directory, File, Other, Socket};
    for (kind, workspace, mount, copied) in [
        (Directory, true, true, false),
        (File, false, true, true),
        (Socket, false, false, false),
        (Other, false, false, false),
    ] {
        let mut spec = effective();
        spec.mounts = vec![bind("/home/u/m")];
        spec.files = vec![file("/home/u/f")];
        let mut facts = all_there(&spec);
        for fact in facts.paths.values_mut() {
            if let PathFact::Present { kind: found, .. } = fact {
                *found = kind;
            }
        }
        let fields: Vec<String> =
            denials(&spec, &facts).into_iter().map(|(_, _, field)| field).collect();
        for (field, allowed) in [
            ("spec.workspace.path", workspace),
            ("spec.mounts[0].source", mount),
            ("spec.files[0].source", copied),
        ] {
            assert_eq!(!fields.contains(&field.to_owned()), allowed, "{field} {kind:?}");
        }
    }
}

#[test]
fn what_is_missing_is_said_unless_it_may_be() {
    let mut spec = effective();
    spec.mounts = vec![bind("/home/u/m")];
    spec.files = vec![file("/home/u/f")];
    let mut facts = all_there(&spec);
    for fact in facts.paths.values_mut() {
        *fact = PathFact::Missing;
    }
    let reasons: Vec<Reason> = denials(&spec, &facts).into_iter().map(|(_, r, _)| r).collect();
    assert_eq!(reasons, [Reason::WorkspaceMissing, Reason::MountMissing, Reason::MountMissing]);

    spec.workspace.create = true;
    spec.files[0].optional = true;
    spec.mounts = vec![Mount::Bind {
        source: "/home/u/m".to_owned(),
        target: "/m".to_owned(),
        read_only: true,
        optional: true,
    }];
    assert_eq!(denials(&spec, &facts), vec![]);

    // Unreadable is not missing: nobody knows what is there.
    facts.paths.insert("/home/u/m".to_owned(), PathFact::Unreadable("no".to_owned()));
    let reasons: Vec<Reason> = denials(&spec, &facts).into_iter().map(|(_, r, _)| r).collect();
    assert_eq!(reasons, [Reason::MountMissing]);
}

#[test]
fn secrets_have_to_be_there_and_usable() {
    let key = SecretKeyRef { name: "github".to_owned(), key: "token".to_owned() };
    let variable = EnvVar { name: "T".to_owned(), value: EnvValue::Secret(key.clone()) };
    let mut spec = effective();
    spec.agent.mcp_servers.insert(
        "db".to_owned(),
        McpServer {
            command: "x".to_owned(),
            args: vec![],
            env: vec![variable],
            url: String::new(),
        },
    );
    spec.agent.credentials = Some("anthropic".to_owned());
    let mut facts = all_there(&spec);
    assert_eq!(denials(&spec, &facts), vec![]);
    facts.secrets.insert(key, SecretFact::Unusable("it is open".to_owned()));
    facts.credentials.insert("anthropic".to_owned(), CredentialsFact::Missing);
    let found = denials(&spec, &facts);
    assert_eq!(
        found,
        [
            (
                Rule::SecretUsable,
                Reason::SecretMissing,
                "spec.agent.mcpServers.db.env.T.valueFrom.secretKeyRef".to_owned()
            ),
            (Rule::SecretUsable, Reason::SecretMissing, "spec.agent.credentials.secret".to_owned()),
        ]
    );
}

type Change = fn(&mut Effective);

/// One field: a change that is allowed, and changes that are refused, each with its rule. A field that nothing refuses says why.
struct Row {
    field: &'static str,
    allowed: Change,
    refused: Refused,
}

enum Refused {
    By(&'static [(Rule, Change)]),
    Never(&'static str),
}

/// Every field of the effective spec, by the names that its serialized form has.
const FIELDS: &[Row] = &[
    row(
        "className",
        |_| {},
        Refused::Never("its fields are merged in and judged as the channel's"),
    ),
    row("suspend", |e| e.suspend = true, Refused::Never("fewer containers are no risk")),
    row("hostSelector", |_| {}, Refused::Never("it selects an operator")),
    row(
        "workspace.path",
        |e| e.workspace.path = "/home/u/x".to_owned(),
        Refused::By(&[(Rule::BelowHome, |e| e.workspace.path = "/etc".to_owned())]),
    ),
    row(
        "workspace.create",
        |e| e.workspace.create = true,
        Refused::Never("it is created as the owner, where the owner could create it"),
    ),
    row("home", |e| e.home = Home::Image, Refused::Never("all three are the channel's alone")),
    row(
        "image.ref",
        |e| e.image.reference = "node:22".to_owned(),
        Refused::By(&[
            (Rule::ImageReference, |e| e.image.reference = "UPPER".to_owned()),
            (Rule::ImageReference, |e| e.image.reference = "../x".to_owned()),
        ]),
    ),
    row("image.pullPolicy", |_| {}, Refused::Never("it says when, not what")),
    // Its directory is a fact: see `what_is_missing_is_said_unless_it_may_be`.
    row("image.build", |e| e.image.build = Some(build()), Refused::Never("a fact decides")),
    row(
        "user",
        |e| e.user = User::Image,
        Refused::By(&[
            (Rule::NoRoot, |e| e.user = User::Ids { uid: 0, gid: 1000 }),
            (Rule::NoRootGroup, |e| e.user = User::Ids { uid: 1000, gid: 0 }),
            (Rule::NoForeignUser, |e| e.user = User::Ids { uid: 999, gid: 999 }),
            (Rule::NoForeignUser, |e| e.user = User::Ids { uid: 1000, gid: 999 }),
        ]),
    ),
    row("user.own", |e| e.user = User::Ids { uid: 1000, gid: 1000 }, Refused::Never("see user")),
    row("env", |_| {}, Refused::Never("values are the processes' own; secrets are facts")),
    row(
        "mounts.bind.source",
        |e| e.mounts = vec![bind("/home/u/data")],
        Refused::By(&[
            (Rule::NotProtected, |e| e.mounts = vec![bind("/home/u/specs/x")]),
            (Rule::NoDotPath, |e| e.mounts = vec![bind("/home/u/.ssh")]),
        ]),
    ),
    row(
        "mounts.volume.source",
        |e| e.mounts = vec![volume("cargo-cache", "/c")],
        Refused::By(&[
            (Rule::VolumeName, |e| e.mounts = vec![volume("chanop_anchor_default", "/c")]),
            (Rule::VolumeName, |e| e.mounts = vec![volume("/etc", "/c")]),
            (Rule::VolumeName, |e| e.mounts = vec![volume("../x", "/c")]),
        ]),
    ),
    row(
        "mounts.target",
        |e| e.mounts = vec![tmpfs("/scratch")],
        Refused::By(&[
            (Rule::ReservedTarget, |e| e.mounts = vec![tmpfs("/etc/hosts")]),
            (Rule::ReservedTarget, |e| e.mounts = vec![tmpfs("/.chanop/bin")]),
        ]),
    ),
    row(
        "files.source",
        |e| e.files = vec![file("/home/u/.npmrc")],
        Refused::By(&[(Rule::NoDotPath, |e| e.files = vec![file("/home/u/.ssh/id_rsa")])]),
    ),
    row(
        "files.target",
        |e| e.files = vec![FileCopy { target: "/opt/x".to_owned(), ..file("/home/u/x") }],
        Refused::By(&[(Rule::ReservedTarget, |e| {
            e.files = vec![FileCopy { target: "/etc/resolv.conf".to_owned(), ..file("/home/u/x") }];
        })]),
    ),
    row(
        "ports",
        |e| e.ports = vec![Port { container_port: 80, host_port: 8080 }],
        Refused::By(&[
            (Rule::ReservedPort, |e| e.ports = vec![Port { container_port: 80, host_port: 80 }]),
            (Rule::ReservedPort, |e| e.ports = vec![Port { container_port: 80, host_port: 9841 }]),
        ]),
    ),
    row("resources", |e| e.resources.pids = 1, Refused::Never("decoding bounds them")),
    row(
        "security.supplementalGroups",
        |e| e.security.supplemental_groups = vec![],
        Refused::By(&[(Rule::NoSupplementalGroup, |e| e.security.supplemental_groups = vec![999])]),
    ),
    row(
        "security.dropCapabilities",
        |e| e.security.drop_capabilities = vec!["ALL".to_owned(), "CHOWN".to_owned()],
        Refused::By(&[
            (Rule::DropAll, |e| e.security.drop_capabilities = vec![]),
            (Rule::DropAll, |e| e.security.drop_capabilities = vec!["CHOWN".to_owned()]),
        ]),
    ),
    row(
        "security.addCapabilities",
        |e| e.security.add_capabilities = vec![],
        Refused::By(&[(Rule::NoAddedCapability, |e| {
            e.security.add_capabilities = vec!["CHOWN".to_owned()];
        })]),
    ),
    row(
        "security.allowPrivilegeEscalation",
        |e| e.security.allow_privilege_escalation = false,
        Refused::By(&[(Rule::NoPrivilegeEscalation, |e| {
            e.security.allow_privilege_escalation = true;
        })]),
    ),
    row(
        "security.readOnlyRootFilesystem",
        |e| e.security.read_only_root_filesystem = true,
        Refused::Never("either is safe"),
    ),
    row(
        "runtimeClassName",
        |e| e.runtime_class_name = "crun".to_owned(),
        Refused::By(&[
            (Rule::RuntimeClass, |e| e.runtime_class_name = "kata".to_owned()),
            (Rule::RuntimeClass, |e| e.runtime_class_name = "/bin/evil".to_owned()),
        ]),
    ),
    row(
        "network",
        |e| e.network = Network::None,
        Refused::By(&[
            (Rule::NoHostNetwork, |e| e.network = Network::Host),
            (Rule::NoForeignNetwork, |e| e.network = Network::Named("bridge".to_owned())),
        ]),
    ),
    row(
        "agent.bin",
        |e| e.agent.bin = "/usr/bin/claude".to_owned(),
        Refused::By(&[(Rule::AgentCli, |e| {
            (e.agent.cli, e.agent.bin) = (AgentCli::Inject, "../claude".to_owned());
        })]),
    ),
    row("agent.cli", |_| {}, Refused::By(&[(Rule::AgentCli, |e| e.agent.cli = AgentCli::Inject)])),
    row(
        "agent.credentials",
        |e| e.agent.credentials = Some("anthropic".to_owned()),
        Refused::Never("a fact decides"),
    ),
    row("agent.mcpServers", |_| {}, Refused::Never("secrets are facts; the rest is inside")),
    row("agent.model", |e| e.agent.model = "x".to_owned(), Refused::Never("told to the agent")),
    row("agent.systemPrompt", |_| {}, Refused::Never("told to the agent")),
    row("agent.permissionMode", |_| {}, Refused::Never("the container is the fence")),
    row("agent.workspaceSettings", |_| {}, Refused::Never("told to the agent")),
    row("agent.projectFile", |_| {}, Refused::Never("the file is judged when it is read")),
    row("agent.args", |_| {}, Refused::Never("decoding judges them")),
    row("shell", |e| e.shell.enabled = false, Refused::Never("a command inside the container")),
    row("runs", |_| {}, Refused::Never("decoding bounds them")),
    row("updateStrategy", |_| {}, Refused::Never("it says when, not what")),
    row("deletion", |_| {}, Refused::Never("it says when, not what")),
];

const fn row(field: &'static str, allowed: Change, refused: Refused) -> Row {
    Row { field, allowed, refused }
}

fn build() -> Build {
    Build {
        context: ".".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        args: BTreeMap::new(),
        target: String::new(),
    }
}

fn tmpfs(target: &str) -> Mount {
    Mount::Tmpfs { target: target.to_owned(), size_bytes: 0, exec: false }
}

#[test]
fn every_field_has_a_rule_or_a_reason() {
    for Row { field, allowed, refused } in FIELDS {
        let mut spec = effective();
        allowed(&mut spec);
        assert_eq!(broken(&spec), vec![], "{field}");
        match refused {
            Refused::Never(why) => assert!(!why.is_empty()),
            Refused::By(changes) => {
                for (index, (rule, change)) in changes.iter().enumerate() {
                    let mut spec = effective();
                    change(&mut spec);
                    assert!(broken(&spec).contains(rule), "{field} {index}: {:?}", broken(&spec));
                }
            }
        }
    }
    // The table names every field, by its top-level key.
    let serde_json::Value::Object(fields) = serde_json::to_value(effective()).unwrap() else {
        panic!("a map")
    };
    for field in fields.keys() {
        let rows = FIELDS.iter().filter(|row| row.field.split('.').next() == Some(field));
        assert!(rows.count() > 0, "{field} has no row");
    }
    for (parent, children) in [("security", &fields["security"]), ("agent", &fields["agent"])] {
        for child in children.as_object().unwrap().keys() {
            let name = format!("{parent}.{child}");
            assert!(FIELDS.iter().any(|row| row.field == name), "{name} has no row");
        }
    }
}

#[test]
fn the_default_runtime_is_allowed_by_its_name() {
    let mut spec = effective();
    spec.runtime_class_name = "runc".to_owned();
    assert_eq!(broken(&spec), vec![]);
    // Before the engine was asked, nobody knows.
    let facts = Facts { default_runtime: None, ..all_there(&spec) };
    assert_eq!(admit(&spec, &facts, &context()), Admission::NotProbed);
    let facts = Facts { default_runtime: Some("crun".to_owned()), ..all_there(&spec) };
    assert_eq!(denials(&spec, &facts)[0].0, Rule::RuntimeClass);
}

#[test]
fn no_source_is_below_what_the_channel_itself_writes() {
    let inside = |writable: bool| {
        let mut spec = effective();
        spec.mounts = vec![
            bind("/home/u/src/a/inner"),
            Mount::Bind {
                source: "/home/u/rw".to_owned(),
                target: "/rw".to_owned(),
                read_only: !writable,
                optional: false,
            },
            Mount::Bind {
                source: "/home/u/rw/deeper".to_owned(),
                target: "/deeper".to_owned(),
                read_only: true,
                optional: false,
            },
        ];
        spec
    };
    for class in ["", "runc", "runsc"] {
        let mut spec = inside(true);
        spec.runtime_class_name = class.to_owned();
        let fields: Vec<String> =
            denials(&spec, &all_there(&spec)).into_iter().map(|(_, _, field)| field).collect();
        assert_eq!(fields, ["spec.mounts[0].source", "spec.mounts[2].source"], "{class}");
        let mut spec = inside(false);
        spec.runtime_class_name = class.to_owned();
        assert_eq!(broken(&spec), [Rule::NotBelowOwnMount], "{class}");
    }
}

fn volume(source: &str, target: &str) -> Mount {
    Mount::Volume { source: source.to_owned(), target: target.to_owned(), read_only: false }
}

#[test]
fn nothing_covers_what_chanop_and_the_kernel_mount() {
    for (target, allowed) in [
        ("/c", true),
        ("/etc/ssl", true),
        ("/procfs", true),
        ("/home/u/.cargo", true),
        ("/home/u", false),
        ("/home/u/src/a", false),
        ("/", false),
        ("/etc", false),
        ("/etc/passwd", false),
        ("/etc/hosts", false),
        ("/etc/hostname", false),
        ("/etc/resolv.conf", false),
        ("/etc/hosts.d", true),
        ("/.chanop", false),
        ("/.chanop/secrets/env", false),
        ("/proc/1", false),
        ("/dev/kmsg", false),
        ("/c/../.chanop", false),
        ("/c/", false),
        ("c", false),
    ] {
        let mut spec = effective();
        spec.mounts = vec![volume("v", target)];
        let rules = if allowed { vec![] } else { vec![Rule::ReservedTarget] };
        assert_eq!(broken(&spec), rules, "{target}");
    }
}

#[test]
fn nothing_is_admitted_before_the_host_was_looked_at() {
    let mut spec = effective();
    let answer = |spec: &Effective| admit(spec, &Facts::default(), &context());
    assert_eq!(answer(&spec), Admission::NotProbed);
    // What needs no look is said at once.
    spec.network = Network::Host;
    assert!(matches!(answer(&spec), Admission::Denied(denied) if denied.len() == 1));
}

#[test]
fn what_a_person_must_change_comes_first() {
    let mut spec = effective();
    spec.mounts = vec![bind("/etc")];
    let mut facts = all_there(&spec);
    facts.paths.insert(spec.workspace.path.clone(), PathFact::Missing);
    let reasons: Vec<Reason> = denials(&spec, &facts).into_iter().map(|(_, r, _)| r).collect();
    assert_eq!(reasons, [Reason::PolicyViolation, Reason::WorkspaceMissing]);
}

#[test]
fn a_cli_is_injected_by_a_plain_name_and_only_where_the_operator_has_one() {
    let mut spec = effective();
    spec.agent.cli = AgentCli::Inject;
    let facts = all_there(&spec);
    let expected = (Rule::AgentCli, Reason::AgentCliMissing, "spec.agent.cli".to_owned());
    assert_eq!(denials(&spec, &facts), [expected]);
    let has_one = AdmissionContext { has_agent_cli: true, ..context() };
    assert_eq!(admit(&spec, &facts, &has_one), Admission::Admitted);
    for bin in ["/usr/bin/claude", "../claude", "..", "a b", ".claude"] {
        spec.agent.bin = bin.to_owned();
        let Admission::Denied(found) = admit(&spec, &facts, &has_one) else { panic!("{bin}") };
        assert_eq!((found.len(), found[0].path.as_str()), (1, "spec.agent.bin"), "{bin}");
        assert_eq!(found[0].reason, Reason::InvalidSpec, "{bin}");
    }
    // The image's own may lie anywhere.
    spec.agent.cli = AgentCli::Image;
    assert_eq!(broken(&spec), []);
}
