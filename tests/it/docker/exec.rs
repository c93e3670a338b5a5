//! Commands in a running container.

use chanop::container::ContainerId;
use chanop::docker::Engine;
use chanop::docker::engine::{ExecConfig, ExecId, ExecStream};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::support::engine::TestBed;

fn exec(script: &str) -> ExecConfig {
    ExecConfig {
        cmd: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecConfig::default()
    }
}

async fn open(bed: &TestBed, id: &ContainerId, exec: &ExecConfig) -> (ExecId, ExecStream) {
    let session = bed.docker.exec_create(id, exec).await.unwrap();
    let stream = bed.docker.exec_start(&session, exec.tty).await.unwrap();
    (session, stream)
}

/// The output to its end, as standard output and standard error.
async fn read(stream: &mut ExecStream) -> (String, String) {
    let mut out = [Vec::new(), Vec::new()];
    while let Some(chunk) = stream.output.next().await {
        let chunk = chunk.unwrap();
        out[usize::from(chunk.stderr)].extend_from_slice(&chunk.bytes);
    }
    let [stdout, stderr] = out.map(|bytes| String::from_utf8(bytes).unwrap());
    (stdout, stderr)
}

async fn exit_code(bed: &TestBed, session: &ExecId) -> i64 {
    // The stream's end comes a moment before the engine has written the code down.
    for _ in 0..100 {
        if let Some(code) = bed.docker.exec_inspect(session).await.unwrap().exit_code {
            return code;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the session does not end");
}

#[tokio::test]
async fn a_command_has_its_streams_environment_directory_user_and_code() {
    let bed = TestBed::new().await;
    let id = bed.run("busy", "sleep 1000").await;
    let config = ExecConfig {
        env: vec!["WORD=hello".to_owned()],
        working_dir: "/tmp".to_owned(),
        user: "1000:1001".to_owned(),
        ..exec("echo $WORD $(pwd) $(id -u):$(id -g); echo oops >&2; exit 9")
    };
    let (session, mut stream) = open(&bed, &id, &config).await;
    assert_eq!(read(&mut stream).await, ("hello /tmp 1000:1001\n".to_owned(), "oops\n".to_owned()));
    assert_eq!(exit_code(&bed, &session).await, 9);
}

#[tokio::test]
async fn what_is_written_is_read_by_the_command_to_its_end() {
    let bed = TestBed::new().await;
    let id = bed.run("busy", "sleep 1000").await;
    let config = ExecConfig { stdin: true, ..exec("cat; echo done") };
    let (_, mut stream) = open(&bed, &id, &config).await;
    stream.input.write_all(b"from outside\n").await.unwrap();
    stream.input.shutdown().await.unwrap();
    assert_eq!(read(&mut stream).await.0, "from outside\ndone\n");
}

#[tokio::test]
async fn a_terminal_has_a_size_that_changes_and_raw_bytes() {
    let bed = TestBed::new().await;
    let id = bed.run("busy", "sleep 1000").await;
    let script = "printf '\\001ready'; read a; stty size; read b; stty size; exit 4";
    let config = ExecConfig { tty: true, stdin: true, ..exec(script) };
    let (session, mut stream) = open(&bed, &id, &config).await;
    let first = stream.output.next().await.unwrap().unwrap();
    assert_eq!(first.bytes.first(), Some(&1), "a raw byte was taken for a header");
    assert!(bed.docker.exec_inspect(&session).await.unwrap().running);
    for (rows, columns) in [(33, 111), (44, 99)] {
        bed.docker.exec_resize(&session, rows, columns).await.unwrap();
        stream.input.write_all(b"\n").await.unwrap();
    }
    let text = read(&mut stream).await.0;
    // The second size may come before the first is asked for; the last one holds in the end.
    assert!(text.contains("44 99"), "{text:?}");
    assert_eq!(exit_code(&bed, &session).await, 4);
}

#[tokio::test]
async fn a_command_that_cannot_be_run_says_so_in_its_output_and_by_its_code() {
    let bed = TestBed::new().await;
    let id = bed.run("busy", "sleep 1000").await;
    for tty in [false, true] {
        let config =
            ExecConfig { cmd: vec!["/no/such/program".to_owned()], tty, ..ExecConfig::default() };
        let session = bed.docker.exec_create(&id, &config).await.unwrap();
        // Newer engines refuse the start instead.
        match bed.docker.exec_start(&session, tty).await {
            Ok(mut stream) => assert!(read(&mut stream).await.0.contains("/no/such/program")),
            Err(error) => assert!(error.to_string().contains("/no/such/program"), "{error}"),
        }
        assert!(matches!(exit_code(&bed, &session).await, 126 | 127));
    }
}

#[tokio::test]
async fn there_is_no_command_in_a_container_that_does_not_run() {
    let bed = TestBed::new().await;
    let id = bed.run_to_end("over", "true").await;
    assert_eq!(bed.docker.exec_create(&id, &exec("true")).await.unwrap_err().class(), "conflict");
}
