//! A command in a channel's shell container, connected to this terminal.
//!
//! The operator sees to it that the container runs; the session itself is between this process and the engine, so that it
//! outlives a restart of the operator. Everything goes through `chanop-init`, which gives the command the channel's
//! secrets.
//!
//! The engine has no call to end a session: whoever closes the connection leaves the command running. A terminal that
//! goes away hangs up on its session all the same: beside a command at a terminal runs init's [`leash`](crate::init), whose
//! input we hold. A command without a terminal goes on.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::printer::Printer;
use super::terminal::{self, RawMode};
use crate::container::ContainerId;
use crate::docker::engine::{ExecConfig, ExecId, ExecStream};
use crate::docker::{Docker, Endpoint, Engine, EngineResult};
use crate::http::views::Ensured;
use crate::init::layout;
use crate::resource::ResourceName;

/// What to run and how it is connected.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Arguments behind `--`; empty with `login`: the user's own shell.
    pub(super) command: Vec<String>,
    /// More for its environment, `NAME=value`.
    pub(super) env: Vec<String>,
    /// In a login shell's environment?
    pub(super) login: bool,
    /// With a terminal?
    pub(super) tty: Tty,
    /// With our standard input?
    pub(super) stdin: bool,
}

/// Has a command a terminal, and what when that is gone?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tty {
    /// None. It goes on.
    #[default]
    None,
    /// It is hung up on, and may choose not to heed that.
    HangsUp,
    /// It ends, one way or the other.
    Kills,
}

impl Tty {
    fn is_there(self) -> bool {
        self != Self::None
    }
}

/// Runs it in `channel`'s shell, made if need be, and passes its exit code on.
pub(super) async fn run(context: &Context, channel: &ResourceName, session: Session) -> Outcome {
    let shell = context.operator().await?.ensure(channel.as_str()).await?;
    run_in(context, &shell, session).await
}

/// Runs it in a shell that is there.
pub(super) async fn run_in(context: &Context, shell: &Ensured, session: Session) -> Outcome {
    let socket = shell.engine_endpoint.strip_prefix("unix://").unwrap_or(&shell.engine_endpoint);
    let engine = Docker::connect(&Endpoint::unix(Path::new(socket))).await?;
    let container = ContainerId::parse(&shell.container_id)?;

    let name = Uuid::new_v4().to_string();
    let exec = engine.exec_create(&container, &session.config(context, &name)).await?;
    let stream = engine.exec_start(&exec, session.tty.is_there()).await?;
    // After the command, so that nothing is in its way; an init from before an upgrade knows no leash.
    let leash = match session.tty {
        Tty::None => None,
        tty => leash(&engine, &container, &name, tty == Tty::Kills).await.ok(),
    };
    let raw = session.tty.is_there().then(RawMode::enter).transpose()?;
    let interrupted = connect(context.printer, &engine, &exec, stream, &session).await?;
    drop((raw, leash));
    if interrupted {
        return Ok(Exit::Interrupted);
    }
    exit_code(&engine, &exec).await
}

impl Session {
    fn config(&self, context: &Context, name: &str) -> ExecConfig {
        let mut cmd = vec![layout::INIT.to_owned(), "exec".to_owned()];
        if self.login {
            cmd.push("--login".to_owned());
        }
        cmd.push("--".to_owned());
        cmd.extend(self.command.iter().cloned());
        let mut env = self.env.clone();
        if self.tty.is_there() {
            env.extend(context.environment.term.as_ref().map(|term| format!("TERM={term}")));
            env.push(format!("{}={name}", layout::SESSION_VARIABLE));
        }
        ExecConfig {
            cmd,
            env,
            tty: self.tty.is_there(),
            stdin: self.stdin,
            ..ExecConfig::default()
        }
    }
}

/// Hangs up on the session when what is answered is dropped, or this process ends in whatever way.
async fn leash(
    engine: &Docker,
    container: &ContainerId,
    name: &str,
    kill: bool,
) -> EngineResult<ExecStream> {
    let mut cmd = vec![layout::INIT, "leash"];
    cmd.extend(kill.then_some("--kill"));
    cmd.extend(["--", name]);
    let cmd = cmd.into_iter().map(str::to_owned).collect();
    let config = ExecConfig { cmd, stdin: true, ..ExecConfig::default() };
    let exec = engine.exec_create(container, &config).await?;
    engine.exec_start(&exec, false).await
}

/// Carries bytes both ways until the command's output ends; answers true when a signal ended it first.
async fn connect(
    printer: Printer,
    engine: &Docker,
    exec: &ExecId,
    stream: ExecStream,
    session: &Session,
) -> Result<bool, Failure> {
    let ExecStream { mut output, input } = stream;
    let mut resized = signal(SignalKind::window_change())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let feed = feed(input, session.stdin);
    tokio::pin!(feed);
    let mut fed = false;
    if session.tty.is_there() {
        tell_size(engine, exec).await;
    }
    loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                None => return Ok(false),
                Some(chunk) => {
                    let chunk = chunk?;
                    if chunk.stderr { printer.raw_err(&chunk.bytes) } else { printer.raw(&chunk.bytes) }
                }
            },
            () = &mut feed, if !fed => fed = true,
            Some(()) = resized.recv(), if session.tty.is_there() => tell_size(engine, exec).await,
            _signal = interrupt.recv() => return Ok(true),
            _signal = terminate.recv() => return Ok(true),
            _signal = hangup.recv() => return Ok(true),
        }
    }
}

/// Standard input to the command, and its end too: `tar x` waits for it.
async fn feed(mut input: std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>, stdin: bool) {
    if !stdin {
        // Half-closing is a message too; a command without input gets none.
        return std::future::pending().await;
    }
    let mut ours = tokio::io::stdin();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = ours.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default();
        // The command may have closed its end and still be writing.
        if input.write_all(bytes).await.is_err() || input.flush().await.is_err() {
            break;
        }
    }
    let _closed_already = input.shutdown().await;
}

/// A size that does not arrive is put right by the next one.
async fn tell_size(engine: &Docker, exec: &ExecId) {
    if let Some((rows, columns)) = terminal::size() {
        let _best_effort = engine.exec_resize(exec, rows, columns).await;
    }
}

/// The output can end a moment before the engine knows the code.
async fn exit_code(engine: &Docker, exec: &ExecId) -> Outcome {
    for _ in 0..50 {
        let state = engine.exec_inspect(exec).await?;
        if let (false, Some(code)) = (state.running, state.exit_code) {
            return Ok(Exit::Passed(u8::try_from(code).unwrap_or(1)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::said(
        "the command closed its output but goes on in the container; its exit code is not known",
    ))
}
