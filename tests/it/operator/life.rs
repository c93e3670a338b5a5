//! A shell's life between its file, its visitors and the commands: what waits, what changes in place, what is held.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::operator::{Ground, program};

fn started(container: &Value) -> Value {
    container["State"]["StartedAt"].clone()
}

/// A ground with one channel that runs.
fn one(more: &str) -> Ground {
    let mut ground = Ground::new();
    ground.channel("a.yaml", "a", more);
    ground.start();
    ground.until_converged(&["a"]);
    ground
}

#[test]
fn a_change_waits_for_the_visitor_while_limits_change_in_place() {
    let mut ground = one("");
    let before = ground.shell("a");
    let mut visitor = ground.chanop_command(&["exec", "a", "--", "sh", "-c", "read x"]);
    let mut visitor = visitor.stdin(Stdio::piped()).spawn().unwrap();
    ground.until("the visitor is in", |ground| !ground.shell("a")["ExecIDs"].is_null());

    ground.channel("a.yaml", "a", "  resources: {limits: {memory: 96Mi}}\n");
    let changed = ground.until_runs("a", |now| now["HostConfig"]["Memory"] == 96 * 1024 * 1024);
    assert_eq!(started(&changed), started(&before), "memory changes in place");
    assert_eq!(changed["HostConfig"]["MemorySwap"], 96 * 1024 * 1024, "swap equals memory");

    let env = "  resources: {limits: {memory: 96Mi}}\n  env: [{name: WORD, value: new}]\n";
    ground.channel("a.yaml", "a", env);
    let line = ground.until_some("the plan says that the change waits", |ground| {
        let (code, plan) = ground.plan();
        (code == 2).then(|| plan["lines"][0].clone())
    });
    assert_eq!((&line["sign"], &line["waiting"]), (&"-/+".into(), &true.into()), "{line}");
    assert!(line["when"].as_str().unwrap().contains("shell open"), "{line}");
    let text = ground.chanop(&["plan"]);
    assert_eq!(text.code, 2);
    assert!(text.out.contains("1 recreate (waiting)"), "{}", text.out);
    assert_eq!(started(&ground.shell("a")), started(&before), "nobody's work is yanked away");
    assert_eq!(ground.condition("a", "Ready").0, "True", "a shell whose change waits is usable");
    assert_eq!(ground.condition("a", "UpToDate").1, "UpdatePending");

    visitor.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(visitor.wait().unwrap().code(), Some(0));
    ground.until_runs("a", |now| now["Id"] != before["Id"]);
    ground.until_converged(&["a"]);
    assert_eq!(ground.exec("a", "echo $WORD").well(), "new\n");
}

#[test]
fn limits_are_set_and_changed_in_place() {
    let mut ground = one("");
    let before = ground.shell("a");
    let of = |shell: &Value| {
        ["NanoCpus", "Memory", "PidsLimit"].map(|name| shell["HostConfig"][name].as_i64().unwrap())
    };
    assert_eq!(of(&before)[0], 0, "no CPU limit at first");
    for (cpu, memory, pids) in [(500, 96, 50), (1500, 64, 0)] {
        let text = format!("{{limits: {{cpu: {cpu}m, memory: {memory}Mi, pids: {pids}}}}}");
        ground.channel("a.yaml", "a", &format!("  resources: {text}\n"));
        let want = [cpu * 1_000_000, memory << 20, pids];
        let after = ground.until_runs("a", |now| of(now) == want);
        assert_eq!(started(&after), started(&before), "{text} is applied in place");
    }
    ground.until_converged(&["a"]);
    assert_eq!(started(&ground.shell("a")), started(&before));
}

#[test]
fn removed_limit_recreates_and_says_why() {
    let mut ground = one("  resources: {limits: {cpu: 500m}}\n");
    let before = ground.shell("a");
    let mut visitor = ground.chanop_command(&["exec", "a", "--", "sh", "-c", "read x"]);
    let mut visitor = visitor.stdin(Stdio::piped()).spawn().unwrap();
    ground.until("the visitor is in", |ground| !ground.shell("a")["ExecIDs"].is_null());
    ground.channel("a.yaml", "a", "");
    let line = ground.until_some("the plan says that the change waits", |ground| {
        let (code, plan) = ground.plan();
        (code == 2).then(|| plan["lines"][0].to_string())
    });
    assert!(line.contains("cpu limit 500m → none (Docker cannot remove it in place)"), "{line}");
    drop(visitor.stdin.take());
    visitor.wait().unwrap();
    let after = ground.until_runs("a", |now| now["Id"] != before["Id"]);
    assert_eq!(after["HostConfig"]["NanoCpus"], 0);
    ground.until_converged(&["a"]);
}

#[test]
fn everything_docker_update_changes_is_reverted() {
    let mut ground = one("  resources: {limits: {memory: 128Mi}}\n");
    let before = ground.shell("a");
    // Swap and limits change in place.
    let name = ground.container("a");
    ground.docker(&["update", "--memory-swap", "-1", "--pids-limit", "9", &name]);
    let after = ground.until_runs("a", |now| {
        now["HostConfig"]["MemorySwap"] == 128 << 20 && now["HostConfig"]["PidsLimit"] == 4096
    });
    assert_eq!(started(&after), started(&before), "put back in place");
    // Docker cannot remove the others from a container.
    let flags = [
        ["--cpuset-cpus", "0"],
        ["--cpuset-mems", "0"],
        ["--cpu-shares", "512"],
        ["--memory-reservation", "32m"],
        ["--cpu-quota", "50000"],
    ];
    ground.docker(&[&["update"], flags.as_flattened(), &[&name]].concat());
    let fresh = ground.until_runs("a", |now| now["Id"] != before["Id"]);
    for field in ["CpusetCpus", "CpusetMems", "CpuShares", "MemoryReservation", "CpuQuota"] {
        let value = &fresh["HostConfig"][field];
        assert!(*value == 0 || *value == "", "{field} is {value}");
    }
    ground.until_converged(&["a"]);
    let events = ground.chanop(&["get", "events"]).well();
    assert!(events.contains("changed by hand: cpu-quota 50000 → none"), "{events}");
    assert_eq!(ground.shell("a")["Id"], fresh["Id"], "recreated once");
}

#[test]
fn options_of_network_connect_are_reverted() {
    let mut ground = one("");
    let (name, network) = (ground.container("a"), format!("chanop_{}", ground.instance));
    let before = ground.shell("a");
    ground.docker(&["network", "disconnect", &network, &name]);
    ground.docker(&["network", "connect", "--alias", "db", &network, &name]);
    // The engine sends no event for it. The list of every minute tells; this asks for one now.
    ground.chanop(&["reconcile"]).well();
    let fresh = ground.until_runs("a", |now| now["Id"] != before["Id"]);
    let aliases = fresh["NetworkSettings"]["Networks"][&network]["Aliases"].to_string();
    assert!(!aliases.contains("\"db\""), "{aliases}");
    ground.until_converged(&["a"]);
    let events = ground.chanop(&["get", "events"]).well();
    assert!(events.contains("network connect --alias db → none"), "{events}");
}

#[test]
fn suspend_resume_reconcile_and_the_restart_annotation_do_what_they_say() {
    let mut ground = one("");
    let before = ground.shell("a");
    ground.chanop(&["suspend", "channel/a", "--reason", "a migration"]).well();
    let message = ground.until_reason("a", "Ready", "Suspended");
    assert!(message.contains("a migration"), "{message}");
    ground.until("it is stopped", |ground| ground.shell("a")["State"]["Status"] == "exited");
    // The word is kept over a restart, and nobody else may start it meanwhile.
    ground.stop();
    ground.start();
    ground.until_reason("a", "Ready", "Suspended");
    assert_eq!(
        ground.chanop(&["exec", "a", "--", "true"]).code,
        1,
        "a suspended shell is not entered"
    );
    assert_eq!(ground.shell("a")["State"]["Status"], "exited");
    ground.chanop(&["resume", "channel/a"]).well();
    let after = ground.until_runs("a", |_| true);
    assert_eq!(after["Id"], before["Id"], "the same container");

    ground.chanop(&["suspend", "channel/a", "--for", "2s"]).well();
    ground.until("it is stopped", |ground| ground.shell("a")["State"]["Status"] == "exited");
    ground.until_runs("a", |_| true);
    ground.until_converged(&["a"]);

    let meta = "  annotations: {chanop.dev/restartedAt: \"2026-01-01T00:00:00Z\"}\n";
    ground.write("a.yaml", &ground.channel_text("a", meta, ""));
    let anew = ground.until_runs("a", |now| now["Id"] != before["Id"]);
    ground.until_converged(&["a"]);
    assert_eq!(ground.shell("a")["Id"], anew["Id"], "restarted once");
}

#[test]
fn a_missing_image_is_said_and_used_as_soon_as_it_is_there() {
    let mut ground = one("");
    let missing = format!("chanop-{}-later:latest", ground.instance);
    ground.workspace("b");
    let (image, never) = (
        format!("{{ref: {:?}}}", ground.image),
        format!("{{ref: {missing:?}, pullPolicy: Never}}"),
    );
    let text = ground.channel_text("b", "", "").replace(&image, &never);
    ground.write("b.yaml", &text);
    let message = ground.until_reason("b", "Ready", "ImageMissing");
    assert!(message.contains(&missing), "{message}");
    assert_eq!(ground.condition("a", "Ready").0, "True", "the others are none the worse");
    ground.docker(&["tag", &ground.image, &missing]);
    ground.chanop(&["reconcile", "channel/b"]).well();
    ground.until_converged(&["a", "b"]);
}

#[test]
fn what_the_policy_forbids_is_held_and_what_runs_stays() {
    let mut ground = one("");
    let before = ground.shell("a");
    ground.channel("a.yaml", "a", "  mounts: [{type: bind, source: /etc, target: /host}]\n");
    let message = ground.until_reason("a", "Ready", "PolicyViolation");
    assert!(message.contains("/etc"), "{message}");
    let (code, plan) = ground.plan();
    assert_eq!((code, &plan["lines"][0]["verb"]), (2, &"held".into()), "{plan}");
    assert_eq!(started(&ground.shell("a")), started(&before), "what runs stays");
    ground.channel("a.yaml", "a", "");
    ground.until_converged(&["a"]);
    assert_eq!(started(&ground.shell("a")), started(&before), "and is what it was");
}

#[test]
fn port_of_a_renamed_channel_is_waited_for_without_attempts() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports = format!("  ports: [{{containerPort: 3000, hostPort: {free}}}]\n");
    let mut ground = one(&ports);
    let mut visitor = ground.chanop_command(&["exec", "a", "--", "sh", "-c", "read x"]);
    let mut visitor = visitor.stdin(Stdio::piped()).spawn().unwrap();
    ground.until("the visitor is in", |ground| !ground.shell("a")["ExecIDs"].is_null());
    ground.channel("a.yaml", "b", &ports);
    let expected = format!("port {free} is used by channel/a, which stops when idle");
    ground.until("b says who has its port", |ground| {
        let (_, reason, message) = ground.condition("b", "Ready");
        reason == "PortInUse" && message == expected
    });
    drop(visitor.stdin.take());
    visitor.wait().unwrap();
    ground.until_runs("b", |_| true);
    let log = ground.log();
    assert_eq!(log.matches("channel/b: create done").count(), 1, "{log}");
    assert_eq!(log.matches("channel/b: start done").count(), 1, "{log}");
}

#[test]
fn port_of_another_program_is_named_and_retried() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut ground = Ground::new();
    ground.channel(
        "a.yaml",
        "a",
        &format!("  ports: [{{containerPort: 3000, hostPort: {port}}}]\n"),
    );
    ground.start();
    let why = ground.until_reason("a", "Ready", "PortInUse");
    assert!(why.contains(&format!("port {port} is used by a program on the host")), "{why}");
    assert!(why.contains("tried again at"), "{why}");
    drop(holder);
    ground.until_converged(&["a"]);
}

#[test]
fn a_port_is_open_on_this_host_only() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ground = one(&format!("  ports: [{{containerPort: 3000, hostPort: {free}}}]\n"));
    let bindings = &ground.shell("a")["NetworkSettings"]["Ports"]["3000/tcp"];
    assert_eq!(bindings.as_array().unwrap().len(), 1);
    assert_eq!(bindings[0]["HostIp"], "127.0.0.1");
    assert_eq!(bindings[0]["HostPort"], free.to_string());
}

#[test]
fn two_networks_of_the_instances_name_are_reduced_to_one() {
    let mut ground = Ground::new();
    ground.channel("a.yaml", "a", "");
    let (name, label) =
        (format!("chanop_{}", ground.instance), format!("dev.chanop.instance={}", ground.instance));
    for _ in 0..2 {
        let body = serde_json::json!({
            "Name": name, "Driver": "bridge",
            "Labels": { "dev.chanop.instance": ground.instance },
            "Options": { "com.docker.network.bridge.enable_icc": "false" },
        });
        // The docker command checks for duplicates, the API of 20.10 does not.
        let mut curl = program("curl");
        curl.args(["-sS", "-H", "Content-Type: application/json", "--unix-socket"]);
        curl.arg(crate::support::engine::endpoint().socket());
        curl.args(["-d", &body.to_string(), "http://engine/v1.41/networks/create"]);
        assert!(curl.output().unwrap().status.success());
    }
    let count = |ground: &Ground| {
        let filter = format!("label={label}");
        ground.docker(&["network", "ls", "-q", "--filter", &filter]).lines().count()
    };
    assert!(count(&ground) >= 1);
    ground.start();
    ground.until_converged(&["a"]);
    assert_eq!(count(&ground), 1);
    assert!(ground.shell("a")["NetworkSettings"]["Networks"][&name].is_object());
}

/// The engine can only be told of the size after the command has started, as with `docker exec`.
const SIZED: &str = r#"until [ -n "$(stty size 2>/dev/null)" ]; do sleep 0.1; done"#;

/// What `chanop` says on a terminal of 123 columns; its exit code is the last line.
pub(super) fn on_a_terminal(ground: &Ground, words: &str, input: &str) -> String {
    let chanop = env!("CARGO_BIN_EXE_chanop");
    let line = format!("stty cols 123 rows 45; {chanop} {words}; echo exit $?");
    let mut script = program("script");
    script
        .args(["--quiet", "--command", &line, "/dev/null"])
        .env("CHANOP_SOCKET", ground.path("run/c.sock"));
    script.env("TERM", "dumb").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("this test needs script(1), of util-linux");
    script.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8_lossy(&script.wait_with_output().unwrap().stdout).replace('\r', "")
}

#[test]
fn on_a_terminal_exec_and_shell_have_one_of_its_size_and_pass_the_exit_code_on() {
    let ground = one("");
    let seen =
        on_a_terminal(&ground, &format!("exec a -- sh -c '{SIZED}; tty; stty size; exit 7'"), "");
    assert!(seen.contains("/dev/pts/0\n45 123\n") && seen.ends_with("exit 7\n"), "{seen}");
    let seen = on_a_terminal(&ground, "shell a", &format!("{SIZED}; stty size; exit 9\n"));
    assert!(seen.contains("\n45 123\n") && seen.ends_with("exit 9\n"), "{seen}");
    let piped = ground.exec("a", "tty; exit 5");
    assert_eq!((piped.code, piped.out.as_str()), (5, "not a tty\n"));
}

#[test]
fn a_network_that_is_taken_away_is_made_again_with_what_needs_it() {
    let mut ground = one("");
    let network = format!("chanop_{}", ground.instance);
    ground.chanop(&["suspend", "channel/a"]).well();
    ground.until("it is stopped", |ground| ground.shell("a")["State"]["Status"] == "exited");
    ground.docker(&["network", "rm", &network]);
    ground.chanop(&["resume", "channel/a"]).well();
    ground.until_converged(&["a"]);
    assert!(ground.shell("a")["NetworkSettings"]["Networks"][&network].is_object());
}

#[test]
fn a_shell_that_was_taken_off_its_network_or_put_on_another_is_made_anew() {
    let mut ground = one("");
    let network = format!("chanop_{}", ground.instance);
    for verb in ["disconnect", "connect"] {
        let before = ground.shell("a");
        let to = if verb == "connect" { "bridge" } else { network.as_str() };
        ground.docker(&["network", verb, to, &ground.container("a")]);
        // The engine sends no event of the container: the list of every minute tells, or a person who asks for it.
        ground.chanop(&["reconcile"]).well();
        let after = ground.until_runs("a", |now| now["Id"] != before["Id"]);
        let joined: Vec<&String> =
            after["NetworkSettings"]["Networks"].as_object().unwrap().keys().collect();
        assert_eq!(joined, [&network], "{verb}");
        ground.until_converged(&["a"]);
    }
}
