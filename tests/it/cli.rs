//! The built binary: what it prints, and its exit codes.

mod runs;

use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use chanop::cli::demo_image;
use chanop::container::config::MountConfig;
use chanop::container::{ContainerConfig, ContainerId, ContainerName};
use chanop::docker::{Docker, Endpoint, Engine};
use chanop::http::Limits;
use expect_test::{Expect, expect};

use crate::faces::{Served, view};

async fn chanop(arguments: &[&str], socket: &Path) -> Output {
    let mut command = command(arguments, socket);
    blocking(move || command.output().unwrap()).await
}

#[expect(clippy::disallowed_methods, reason = "the binary is what is tested")]
fn command(arguments: &[&str], socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chanop"));
    command.args(arguments).env_clear().env("CHANOP_SOCKET", socket).env("HOME", "/nonexistent");
    command.stdin(Stdio::null());
    command
}

/// Waits for a process while the server goes on on this thread.
async fn blocking<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(wait).await.unwrap()
}

/// Everything that a person or a script sees, with paths of the test taken out.
fn seen(output: &Output, socket: &Path) -> String {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace(&socket.display().to_string(), "SOCKET")
    };
    let mut all = text(&output.stdout);
    for line in text(&output.stderr).lines() {
        all.extend(["! ", line, "\n"]);
    }
    all + &format!("exit {}\n", output.status.code().unwrap())
}

async fn check(arguments: &[&str], expected: Expect) {
    let served = Served::new(view(), Limits::default()).await;
    let output = chanop(arguments, &served.socket).await;
    expected.assert_eq(&seen(&output, &served.socket));
}

async fn check_alone(arguments: &[&str], expected: Expect) {
    let socket = Path::new("/nonexistent/chanop.sock");
    let output = chanop(arguments, socket).await;
    expected.assert_eq(&seen(&output, socket));
}

#[tokio::test]
async fn help_tells_a_newcomer_where_to_begin() {
    check_alone(&["--help"], expect![[r"
        Keeps workspaces of AI agents in Docker as their YAML files say

        Usage: chanop [OPTIONS] <COMMAND>

        Write specs:
          init        Make a spec directory to begin with
          validate    Check spec files; needs no Docker
          explain     Say what a field is: chanop explain channel.spec.image
          plan        Show what the operator would do, and why

        Look:
          get         List channels, runs, classes or events
          describe    Show all of one object
          logs        Show what an agent said and did in a run
          cost        Add up what runs cost

        Work:
          run         Have a channel's agent do something, in a container of its own
          wait        Wait until a run has ended
          cancel      End a run
          shell       Open a login shell in a channel's container
          exec        Run a command in a channel's container
          agent       Talk to the agent in a channel's container

        Operate:
          operator    Read the specs and keep the channels
          reconcile   Look again now
          suspend     Stop a channel for a while
          resume      Take a suspension back
          prune       Let go of removals that were held
          release     Let go of runs that were held since a new store first saw them
          doctor      Check what this host has and lacks
          version     Show the versions of chanop, operator and engine

        Options:
              --instance <NAME>  The operator's instance [default: default]
              --socket <PATH>    The operator's control socket [default: $CHANOP_SOCKET,
                                 /run/chanop/chanop.sock for root, $XDG_RUNTIME_DIR/chanop/chanop.sock]
              --no-color         No colour, even on a terminal
          -h, --help             Print help
          -V, --version          Print version

        First steps:
          chanop init specs-dir --workspace ~/src/my-project
          chanop operator --specs specs-dir
          chanop get channels

        `chanop COMMAND --help` says more of each.
        Exit codes: 0 done, 1 error, 2 `plan` found something to do, 130 interrupted; of a run: 3 failed,
        4 cancelled, 5 lost or never started, 124 its time was over; `exec`, `shell` and `agent` pass the
        command's own code on.
        exit 0
    "]]).await;
}

#[tokio::test]
async fn a_verbs_help_has_an_example() {
    check_alone(&["exec", "--help"], expect![[r"
        Run a command in a channel's container, which is made if there is none

        Usage: chanop exec [OPTIONS] <CHANNEL> -- <CMD>...

        Arguments:
          <CHANNEL>  The channel
          <CMD>...   The program and its arguments

        Options:
          -T, --no-tty    No terminal for the command, even from one
          -n, --no-stdin  Nothing on the command's standard input
              --login     In a login shell's environment
          -h, --help      Print help

        Global options:
              --instance <NAME>  The operator's instance [default: default]
              --socket <PATH>    The operator's control socket [default: $CHANOP_SOCKET,
                                 /run/chanop/chanop.sock for root, $XDG_RUNTIME_DIR/chanop/chanop.sock]
              --no-color         No colour, even on a terminal

        The command has a terminal when standard input and output are one; its exit code becomes chanop's.

        Examples:
          chanop exec payments -- cargo test
          tar c . | chanop exec payments -- tar x -C /tmp
          chanop exec payments -n -- git status     # leaves standard input alone, for loops
        exit 0
    "]]).await;
}

#[tokio::test]
async fn without_an_operator_one_line_says_how_to_start_one() {
    check_alone(
        &["get", "channels"],
        expect![[r"
        ! chanop: no operator answers on SOCKET: start one with `chanop operator --specs DIR`
        exit 1
    "]],
    )
    .await;
    check_alone(
        &["exec", "web", "--", "true"],
        expect![[r"
        ! chanop: no operator answers on SOCKET: start one with `chanop operator --specs DIR`
        exit 1
    "]],
    )
    .await;
    check_alone(
        &["version"],
        expect![[r"
        chanop    0.1.0
        operator  none answers on SOCKET
        exit 0
    "]],
    )
    .await;
}

#[tokio::test]
async fn wrong_usage_is_an_error_and_not_a_pending_change() {
    check_alone(
        &["get", "pods"],
        expect![[r"
        ! chanop: there is no type `pods`: use channels, runs, classes or events
        exit 1
    "]],
    )
    .await;
    check_alone(
        &["get", "channels", "-o", "table"],
        expect![[r"
        ! error: invalid value 'table' for '--output <FORMAT>'
        !   [possible values: wide, json, yaml, name]
        ! 
        ! For more information, try '--help'.
        exit 1
    "]],
    )
    .await;
    check_alone(&["suspend", "channel/web", "--for", "5"], expect![[r"
        ! error: invalid value '5' for '--for <DURATION>': `5` is no duration: write 90s, 30m, 2h, 1d or 1h30m
        ! 
        ! For more information, try '--help'.
        exit 1
    "]]).await;
    check_alone(
        &["shell", "web"],
        expect![[r"
        ! chanop: a shell needs a terminal: use `chanop exec web -- CMD` in scripts
        exit 1
    "]],
    )
    .await;
}

#[tokio::test]
async fn get_channels_prints_the_documented_columns() {
    check(
        &["get", "channels"],
        expect![[r"
        NAME     READY   STATUS            RUNS   LAST-RUN   COST-24H   NEXT   PENDING   AGE
        ledger   False   PolicyViolation   -      -          -          -      -         3d
        web      True    Running           0/1    -          -          -      image     3d
        ! revision 4f1c2aa · 1 held · 2 not for this host
        ! held removals are let go with: chanop prune --confirm h1
        exit 0
    "]],
    )
    .await;
}

#[tokio::test]
async fn get_has_wide_columns_and_names_and_selects() {
    check(&["get", "ch", "-o", "wide", "-l", "team=team-web"], expect![[r"
        NAME   READY   STATUS    RUNS   LAST-RUN   COST-24H   NEXT   PENDING   AGE   IMAGE     WORKSPACE           CONTAINER      CLASS   SOURCE
        web    True    Running   0/1    -          -          -      image     3d    node:22   /home/ann/src/web   0123456789ab   -       team/web.yaml:1
        ! revision 4f1c2aa · 1 held · 2 not for this host
        ! held removals are let go with: chanop prune --confirm h1
        exit 0
    "]]).await;
    check(
        &["get", "channels", "-o", "name"],
        expect![[r"
        channel/ledger
        channel/web
        exit 0
    "]],
    )
    .await;
    check(
        &["get", "channel/web"],
        expect![[r"
        NAME   READY   STATUS    RUNS   LAST-RUN   COST-24H   NEXT   PENDING   AGE
        web    True    Running   0/1    -          -          -      image     3d
        exit 0
    "]],
    )
    .await;
    check(
        &["get", "channels", "-l", "team=nobody"],
        expect![[r"
        ! no channels found
        ! revision 4f1c2aa · 1 held · 2 not for this host
        ! held removals are let go with: chanop prune --confirm h1
        exit 0
    "]],
    )
    .await;
    check(
        &["get", "channel", "nope"],
        expect![[r#"
        ! chanop: channels "nope" not found
        exit 1
    "#]],
    )
    .await;
    check(
        &["get", "runs"],
        expect![[r"
            ! no runs found
            exit 0
        "]],
    )
    .await;
}

#[tokio::test]
async fn get_all_lists_channels_runs_and_classes() {
    check(
        &["get", "all"],
        expect![[r"
            NAME     READY   STATUS            RUNS   LAST-RUN   COST-24H   NEXT   PENDING   AGE
            ledger   False   PolicyViolation   -      -          -          -      -         3d
            web      True    Running           0/1    -          -          -      image     3d

            NAME      CHANNELS
            default   0
            ! no runs found
            ! revision 4f1c2aa · 1 held · 2 not for this host
            ! held removals are let go with: chanop prune --confirm h1
            exit 0
        "]],
    )
    .await;
}

#[tokio::test]
async fn foreign_text_never_reaches_the_terminal_raw() {
    check(&["get", "events"], expect![[r"
        LAST-SEEN   TYPE      REASON            OBJECT           COUNT   MESSAGE
        3h          Warning   PolicyViolation   channel/ledger   4       mount /run/docker.sock \u{1b}[2J is not allowed
        exit 0
    "]]).await;
}

#[tokio::test]
async fn verbs_print_the_operators_sentence() {
    check(
        &["reconcile"],
        expect![[r"
        looking at everything
        exit 0
    "]],
    )
    .await;
    check(
        &["reconcile", "channel/web"],
        expect![[r"
        looking at channel/web
        exit 0
    "]],
    )
    .await;
    check(
        &["suspend", "channel/web", "--for", "2h", "--reason", "migrating"],
        expect![[r"
        channel/web suspended for Some(7200s): migrating
        exit 0
    "]],
    )
    .await;
    check(
        &["resume", "channel/web"],
        expect![[r"
        ! chanop: channel/web is not suspended
        exit 1
    "]],
    )
    .await;
    check(&["prune"], expect![[r"
        old
        ! chanop: 1 held; if they are to go: chanop prune --confirm h1; if not, bring their files back
        exit 1
    "]]).await;
    check(
        &["prune", "--confirm", "h1"],
        expect![[r"
        let go of h1
        exit 0
    "]],
    )
    .await;
}

#[tokio::test]
async fn a_plan_with_something_to_do_exits_with_2() {
    check(
        &["plan"],
        expect![[r"
        revision 4f1c2aa, engine 20.10.24, policy built-in
         +   channel/ledger  create  team/ledger.yaml:1 is new
         1 create; 1 unchanged
        exit 2
    "]],
    )
    .await;
}

#[tokio::test]
async fn describe_says_why_and_what_waits() {
    check(
        &["describe", "channel/web"],
        expect![[r"
            Name:       web
            Status:     Running
                        web is Running
            Source:     team/web.yaml:1
            Age:        3d, generation 3
            Labels:     team=team-web
            Class:      -
            Workspace:  /home/ann/src/web
            Image:      node:22
            Container:  chanop_default_web (0123456789ab)
                        running, 5h old, image node:20
            Pending:    recreate: image node:20 → node:22
                        waits 61m: shell open
            Conditions:
              TYPE    STATUS   REASON    SINCE   MESSAGE
              Ready   True     Running   2h      web is Running
            Fields from:
              spec.image.ref   class default
            Events:     none
            exit 0
        "]],
    )
    .await;
    check(&["describe", "channel", "ledger"], expect![[r"
        Name:       ledger
        Status:     PolicyViolation
                    ledger is PolicyViolation
        Source:     team/ledger.yaml:1
        Age:        3d, generation 3
        Labels:     team=team-ledger
        Container:  none
        Conditions:
          TYPE    STATUS   REASON            SINCE   MESSAGE
          Ready   False    PolicyViolation   2h      ledger is PolicyViolation
        Events:
          LAST-SEEN   TYPE      REASON            COUNT   MESSAGE
          3h          Warning   PolicyViolation   4       mount /run/docker.sock \u{1b}[2J is not allowed
        exit 0
    "]]).await;
}

#[tokio::test]
async fn the_effective_spec_says_where_a_field_came_from() {
    let served = Served::new(view(), Limits::default()).await;
    let shown = chanop(&["get", "channel/web", "-o", "yaml", "--effective"], &served.socket).await;
    let shown = seen(&shown, &served.socket);
    assert!(shown.contains("\n  image:\n    ref: node:22  # class default\n"), "{shown}");
    assert!(shown.contains("\n    path: /home/ann/src/web\n"), "{shown}");
    assert!(!shown.contains("origins"), "{shown}");
}

#[tokio::test]
async fn version_knows_operator_and_engine() {
    check(
        &["version"],
        expect![[r"
        chanop    0.1.0
        operator  0.1.0, instance default, on SOCKET
        engine    20.10.24, API 1.41, on unix:///var/run/docker.sock
        exit 0
    "]],
    )
    .await;
}

#[tokio::test]
async fn another_instances_operator_is_not_asked() {
    check(&["--instance", "other", "get", "channels"], expect![[r"
        ! chanop: the operator on SOCKET serves the instance default, not other: name its socket with --socket
        exit 1
    "]]).await;
}

#[tokio::test]
async fn yaml_and_json_say_the_same() {
    let served = Served::new(view(), Limits::default()).await;
    let yaml = chanop(&["get", "channels", "-o", "yaml"], &served.socket).await;
    let json = chanop(&["get", "channels", "-o", "json"], &served.socket).await;
    let yaml: serde_json::Value = serde_yaml::from_slice(&yaml.stdout).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(yaml, json);
    assert_eq!(json["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_watch_prints_rows_below_one_heading_until_the_operator_ends() {
    let served = Served::new(view(), Limits::default()).await;
    let mut child =
        command(&["get", "channels", "-w"], &served.socket).stdout(Stdio::piped()).spawn().unwrap();
    let mut rows = BufReader::new(child.stdout.take().unwrap());
    let (rows, mut shown) = blocking(move || {
        let mut shown = String::new();
        for _ in 0..3 {
            rows.read_line(&mut shown).unwrap();
        }
        (rows, shown)
    })
    .await;
    served.publish(|view| view.channels.retain(|name, _| name.as_str() == "ledger"));
    let (mut rows, mut shown) = blocking(move || {
        let mut rows = rows;
        rows.read_line(&mut shown).unwrap();
        (rows, shown)
    })
    .await;
    assert!(served.stop().await);
    let status = blocking(move || {
        rows.read_to_string(&mut shown).unwrap();
        (child.wait().unwrap(), shown)
    })
    .await;
    assert_eq!(status.0.code(), Some(0));
    expect![[r"
        NAME     READY   STATUS            RUNS   LAST-RUN   COST-24H   NEXT   PENDING   AGE
        ledger   False   PolicyViolation   -      -          -          -      -         3d
        web      True    Running           0/1    -          -          -      image     3d
        web      True    Gone              0/1    -          -          -      image     3d
    "]]
    .assert_eq(&status.1);
}

#[tokio::test]
async fn init_makes_a_directory_that_validates_and_never_writes_over_one() {
    let top = tempfile::tempdir().unwrap();
    std::fs::create_dir(top.path().join("My Project")).unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = command(arguments, Path::new("/nonexistent/chanop.sock"));
        // A workspace lies below its owner's home.
        command.current_dir(top.path()).env("HOME", top.path());
        blocking(move || command.output().unwrap()).await
    };
    let first = run(&["init", "my specs", "--workspace", "My Project"]).await;
    expect![[r"
        made 'my specs'/my-project.yaml: the channel my-project, for ~/My Project
        made 'my specs'/default-class.yaml: what all channels share

        next:
          chanop validate 'my specs'           # are the files right?
          chanop demo-image                    # a small image made without any registry
          chanop doctor                        # has this host all that is needed?
          chanop operator --specs 'my specs'   # keep the channels (leave it running)
          chanop get channels                  # how do they stand?
          chanop shell my-project              # go in
        exit 0
    "]]
    .assert_eq(&seen(&first, &top.path().canonicalize().unwrap()));
    let again = run(&["init", "my specs", "--workspace", "My Project"]).await;
    assert_eq!(again.status.code(), Some(1), "it wrote over what was there");
    let valid = run(&["validate", "my specs"]).await;
    assert_eq!(valid.status.code(), Some(0), "{}", seen(&valid, top.path()));

    // The agent of this project could write its own rules.
    let inside = run(&["init", "My Project/specs", "--workspace", "My Project"]).await;
    assert_eq!(inside.status.code(), Some(1));
    assert!(!top.path().join("My Project/specs").exists());
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_error() {
    let served = Served::new(view(), Limits::default()).await;
    let script = format!("{} get channels -w | head -n 1", env!("CARGO_BIN_EXE_chanop"));
    #[expect(clippy::disallowed_methods, reason = "a shell's pipe is what is tested")]
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", &script]).env("CHANOP_SOCKET", &served.socket);
    let running = blocking(move || command.output().unwrap());
    tokio::pin!(running);
    // Each change is a line that nobody reads; the command notices at the next one.
    let output = loop {
        served.publish(|view| {
            if view.channels.pop_first().is_none() {
                *view = self::view();
            }
        });
        tokio::select! {
            output = &mut running => break output,
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("NAME"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A running container with chanop's init in it, as the operator would have made it, and a server that knows it.
struct Shell {
    docker: Docker,
    id: ContainerId,
    served: Served,
}

impl Shell {
    async fn new(name: &str) -> Self {
        let docker = Docker::connect(&Endpoint::unix("/var/run/docker.sock"))
            .await
            .expect("these tests need a Docker engine: make docker");
        let image = demo_image::build(&docker, None).await.unwrap();
        let init = MountConfig::Bind {
            source: env!("CARGO_BIN_EXE_chanop-init").to_owned(),
            target: "/.chanop/init".to_owned(),
            read_only: true,
        };
        let config = ContainerConfig {
            image: image.as_str().to_owned(),
            entrypoint: ["/.chanop/init", "idle"].map(str::to_owned).to_vec(),
            mounts: vec![init],
            labels: [("dev.chanop.test".to_owned(), "1".to_owned())].into(),
            ..ContainerConfig::default()
        };
        let name = format!("chanop-test-cli-{name}-{}", std::process::id());
        let id = docker.create(&ContainerName::parse(&name).unwrap(), &config).await.unwrap();
        docker.start(&id).await.unwrap();
        let served = Served::with_shell(view(), Limits::default(), id.clone()).await;
        Self { docker, id, served }
    }

    async fn end(self) {
        self.docker.remove(&self.id, true).await.unwrap();
    }
}

#[tokio::test]
async fn exec_carries_bytes_both_ways_and_passes_the_exit_code_on() {
    let shell = Shell::new("exec").await;
    let socket = shell.served.socket.clone();
    let mut exec =
        command(&["exec", "web", "--", "sh", "-c", "wc -c; echo no >&2; exit 7"], &socket);
    exec.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let piped = blocking(move || {
        let mut child = exec.spawn().unwrap();
        // More than any pipe holds.
        child.stdin.take().unwrap().write_all(&vec![b'x'; 1_000_000]).unwrap();
        child.wait_with_output().unwrap()
    })
    .await;
    let quiet = chanop(&["exec", "web", "-n", "--", "echo", "a b"], &socket).await;
    let missing = chanop(&["exec", "web", "-n", "--", "no-such-program"], &socket).await;
    shell.end().await;
    assert_eq!(seen(&piped, &socket), "1000000\n! no\nexit 7\n");
    assert_eq!(seen(&quiet, &socket), "a b\nexit 0\n");
    assert_eq!(missing.status.code(), Some(127), "{}", seen(&missing, &socket));
}

#[tokio::test]
async fn a_shell_has_a_terminal_of_our_size_and_leaves_ours_as_it_was() {
    let shell = Shell::new("shell").await;
    let socket = shell.served.socket.clone();
    let chanop = env!("CARGO_BIN_EXE_chanop");
    // `script` gives the command a terminal of its own; its settings are compared before and after.
    let inside = format!(
        "stty rows 33 cols 111; before=$(stty -g); {chanop} shell web; code=$?; \
         [ \"$before\" = \"$(stty -g)\" ] && echo kept; echo code $code"
    );
    #[expect(clippy::disallowed_methods, reason = "a terminal is needed")]
    let mut script = Command::new("script");
    script.args(["-qec", &inside, "/dev/null"]).env("CHANOP_SOCKET", &socket);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = blocking(move || {
        let mut child = script.spawn().unwrap();
        let mut keys = child.stdin.take().unwrap();
        let mut screen = BufReader::new(child.stdout.take().unwrap());
        let mut seen = Vec::new();
        // The prompt says that somebody listens.
        while !seen.ends_with(b"$ ") && !seen.ends_with(b"# ") {
            let mut byte = [0];
            if screen.read(&mut byte).unwrap() == 0 {
                break;
            }
            seen.push(byte[0]);
        }
        // The size comes in a call of its own, perhaps after the prompt.
        let keyed = "for i in $(seq 500); do [ \"$(stty size)\" = '0 0' ] || break; done; stty size; exit 5\n";
        keys.write_all(keyed.as_bytes()).unwrap();
        screen.read_to_end(&mut seen).unwrap();
        child.wait().unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    })
    .await;
    shell.end().await;
    assert!(output.contains("33 111"), "{output}");
    assert!(output.contains("kept\r\ncode 5"), "{output}");
}
