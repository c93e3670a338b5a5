//! Hostile specs beside a well-behaved one: each hostile spec is refused by its rule, and the other channel notices nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::operator::{Ground, give};

/// A channel with a workspace of the test's choice.
fn with_workspace(ground: &Ground, name: &str, workspace: &str) -> String {
    ground.channel_text(name, "", "").replace(&format!("~/src/{name}"), workspace)
}

fn make(directory: PathBuf) -> PathBuf {
    fs::create_dir(&directory).unwrap();
    directory
}

#[test]
fn hostile_specs_do_not_affect_a_well_behaved_channel() {
    let mut ground = Ground::new();
    let gone_at_once = "  deletion: {keepStopped: 0s}\n";
    ground.channel("good.yaml", "good", gone_at_once);
    ground.start();
    ground.until_converged(&["good"]);
    let before = ground.shell("good")["State"]["StartedAt"].clone();

    // Another program's volume, and one that shows the host's file system.
    let (foreign, device) =
        (format!("{}-foreign", ground.instance), format!("{}-device", ground.instance));
    ground.docker(&["volume", "create", &foreign]);
    let label = format!("dev.chanop.instance={}", ground.instance);
    ground.docker(&[
        "volume",
        "create",
        "--label",
        &label,
        "--opt",
        "type=none",
        "--opt",
        "o=bind",
        "--opt",
        "device=/",
        &device,
    ]);
    let escalate = "  securityContext: {allowPrivilegeEscalation: true}\n";
    let keeps = "  securityContext: {capabilities: {drop: [CHOWN]}}\n";
    let groups = "  securityContext: {supplementalGroups: [0, 999]}\n";
    let volume = |name: &str| format!("  mounts: [{{type: volume, source: {name}, target: /v}}]\n");
    let read_only =
        format!("  mounts: [{{type: volume, source: {foreign}, target: /v, readOnly: true}}]\n");
    for (name, more) in [
        ("escalates", escalate),
        ("keeps", keeps),
        ("groups", groups),
        ("user", "  user: \"999:999\"\n"),
        ("runtime", "  runtimeClassName: kata\n"),
        ("foreign", &volume(&foreign)),
        ("foreign-ro", &read_only),
        ("device", &volume(&device)),
        ("inside", "  mounts: [{type: bind, source: ~/src/inside/s, target: /s}]\n"),
    ] {
        ground.channel(&format!("{name}.yaml"), name, more);
    }
    give(&make(ground.workspace("inside").join("s")));
    ground.write("aa-home.yaml", &with_workspace(&ground, "aa-home", "\"~\""));
    // Sorts before `good`, contains its workspace, and breaks no rule of its own.
    ground.write("aa-parent.yaml", &with_workspace(&ground, "aa-parent", "~/src"));

    let refused = [
        ("escalates", "privilege escalation"),
        ("keeps", "drop: [ALL]"),
        ("groups", "group 999"),
        ("user", "999:999 is not the owner"),
        ("runtime", "--runtime-class kata"),
        ("foreign", "did not create it"),
        ("foreign-ro", "did not create it"),
        ("device", "driver options"),
        ("inside", "src/inside, which the channel can write"),
        ("aa-home", "owner's home"),
        ("aa-parent", "a channel that can write"),
    ];
    for (name, why) in refused {
        let message = ground.until_reason(name, "Ready", "PolicyViolation");
        assert!(message.contains(why), "{name}: {message}");
        assert_eq!(ground.running(name), None, "{name}");
    }
    assert_eq!(ground.shell("good")["State"]["StartedAt"], before);
    ground.until_reason("good", "Ready", "Running");
    assert_eq!(ground.exec("good", "echo here").well(), "here\n");

    // The holder stays the holder when it is edited, and after a restart of the operator.
    let edited = format!("{gone_at_once}  resources: {{limits: {{memory: 64Mi}}}}\n");
    ground.channel("good.yaml", "good", &edited);
    ground.stop();
    ground.start();
    ground.until_reason("good", "Ready", "Running");
    ground.until_reason("aa-parent", "Ready", "PolicyViolation");
    assert_eq!(ground.shell("good")["State"]["StartedAt"], before);

    // When it goes, its paths are free.
    for name in ["foreign", "foreign-ro", "device"] {
        ground.channel(&format!("{name}.yaml"), name, escalate);
    }
    ground.unlink("good.yaml");
    ground.until_reason("aa-parent", "Ready", "Running");
    ground.docker(&["volume", "rm", &foreign, &device]);
}

#[test]
fn a_run_waits_for_one_that_could_replace_what_it_mounts() {
    let mut ground = Ground::new();
    let data = make(ground.path("home/data"));
    give(&data);
    give(&make(data.join("sub")));
    let with = |ground: &Ground, mount: &str| {
        ground.agent_channel("a", "maxConcurrent: 2");
        let text = fs::read_to_string(ground.path("specs/a.yaml")).unwrap();
        ground.write("a.yaml", &format!("{text}  mounts: [{mount}]\n"));
    };
    with(&ground, "{type: bind, source: ~/data, target: /data, readOnly: false}");
    ground.start();
    ground.until_converged(&["a"]);
    assert_eq!(ground.order("writes", "a", "until:go"), 201);
    ground.until_phase("writes", "Running");

    with(&ground, "{type: bind, source: ~/data/sub, target: /sub}");
    ground.until("the new spec is in effect", |ground| {
        ground.shown("a")["metadata"]["generation"] == 2
    });
    assert_eq!(ground.order("reads", "a", "say:done"), 201);
    let message = ground.until_some("the second waits", |ground| {
        let run = ground.run("reads");
        let message = run["status"]["message"].as_str().unwrap_or_default().to_owned();
        message.contains("waits until").then_some(message)
    });
    assert!(message.contains("_a_writes_1 is gone") && message.contains("/data/sub"), "{message}");
    ground.let_go("a", "go");
    assert_eq!(ground.until_ended("reads")["status"]["phase"], "Succeeded");
}

#[test]
fn the_engines_default_runtime_can_be_named_and_keeps_the_mount_check() {
    let mut ground = Ground::new();
    ground.channel("a.yaml", "a", "");
    ground.start();
    ground.until_converged(&["a"]);
    let before = ground.shell("a");
    let default = ground.docker(&["info", "--format", "{{.DefaultRuntime}}"]);
    ground.channel("a.yaml", "a", &format!("  runtimeClassName: {}\n", default.trim()));
    ground.until("the new spec is in effect", |ground| {
        ground.shown("a")["metadata"]["generation"] == 2
    });
    ground.until_converged(&["a"]);
    assert_eq!(ground.shell("a")["Id"], before["Id"], "it is the same container as without");

    // A channel that names it is checked like any other: its list of mounts is not empty.
    ground.channel("b.yaml", "b", &format!("  runtimeClassName: {}\n", default.trim()));
    ground.until_converged(&["b"]);
    let listed = ground.exec("b", "wc -c < /.chanop/mounts").well();
    assert!(listed.trim().parse::<u64>().unwrap() > 0, "{listed}");
}

#[test]
fn a_setuid_program_of_the_image_gains_nothing() {
    let mut ground = Ground::new();
    ground.channel("a.yaml", "a", "");
    ground.start();
    ground.until_converged(&["a"]);
    // A setuid copy of busybox in the workspace, as a container that was root could leave it.
    let program = ground.workspace("a").join("busybox");
    let of_image = format!("{}:/bin/busybox", ground.container("a"));
    ground.docker(&["cp", &of_image, program.to_str().unwrap()]);
    rustix::fs::chown(&program, Some(rustix::fs::Uid::ROOT), None).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let uid = ground.exec("a", "./busybox id -u").well();
    assert_ne!(uid.trim(), "0");
}
