//! A table for each rule of the built-in policy.

use std::time::Duration;

use super::*;
use crate::resource::effective::{
    Agent, AgentCli, Build, Deletion, DeletionRuns, EnvVar, FileCopy, Image, McpServer, PullPolicy,
    Resources, RunDefaults, SecurityContext, Shell, UpdateStrategy, UpdateStrategyKind, Workspace,
    WorkspaceSettings,
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

fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

fn context() -> AdmissionContext {
    AdmissionContext {
        owner: Owner { user: "u".to_owned(), uid: 1000, gid: 1000, home: "/home/u".to_owned() },
        protected: vec!["/home/u/specs".to_owned(), "/var/lib/chanop".to_owned()],
        writable: BTreeMap::from([
            ("/home/u/src".to_owned(), vec![name("self")]),
            ("/home/u/shared".to_owned(), vec![name("other")]),
        ]),
        has_agent_cli: false,
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
    }
}

fn denials(effective: &Effective, facts: &Facts) -> Vec<(Rule, Reason, String)> {
    match admit(&name("self"), effective, facts, &context()) {
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
    use Rule::{BelowHome, NoDotPath, NotBelowForeignMount, NotProtected, RealPath};
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
        // What this channel writes is its own; what another writes may be shared, but not reached into.
        ("/home/u/src/b", vec![]),
        ("/home/u/shared", vec![]),
        ("/home/u/shared/x", vec![NotBelowForeignMount]),
        ("/home/u/shared2/x", vec![]),
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
    let Admission::Denied(denied) = admit(&name("self"), &effective, &all_there(&effective), &ctx)
    else {
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
    let Admission::Denied(denied) = admit(&name("self"), &effective, &all_there(&effective), &ctx)
    else {
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

#[test]
fn the_engine_is_asked_for_nothing_dangerous() {
    type Change = fn(&mut Effective);
    let cases: [(Change, Vec<Rule>); 16] = [
        (|e| e.network = Network::None, vec![]),
        (|e| e.network = Network::Host, vec![Rule::NoHostNetwork]),
        (|e| e.network = Network::Named("bridge".to_owned()), vec![Rule::NoForeignNetwork]),
        (
            |e| e.security.add_capabilities = vec!["SYS_ADMIN".to_owned(), "CHOWN".to_owned()],
            vec![Rule::NoAddedCapability, Rule::NoAddedCapability],
        ),
        (|e| e.user = User::Ids { uid: 0, gid: 1000 }, vec![Rule::NoRoot]),
        (|e| e.user = User::Ids { uid: 1, gid: 0 }, vec![]),
        (|e| e.user = User::Image, vec![]),
        (|e| e.image.reference = "UPPER".to_owned(), vec![Rule::ImageReference]),
        (|e| e.image.reference = "../x".to_owned(), vec![Rule::ImageReference]),
        (
            |e| {
                // Not read where the image is built.
                e.image.reference = String::new();
                e.image.build = Some(Build {
                    context: ".".to_owned(),
                    dockerfile: "Dockerfile".to_owned(),
                    args: BTreeMap::new(),
                    target: String::new(),
                });
            },
            vec![],
        ),
        (|e| e.runtime_class_name = "runsc".to_owned(), vec![]),
        (|e| e.runtime_class_name = "/bin/evil".to_owned(), vec![Rule::RuntimeClass]),
        (|e| e.mounts = vec![volume("cargo-cache", "/c")], vec![]),
        (|e| e.mounts = vec![volume("chanop_anchor_default", "/c")], vec![Rule::VolumeName]),
        (|e| e.mounts = vec![volume("/etc", "/c")], vec![Rule::VolumeName]),
        (|e| e.mounts = vec![volume("../x", "/c")], vec![Rule::VolumeName]),
    ];
    for (index, (change, rules)) in cases.into_iter().enumerate() {
        let mut spec = effective();
        change(&mut spec);
        assert_eq!(broken(&spec), rules, "case {index}");
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
fn an_images_own_user_is_judged_when_it_is_known() {
    assert_eq!(admit_image_user(1000), None);
    assert_eq!(admit_image_user(0).unwrap().rule, Rule::NoRoot);
}

#[test]
fn nothing_is_admitted_before_the_host_was_looked_at() {
    let mut spec = effective();
    let answer = |spec: &Effective| admit(&name("self"), spec, &Facts::default(), &context());
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
fn what_others_must_not_reach_into_is_what_a_channel_can_write() {
    let mut spec = effective();
    spec.mounts = vec![
        bind("/home/u/ro"),
        Mount::Bind {
            source: "/home/u/rw".to_owned(),
            target: "/rw".to_owned(),
            read_only: false,
            optional: true,
        },
    ];
    assert_eq!(writable_paths(&spec), ["/home/u/src/a", "/home/u/rw"]);
}

#[test]
fn a_cli_is_injected_by_a_plain_name_and_only_where_the_operator_has_one() {
    let mut spec = effective();
    spec.agent.cli = AgentCli::Inject;
    let facts = all_there(&spec);
    let expected = (Rule::AgentCli, Reason::AgentCliMissing, "spec.agent.cli".to_owned());
    assert_eq!(denials(&spec, &facts), [expected]);
    let has_one = AdmissionContext { has_agent_cli: true, ..context() };
    assert_eq!(admit(&name("self"), &spec, &facts, &has_one), Admission::Admitted);
    for bin in ["/usr/bin/claude", "../claude", "..", "a b", ".claude"] {
        spec.agent.bin = bin.to_owned();
        let Admission::Denied(found) = admit(&name("self"), &spec, &facts, &has_one) else {
            panic!("{bin}")
        };
        assert_eq!((found.len(), found[0].path.as_str()), (1, "spec.agent.bin"), "{bin}");
        assert_eq!(found[0].reason, Reason::InvalidSpec, "{bin}");
    }
    // The image's own may lie anywhere.
    spec.agent.cli = AgentCli::Image;
    assert_eq!(broken(&spec), []);
}
