//! Following containers' output on a real engine: nothing lost, nothing doubled, whatever is torn down in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chanop::container::ContainerId;
use chanop::controller::effect::FollowRun;
use chanop::controller::input::Input;
use chanop::docker::{Docker, Endpoint, Engine};
use chanop::follower::{Follower, Means};
use chanop::resource::ResourceName;
use chanop::resource::text::hex;
use chanop::store::transcripts::{Secrets, Transcripts};
use chanop::world::run::{Followed, RunId, RunProgress};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::support::engine::{TestBed, endpoint};
use crate::support::proxy::{Proxy, count};

const SECRET: &str = "hunter2-hunter2-hunter2";
/// Generous: five workers share two cores.
const PATIENCE: Duration = Duration::from_mins(1);

/// An operator's part that follows, and its files.
struct Operator {
    follower: Follower<Docker>,
    inputs: mpsc::Receiver<Input>,
    transcripts: Transcripts,
    progress: Vec<RunProgress>,
}

impl Operator {
    fn start(bed: &TestBed, dir: &Path) -> Self {
        Self::with(bed.docker.clone(), dir)
    }

    fn with(engine: Docker, dir: &Path) -> Self {
        let transcripts = Transcripts::new(dir).unwrap();
        let (inputs_in, inputs) = mpsc::channel(64);
        let means = Means {
            engine,
            transcripts: transcripts.clone(),
            inputs: inputs_in,
            secrets: Arc::new(|channel: &ResourceName| {
                assert_eq!(channel.as_str(), "house");
                Secrets::new([SECRET])
            }),
            exit: Arc::new(|_| None),
        };
        Self { follower: Follower::new(means), inputs, transcripts, progress: Vec::new() }
    }

    fn follow(&mut self, id: &ContainerId, ended: bool) {
        let run = RunId { name: name("a"), rerun: 0 };
        let run = FollowRun { run, channel: name("house"), attempt: 0, ended };
        self.follower.follow(&BTreeMap::from([(id.clone(), run)]));
    }

    /// The one word about this container.
    async fn followed(&mut self, id: &ContainerId) -> Followed {
        loop {
            let input = tokio::time::timeout(PATIENCE, self.inputs.recv()).await;
            match input.expect("nothing was told").unwrap() {
                Input::RunFollowed { id: which, followed } => {
                    assert_eq!(which, *id);
                    return *followed;
                }
                Input::RunProgressed { progress, .. } => self.progress.push(progress),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Tells of nothing more.
    async fn stop(mut self) {
        self.inputs.close();
        self.follower.stop().await;
        assert!(self.inputs.recv().await.is_none(), "told of twice");
    }
}

fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

fn written(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("runs/a/0.jsonl")).unwrap_or_default()
}

async fn until_written(dir: &Path, bytes: usize) {
    let enough = async {
        while written(dir).len() < bytes {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, enough).await.expect("the transcript does not grow");
}

fn masked(text: &str) -> String {
    text.replace(SECRET, &"*".repeat(SECRET.len()))
}

fn assert_whole(dir: &Path, followed: &Followed, wanted: &[u8]) {
    let fact = followed.transcript.as_ref().unwrap();
    assert_eq!(fact.missing, None);
    assert!(written(dir) == wanted, "{} instead of {} bytes", written(dir).len(), wanted.len());
    assert_eq!(fact.bytes, wanted.len() as u64);
    assert_eq!(fact.sha256, hex(&Sha256::digest(wanted)));
}

const RESULT: &str = r#"{"type":"result","subtype":"success","is_error":false,"result":"done","num_turns":2,"total_cost_usd":0.5}"#;

#[tokio::test]
async fn a_run_that_goes_well_is_told_once_with_its_result() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut operator = Operator::start(&bed, dir.path());
    let script = format!("echo '{RESULT}'; echo 'my key is {SECRET}' >&2");
    let id = bed.create("well", &script).await;
    // Before it starts, there is nothing to be read, and nothing is told.
    bed.docker.start(&id).await.unwrap();
    operator.follow(&id, false);
    let mut tail = operator.transcripts.open(&name("a"), 0, 0);
    for _ in 0..100 {
        if tail.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        tail = operator.transcripts.open(&name("a"), 0, 0);
    }
    let followed = operator.followed(&id).await;
    assert_whole(dir.path(), &followed, format!("{RESULT}\n").as_bytes());
    assert_eq!(followed.stderr, masked(&format!("my key is {SECRET}\n")));
    assert_eq!((followed.fold.turns(), followed.fold.dollars()), (2, Some(0.5)));
    let mut tail = tail.unwrap();
    let mut read = Vec::new();
    while let Some(piece) = tail.next().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, format!("{RESULT}\n").as_bytes());
    operator.follow(&id, true);
    operator.stop().await;
}

/// Docker drops a last line without a newline from a followed log in about half of the runs; another reading has it.
#[tokio::test]
async fn last_line_without_newline_is_not_lost() {
    let bed = TestBed::new().await;
    for number in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let mut operator = Operator::start(&bed, dir.path());
        let script = format!("echo one; printf '%s' '{RESULT}'");
        let id = bed.create(&format!("torn{number}"), &script).await;
        bed.docker.start(&id).await.unwrap();
        operator.follow(&id, false);
        bed.docker.wait(&id).await.unwrap();
        operator.follow(&id, true);
        let followed = operator.followed(&id).await;
        assert_whole(dir.path(), &followed, format!("one\n{RESULT}").as_bytes());
        assert_eq!(followed.fold.dollars(), Some(0.5), "run {number}");
        operator.stop().await;
    }
}

/// The engine behind a proxy that counts, and cuts.
async fn behind_a_proxy() -> (Proxy, Docker) {
    let proxy = blocking(|| Proxy::before(endpoint().socket())).await;
    let docker = Docker::connect(&Endpoint::unix(proxy.socket())).await.unwrap();
    (proxy, docker)
}

/// The proxy has a runtime of its own, and waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

const LOGS: &str = "/containers/*/logs";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_well_costs_one_call() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let (proxy, docker) = behind_a_proxy().await;
    let mut operator = Operator::with(docker, dir.path());
    let id = bed.run("cheap", &format!("echo one; sleep 0.5; echo '{RESULT}'")).await;
    let mark = proxy.mark();
    operator.follow(&id, false);
    let followed = operator.followed(&id).await;
    assert_whole(dir.path(), &followed, format!("one\n{RESULT}\n").as_bytes());
    operator.follow(&id, true);
    operator.stop().await;
    let asked = proxy.since(mark);
    assert_eq!((asked.len(), count(&asked, "GET", LOGS)), (1, 1), "{asked:?}");
    blocking(move || drop(proxy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_loses_and_doubles_nothing() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let (proxy, docker) = behind_a_proxy().await;
    let mut operator = Operator::with(docker, dir.path());
    let script = format!(
        "i=0; while [ $i -lt 300 ]; do echo \"line $i {SECRET}\"; i=$((i+1)); [ $((i % 10)) = 0 ] && sleep 0.1; done; echo '{RESULT}'"
    );
    let id = bed.run("cut", &script).await;
    operator.follow(&id, false);
    for bytes in [100, 3_000] {
        until_written(dir.path(), bytes).await;
        assert_eq!(proxy.cut("GET", LOGS), 1);
    }
    until_written(dir.path(), 6_000).await;
    let proxy = blocking(move || {
        proxy.refuse();
        std::thread::sleep(Duration::from_millis(500));
        proxy.accept();
        proxy
    })
    .await;
    let followed = operator.followed(&id).await;
    let output = masked(&bed.output(&id).await.0);
    assert_whole(dir.path(), &followed, output.as_bytes());
    operator.stop().await;
    blocking(move || drop(proxy)).await;
}

#[tokio::test]
async fn lines_longer_than_the_engines_pieces_stay_whole() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut operator = Operator::start(&bed, dir.path());
    let id = bed.run("long", &format!("busybox seq -s {SECRET} 1 20000; echo short")).await;
    operator.follow(&id, false);
    bed.docker.wait(&id).await.unwrap();
    operator.follow(&id, true);
    let followed = operator.followed(&id).await;
    let (output, _) = bed.output(&id).await;
    assert!(output.contains(SECRET) && output.ends_with("20000\nshort\n"));
    assert_whole(dir.path(), &followed, masked(&output).as_bytes());
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_that_is_started_again_in_the_middle_goes_on_at_the_byte() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "i=0; while [ $i -lt 600 ]; do echo \"line $i {SECRET} of many\"; i=$((i+1)); [ $((i % 20)) = 0 ] && sleep 0.05; done; true"
    );
    let id = bed.run("middle", &script).await;
    // Three operators die, each at another place, in mid-line or not.
    for bytes in [100, 5_000, 11_000] {
        let mut operator = Operator::start(&bed, dir.path());
        operator.follow(&id, false);
        until_written(dir.path(), bytes).await;
        operator.follower.stop().await;
    }
    let before = written(dir.path()).len();
    let mut operator = Operator::start(&bed, dir.path());
    operator.follow(&id, false);
    bed.docker.wait(&id).await.unwrap();
    operator.follow(&id, true);
    let followed = operator.followed(&id).await;
    let output = masked(&bed.output(&id).await.0);
    assert!(before < output.len(), "all was there before the last operator began");
    assert_whole(dir.path(), &followed, output.as_bytes());
    operator.stop().await;
}

#[tokio::test]
async fn what_ended_while_no_operator_ran_is_read_from_the_engine() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let id = bed.run_to_end("fast", "echo one; echo two; exit 3").await;
    let mut operator = Operator::start(&bed, dir.path());
    operator.follow(&id, true);
    let followed = operator.followed(&id).await;
    assert_whole(dir.path(), &followed, b"one\ntwo\n");
    assert_eq!(followed.noise.not_json, 2);
    operator.stop().await;
}

#[tokio::test]
async fn a_run_without_a_result_is_told_of_when_its_end_is_known_and_not_before() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut operator = Operator::start(&bed, dir.path());
    let id = bed.run("quiet", "echo one").await;
    operator.follow(&id, false);
    bed.docker.wait(&id).await.unwrap();
    until_written(dir.path(), 4).await;
    let early = tokio::time::timeout(Duration::from_millis(1_500), operator.inputs.recv()).await;
    assert!(early.is_err(), "{early:?}");
    operator.follow(&id, true);
    let followed = operator.followed(&id).await;
    assert_whole(dir.path(), &followed, b"one\n");
    operator.stop().await;
}

#[tokio::test]
async fn a_container_that_is_taken_away_leaves_what_was_read() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut operator = Operator::start(&bed, dir.path());
    let id = bed.run("gone", "echo one; sleep 1000").await;
    operator.follow(&id, false);
    until_written(dir.path(), 4).await;
    bed.docker.remove(&id, true).await.unwrap();
    let followed = operator.followed(&id).await;
    let fact = followed.transcript.unwrap();
    assert_eq!(fact.bytes, 4);
    assert_eq!(fact.missing.as_deref(), Some("its container was gone before all was read"));
    operator.stop().await;
}

#[tokio::test]
async fn what_leaves_the_set_is_not_followed_and_not_told_of() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut operator = Operator::start(&bed, dir.path());
    let id =
        bed.run("left", "i=0; while [ $i -lt 40 ]; do echo $i; i=$((i+1)); sleep 0.05; done").await;
    operator.follow(&id, false);
    until_written(dir.path(), 2).await;
    operator.follower.follow(&BTreeMap::new());
    bed.docker.wait(&id).await.unwrap();
    let there = written(dir.path()).len();
    assert!(there < bed.output(&id).await.0.len());
    operator.stop().await;
}

/// `VmRSS` of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// 1,100 lines of 44 kB: 48 MB.
const MUCH: &str = "line=$(busybox seq -s , 1 9000); i=0; while [ $i -lt 1100 ]; do echo \"{\\\"type\\\":\\\"x\\\",\\\"n\\\":$i,\\\"v\\\":[$line]}\"; i=$((i+1)); done";

fn bytes_of_much() -> u64 {
    let one = (1..=9_000).map(|n: u32| n.to_string()).collect::<Vec<_>>().join(",");
    (0..1_100).map(|n: u32| (n.to_string().len() + one.len() + 25) as u64).sum()
}

#[tokio::test]
async fn fifty_megabytes_take_little_memory() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut operator = Operator::start(&bed, dir.path());
    let mut config = bed.config(MUCH);
    config.log.options.insert("max-size".to_owned(), "200m".to_owned());
    let before = resident();
    let id = bed.docker.create(&bed.name("much"), &config).await.unwrap();
    bed.docker.start(&id).await.unwrap();
    operator.follow(&id, false);
    let mut most = before;
    bed.docker.wait(&id).await.unwrap();
    operator.follow(&id, true);
    let followed = tokio::select! {
        followed = operator.followed(&id) => followed,
        () = async { loop {
            most = most.max(resident());
            tokio::time::sleep(Duration::from_millis(20)).await;
        } } => unreachable!(),
    };
    let fact = followed.transcript.unwrap();
    assert_eq!(fact.missing, None);
    assert!(bytes_of_much() > 45_000_000);
    assert_eq!(fact.bytes, bytes_of_much());
    assert_eq!(followed.noise.lost_lines(), 0);
    let grown = most.saturating_sub(before);
    assert!(grown < 40 << 20, "{} MiB more", grown >> 20);
    operator.stop().await;
}

// Runs' logs are not turned below 500 MB, so that this is about containers with other options.
#[tokio::test]
#[ignore = "not always said yet: once in some runs a part comes twice from Docker 20.10, and the second reading does not tell"]
async fn what_the_engine_gives_twice_when_it_turns_its_logs_is_said() {
    let bed = TestBed::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut operator = Operator::start(&bed, dir.path());
    let id = bed.run("turned", MUCH).await;
    operator.follow(&id, false);
    bed.docker.wait(&id).await.unwrap();
    operator.follow(&id, true);
    let fact = operator.followed(&id).await.transcript.unwrap();
    // An engine that gives all of it once is right as well.
    let right = fact.bytes == bytes_of_much();
    assert_eq!(fact.missing.is_none(), right, "{} bytes: {:?}", fact.bytes, fact.missing);
    let twice = |missing: &str| missing.starts_with("the engine gave a part of it twice");
    assert!(fact.missing.as_deref().is_none_or(twice), "{:?}", fact.missing);
    operator.stop().await;
}
