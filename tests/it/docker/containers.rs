//! A container's life, and what is read back of it.

use std::collections::BTreeSet;

use chanop::container::config::{Limits, LogConfig, MountConfig, NetworkMode, PortConfig, drift};
use chanop::container::{ContainerConfig, ContainerId, ContainerName, ContainerState};
use chanop::docker::{Engine, EngineError};

use crate::support::engine::{TEST_LABEL, TestBed};

const MIB: i64 = 1024 * 1024;

/// Runs until TERM.
const OBEDIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait; done";

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// A configuration in which every field differs from its default.
fn everything(bed: &TestBed, source: &str, network: &str, port: u16) -> ContainerConfig {
    ContainerConfig {
        image: bed.image.reference().to_string(),
        entrypoint: words(&["/bin/sh"]),
        cmd: words(&["-c", OBEDIENT]),
        env: words(&["A=1", "B=two words", "C="]),
        working_dir: "/tmp".to_owned(),
        user: "1000:1000".to_owned(),
        hostname: "desk".to_owned(),
        labels: [
            (TEST_LABEL.to_owned(), bed.mark().to_owned()),
            ("x".to_owned(), "y=z".to_owned()),
        ]
        .into(),
        mounts: vec![
            MountConfig::Bind {
                source: source.to_owned(),
                target: "/ro".to_owned(),
                read_only: true,
            },
            MountConfig::Bind {
                source: source.to_owned(),
                target: "/rw".to_owned(),
                read_only: false,
            },
            MountConfig::Volume {
                source: bed.volume_name("data").to_string(),
                target: "/data".to_owned(),
                read_only: false,
            },
            MountConfig::Tmpfs {
                target: "/scratch".to_owned(),
                size_bytes: 1 << 20,
                exec: true,
                mode: 0o750,
                owner: Some((1000, 1001)),
            },
        ],
        group_add: words(&["27", "1001"]),
        limits: Limits { nano_cpus: 500_000_000, memory_bytes: 64 * MIB, pids: 50 },
        shm_size_bytes: 8 * MIB,
        cap_drop: words(&["ALL"]),
        cap_add: words(&["CHOWN", "CAP_KILL"]),
        no_new_privileges: true,
        read_only_rootfs: true,
        runtime: "runc".to_owned(),
        network: NetworkMode::Named(network.to_owned()),
        ports: vec![PortConfig { container_port: 80, host_port: port }],
        extra_hosts: words(&["host.docker.internal:host-gateway", "db:10.0.0.1"]),
        stop_timeout_seconds: 7,
        log: LogConfig {
            driver: "json-file".to_owned(),
            options: [
                ("max-size".to_owned(), "1m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ]
            .into(),
        },
        tty: true,
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_container_with_every_field_set_shows_no_drift() {
    let bed = TestBed::new().await;
    let source = tempfile::tempdir().unwrap();
    let network = bed.network_name("net");
    bed.docker.network_create(&network, &[].into()).await.unwrap();
    let want = everything(&bed, source.path().to_str().unwrap(), network.as_str(), free_port());
    let id = bed.docker.create(&bed.name("all"), &want).await.unwrap();
    for started in [false, true] {
        if started {
            bed.docker.start(&id).await.unwrap();
        }
        let snapshot = bed.docker.inspect(&id).await.unwrap();
        let details = snapshot.details.unwrap();
        assert_eq!(drift(&want, &details.config), vec![], "started: {started}");
        assert_eq!(details.limits, want.limits);
        assert_eq!(details.config.stop_timeout_seconds, 7);
        assert!(matches!(details.restart_policy.as_str(), "no" | ""));
        let connected = BTreeSet::from([network.to_string()]);
        assert_eq!(snapshot.networks.as_ref(), Some(&connected));
        let listed = bed.docker.list(TEST_LABEL, bed.mark()).await.unwrap();
        let listed = listed.into_iter().find(|listed| listed.id == id).unwrap();
        assert_eq!(listed.networks, Some(connected), "a list tells it as well");
        // Not only where drift looks: the tmpfs is whole.
        assert!(
            want.mounts.iter().all(|mount| details.config.mounts.contains(mount)),
            "{:?}",
            details.config.mounts
        );
    }
    // And every single difference is seen.
    let other = ContainerConfig { image: want.image.clone(), ..ContainerConfig::default() };
    let have = bed.docker.inspect(&id).await.unwrap().details.unwrap().config;
    let fields: BTreeSet<_> = drift(&other, &have).into_iter().map(|found| found.field).collect();
    for field in [
        "group_add",
        "cap_drop",
        "cap_add",
        "mounts",
        "no_new_privileges",
        "read_only_rootfs",
        "network",
        "ports",
        "extra_hosts",
        "log",
        "tty",
    ] {
        assert!(fields.contains(field), "{field} is not among {fields:?}");
    }
}

#[tokio::test]
async fn a_tmpfs_is_as_it_was_asked_for() {
    let bed = TestBed::new().await;
    let script = "stat -c '%u:%g %a' /t; cp /bin/busybox /t/ && /t/busybox true && echo runs";
    let mut config = bed.config(
        &script
            .replace("cp ", "busybox cp ")
            .replace("/bin/busybox /t/", "/bin/busybox /t/busybox"),
    );
    let owner = Some((1000, 1001));
    let tmpfs = |exec| MountConfig::Tmpfs {
        target: "/t".to_owned(),
        size_bytes: 8 << 20,
        exec,
        mode: 0o750,
        owner,
    };
    for (word, exec, wanted) in
        [("exec", true, "1000:1001 750\nruns\n"), ("noexec", false, "1000:1001 750\n")]
    {
        config.mounts = vec![tmpfs(exec)];
        let id = bed.docker.create(&bed.name(word), &config).await.unwrap();
        bed.docker.start(&id).await.unwrap();
        bed.docker.wait(&id).await.unwrap();
        assert_eq!(bed.output(&id).await.0, wanted, "{word}");
    }
}

#[tokio::test]
async fn limits_go_up_and_down_in_a_running_container() {
    let bed = TestBed::new().await;
    let id = bed.run("limits", OBEDIENT).await;
    let mut last = Limits::default();
    for limits in [
        Limits { nano_cpus: 500_000_000, memory_bytes: 64 * MIB, pids: 50 },
        Limits { nano_cpus: 1_000_000_000, memory_bytes: 256 * MIB, pids: 100 },
        Limits { nano_cpus: 250_000_000, memory_bytes: 32 * MIB, pids: 20 },
        Limits { pids: 0, ..Limits { nano_cpus: 250_000_000, memory_bytes: 32 * MIB, pids: 0 } },
    ] {
        bed.docker.update(&id, &limits).await.unwrap();
        last = bed.docker.inspect(&id).await.unwrap().details.unwrap().limits;
        assert_eq!(last, limits);
    }
    // A zero takes no limit away from memory and CPUs, and does not stop the rest.
    bed.docker.update(&id, &Limits { pids: 9, ..Limits::default() }).await.unwrap();
    let now = bed.docker.inspect(&id).await.unwrap().details.unwrap().limits;
    assert_eq!(now, Limits { pids: 9, ..last });
    let too_small = Limits { memory_bytes: 1, ..Limits::default() };
    assert_eq!(bed.docker.update(&id, &too_small).await.unwrap_err().class(), "refused");
}

#[tokio::test]
async fn a_taken_name_is_found_by_name_with_all_its_labels() {
    let bed = TestBed::new().await;
    let id = bed.create("twice", "true").await;
    let name = bed.name("twice");
    let again = bed.docker.create(&name, &bed.config("true")).await.unwrap_err();
    assert!(matches!(again, EngineError::NameTaken(_)), "{again}");
    let holder = bed.docker.inspect_name(&name).await.unwrap();
    assert_eq!((holder.id.clone(), holder.name), (id.clone(), name));
    assert_eq!(holder.labels.get(TEST_LABEL).map(String::as_str), Some(bed.mark()));
    let listed = bed.docker.list(TEST_LABEL, bed.mark()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].id, listed[0].state, listed[0].details.is_none()),
        (&id, ContainerState::Created, true)
    );
    assert_eq!(listed[0].created.as_second(), holder.created.as_second());
    assert_eq!(bed.docker.list(TEST_LABEL, "nobody").await.unwrap(), vec![]);
    // The beginning of an ID is no name.
    let prefix = ContainerName::parse(id.short()).unwrap();
    assert_eq!(bed.docker.inspect_name(&prefix).await.unwrap_err().class(), "not_found");
}

#[tokio::test]
async fn a_create_that_cannot_be_says_why() {
    let bed = TestBed::new().await;
    let mut config = bed.config("true");
    config.image = "chanop-test-nowhere:none".to_owned();
    let error = bed.docker.create(&bed.name("x"), &config).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::NoImage(text) if text.contains("chanop-test-nowhere")),
        "{error}"
    );

    let parent = tempfile::tempdir().unwrap();
    let missing = parent.path().join("missing");
    let source = missing.to_str().unwrap().to_owned();
    let mut config = bed.config("true");
    config.mounts = vec![MountConfig::Bind { source, target: "/x".to_owned(), read_only: false }];
    let error = bed.docker.create(&bed.name("x"), &config).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Refused(text) if text.contains("does not exist")),
        "{error}"
    );
    assert!(!missing.exists(), "the engine made the missing source");

    let mut config = bed.config("true");
    config.runtime = "no-such-runtime".to_owned();
    let error = bed.docker.create(&bed.name("x"), &config).await;
    // Some engines notice only at the start.
    let error = match error {
        Ok(id) => bed.docker.start(&id).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(
        matches!(&error, EngineError::Refused(text) if text.contains("no-such-runtime")),
        "{error}"
    );
}

#[tokio::test]
async fn a_start_that_cannot_be_leaves_the_container_and_says_why() {
    let bed = TestBed::new().await;
    let mut config = bed.config("");
    config.cmd = words(&["/no/such/program"]);
    let id = bed.docker.create(&bed.name("bad"), &config).await.unwrap();
    let error = bed.docker.start(&id).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Refused(text) if text.contains("/no/such/program")),
        "{error}"
    );
    let snapshot = bed.docker.inspect(&id).await.unwrap();
    let details = snapshot.details.unwrap();
    assert_eq!((snapshot.state, details.started_at), (ContainerState::Created, None));
    assert!(
        details.error.contains("/no/such/program") && matches!(details.exit_code, 126..=128),
        "{details:?}"
    );

    // The network that it speaks of is "not found", and yet the container is there.
    let mut config = bed.config("true");
    config.network = NetworkMode::Named("chanop_test_no_such_network".to_owned());
    let id = bed.docker.create(&bed.name("lonely"), &config).await.unwrap();
    let error = bed.docker.start(&id).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Refused(text) if text.contains("no_such_network")),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_the_containers_fault_and_not_the_engines() {
    let bed = TestBed::new().await;
    let network = bed.network_name("net");
    bed.docker.network_create(&network, &[].into()).await.unwrap();
    let mut config = bed.config(OBEDIENT);
    config.network = NetworkMode::Named(network.to_string());
    config.ports = vec![PortConfig { container_port: 80, host_port: free_port() }];
    let mut answers = Vec::new();
    for word in ["first", "second"] {
        let id = bed.docker.create(&bed.name(word), &config).await.unwrap();
        answers.push(bed.docker.start(&id).await);
    }
    assert_eq!(answers[0], Ok(()));
    assert!(
        matches!(&answers[1], Err(EngineError::Refused(text)) if text.contains("already")),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_wait_answers_the_exit_code_of_what_ran_and_zero_for_what_never_did() {
    let bed = TestBed::new().await;
    let failed = bed.run("failed", "exit 7").await;
    let answer = bed.docker.wait(&failed).await.unwrap();
    assert_eq!((answer.status_code, answer.error), (7, None));
    let details = bed.docker.inspect(&failed).await.unwrap().details.unwrap();
    assert_eq!((details.exit_code, details.pid), (7, 0));
    // Not compared with each other: of a process this short, dockerd writes down the start after the end.
    assert!(details.started_at.is_some() && details.finished_at.is_some());
    let never = bed.create("never", "exit 7").await;
    assert_eq!(bed.docker.wait(&never).await.unwrap().status_code, 0);
    let killed = bed.run("killed", OBEDIENT).await;
    let (answer, removed) =
        tokio::join!(bed.docker.wait(&killed), bed.docker.remove(&killed, true));
    removed.unwrap();
    assert_eq!(answer.unwrap().status_code, 137);
}

#[tokio::test]
async fn a_stop_is_polite_first_and_its_grace_is_kept() {
    let bed = TestBed::new().await;
    let polite =
        bed.run("polite", "trap 'exit 3' TERM; echo ready; while :; do sleep 1 & wait; done").await;
    wait_for_output(&bed, &polite, "ready").await;
    bed.docker.stop(&polite, 60).await.unwrap();
    assert_eq!(bed.docker.inspect(&polite).await.unwrap().details.unwrap().exit_code, 3);
    let deaf = bed.run("deaf", "trap '' TERM; echo ready; while :; do sleep 1; done").await;
    wait_for_output(&bed, &deaf, "ready").await;
    bed.docker.stop(&deaf, 1).await.unwrap();
    assert_eq!(bed.docker.inspect(&deaf).await.unwrap().details.unwrap().exit_code, 137);
}

#[tokio::test]
async fn what_could_reach_another_resource_is_no_name_at_all() {
    for text in ["../info#", "../info", "a/../../version?x=", "a?force=true", "x%2F..", ""] {
        assert!(ContainerName::parse(text).is_err(), "{text}");
        assert!(ContainerId::parse(text).is_err(), "{text}");
        assert!(chanop::container::ObjectName::parse(text).is_err(), "{text}");
        assert!(chanop::container::ImageRef::parse(text).is_err(), "{text}");
    }
    // And what goes into a query cannot end it.
    let bed = TestBed::new().await;
    bed.create("kept", "true").await;
    let value = format!("{}&all=false#", bed.mark());
    assert_eq!(bed.docker.list(TEST_LABEL, &value).await.unwrap(), vec![]);
    let id = bed.run("signalled", OBEDIENT).await;
    assert_eq!(bed.docker.kill(&id, "TERM&x=#").await.unwrap_err().class(), "refused");
    assert_eq!(bed.docker.inspect(&id).await.unwrap().state, ContainerState::Running);
}

async fn wait_for_output(bed: &TestBed, id: &ContainerId, word: &str) {
    use futures_util::StreamExt;
    let mut chunks = bed.docker.logs(id, true);
    while let Some(chunk) = chunks.next().await {
        if String::from_utf8_lossy(&chunk.unwrap().bytes).contains(word) {
            return;
        }
    }
    panic!("{id} ended without saying {word}");
}
