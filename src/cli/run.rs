//! `chanop run`: have a channel's agent do something, and hear of it.
//!
//! The order is a Run object that the operator judges and keeps; here it is only written down. Who follows it may leave: the
//! run is the operator's.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::follow;
use super::printer::plain;
use super::suspend::duration;
use super::target::{self, Collection};
use super::turns::Format;
use crate::http::client::Client;
use crate::resource::ResourceName;
use crate::resource::meta::{API_VERSION, LABEL_MAX};
use crate::resource::run::{RunOrder, RunSpec, Session};
use crate::runner::AgentRequest;

/// The longest prompt: what the operator takes, with its JSON around it.
const PROMPT_BYTES_MAX: u64 = 11 * 1024 * 1024;

/// Who is to do what, and how long one stays.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunArgs {
    /// The channel; or run/NAME: the same order again, under a new name
    #[arg(value_name = "CHANNEL")]
    what: String,
    /// `-`: the prompt is on standard input
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    stdin: Option<String>,
    /// What the agent is told
    #[arg(short, long, value_name = "TEXT", conflicts_with_all = ["file", "stdin"])]
    prompt: Option<String>,
    /// The prompt stands in a file; `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "stdin")]
    file: Option<PathBuf>,
    #[command(flatten)]
    stay: Stay,
    /// Its name, with which asking twice runs once [default: the channel's, with letters behind]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// `new`, `latest`, a session's ID, or `key:K` for the latest of that key
    #[arg(long, value_name = "SESSION", default_value = "new", value_parser = session)]
    session: Session,
    /// Go on in a copy of the session, and leave it as it is
    #[arg(long)]
    fork: bool,
    /// At most so many turns
    #[arg(long, value_name = "N")]
    max_turns: Option<u32>,
    /// At most so many dollars
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    budget: Option<f64>,
    /// At most for so long: 30m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
    /// Who asks; handed to the MCP servers
    #[arg(long, value_name = "TEXT")]
    author: Option<String>,
}

/// How long one stays.
#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
struct Stay {
    /// Print its turns until it ends; Ctrl-C leaves it running; the default
    #[arg(long)]
    follow: bool,
    /// Say nothing until it ends, then the agent's answer
    #[arg(long)]
    wait: bool,
    /// Print its name, and leave it
    #[arg(short, long)]
    detach: bool,
}

fn session(word: &str) -> Result<Session, String> {
    match word {
        "new" => Ok(Session::Fresh),
        "latest" => Ok(Session::Latest),
        _ => match word.strip_prefix("key:") {
            Some(key) if !key.is_empty() => Ok(Session::Key(key.to_owned())),
            _ => Uuid::try_parse(word).map(Session::Id).map_err(|_no_id| {
                format!("`{word}` is no session: write new, latest, a session's ID or key:K")
            }),
        },
    }
}

/// JSON has no number for `inf` or `nan`, and without one there would be no bound.
fn dollars(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| format!("`{text}` is no number of dollars: write 0.5 or 20"))
}

/// Runs the command.
pub(super) async fn run(args: &RunArgs, context: &Context) -> Outcome {
    let again = match args.what.split_once('/') {
        Some((word, name)) => match Collection::parse(word)? {
            Collection::Runs => Some(target::run(name)?),
            Collection::Schedules => {
                return Err(Failure::said("schedules are not served by this version"));
            }
            _ => None,
        },
        None => None,
    };
    let client = context.operator().await?;
    let object = match &again {
        Some(run) => same_again(args, &client, run).await?,
        None => order(args)?.object(),
    };
    let ordered = client.submit_run(&object).await?;
    let name = ResourceName::parse(&ordered.metadata.name)?;
    if args.stay.detach {
        context.printer.out(format!("run/{name}"));
        return Ok(Exit::Ok);
    }
    if args.stay.wait {
        return wait(context, &client, &name).await;
    }
    // `--follow` is what is done unless something else is said.
    context.printer.err(format!("run/{name}"));
    follow::follow(context, &client, &name, Format::Text).await
}

/// Waits, then prints the answer.
async fn wait(context: &Context, client: &Client, name: &ResourceName) -> Outcome {
    let ended = tokio::select! {
        ended = follow::until_ended(client, name) => ended?,
        _interrupted = tokio::signal::ctrl_c() => {
            context.printer.err(format!("chanop: run/{name} goes on: chanop wait run/{name}"));
            return Ok(Exit::Interrupted);
        }
    };
    let text = ended.status.outcome.as_ref().and_then(|it| it.get("text")).and_then(Value::as_str);
    if let Some(text) = text {
        context.printer.out(plain(text.trim_end()));
    }
    context.printer.err(follow::summary(&ended));
    Ok(Exit::of_run(&ended.status.phase, &ended.status.reason))
}

fn order(args: &RunArgs) -> Result<AgentRequest, Failure> {
    let channel_name = target::channel(&args.what)?;
    let seconds = args.deadline.map(|deadline| u32::try_from(deadline.as_secs()));
    let seconds =
        seconds.transpose().map_err(|_too_long| Failure::said("--deadline is too long"))?;
    let order = RunOrder {
        prompt: Some(prompt(args)?),
        author: args.author.clone(),
        session: Some(args.session.clone()),
        fork: args.fork.then_some(true),
        max_turns: args.max_turns,
        max_budget_usd: args.budget,
        active_deadline_seconds: seconds,
        ..RunOrder::default()
    };
    let spec = RunSpec { channel_name, rerun: None, cancel: None, order };
    let key = args.name.as_deref().map(target::run).transpose()?;
    Ok(AgentRequest { spec, key })
}

fn prompt(args: &RunArgs) -> Result<String, Failure> {
    if let Some(prompt) = &args.prompt {
        return Ok(prompt.clone());
    }
    let text = match (&args.stdin, &args.file) {
        (Some(_), _) => read(std::io::stdin().lock(), "standard input")?,
        (None, Some(file)) if file.as_os_str() == "-" => {
            read(std::io::stdin().lock(), "standard input")?
        }
        (None, Some(file)) => read_file(file)?,
        (None, None) => {
            return Err(Failure::said(
                "what is the agent to do? say it with -p TEXT, -f FILE, or - for standard input",
            ));
        }
    };
    Ok(text)
}

fn read_file(file: &Path) -> Result<String, Failure> {
    let name = file.display().to_string();
    let opened = File::open(file)
        .map_err(|error| Failure::said(format!("failed to read {name}: {error}")))?;
    read(opened, &name)
}

fn read(source: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = vec![];
    source
        .take(PROMPT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::said(format!("failed to read {name}: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > PROMPT_BYTES_MAX) {
        return Err(Failure::said(format!(
            "{name} is longer than {PROMPT_BYTES_MAX} bytes: put it into the workspace, and tell the agent where"
        )));
    }
    String::from_utf8(bytes).map_err(|_no_text| Failure::said(format!("{name} is not UTF-8")))
}

/// The order of a run that was, under a new name.
async fn same_again(args: &RunArgs, client: &Client, run: &ResourceName) -> Result<Value, Failure> {
    let is_changed = args.prompt.is_some()
        || args.file.is_some()
        || args.stdin.is_some()
        || args.session != Session::Fresh
        || args.fork
        || args.max_turns.is_some()
        || args.budget.is_some()
        || args.deadline.is_some()
        || args.author.is_some();
    if is_changed {
        return Err(Failure::said(format!(
            "run/{run} is ordered again as it was; order a new one with: chanop run CHANNEL …"
        )));
    }
    let before = client.run(run).await?;
    let Value::Object(mut spec) = before.spec else {
        return Err(Failure::said(format!(
            "run/{run} was not admitted, so there is nothing to order again: {}",
            before.status.message
        )));
    };
    spec.remove("rerun");
    let metadata = match args.name.as_deref().map(target::run).transpose()? {
        Some(name) => json!({ "name": name, "labels": before.metadata.labels }),
        None => json!({ "generateName": prefix(run), "labels": before.metadata.labels }),
    };
    Ok(json!({ "apiVersion": API_VERSION, "kind": "Run", "metadata": metadata, "spec": spec }))
}

/// With room for a dash and five letters.
fn prefix(run: &ResourceName) -> String {
    let name = run.as_str().get(..LABEL_MAX - 6).unwrap_or(run.as_str());
    format!("{}-", name.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_a_word_an_id_or_a_key() {
        let id = Uuid::from_u128(7);
        assert_eq!(session("new"), Ok(Session::Fresh));
        assert_eq!(session("latest"), Ok(Session::Latest));
        assert_eq!(session(&id.to_string()), Ok(Session::Id(id)));
        assert_eq!(session("key:slack-C1"), Ok(Session::Key("slack-C1".to_owned())));
        for word in ["", "key:", "newest"] {
            assert!(session(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_budget_is_a_bound() {
        assert_eq!(dollars("0.5"), Ok(0.5));
        for text in ["inf", "NaN", "0", "-1", "$5", ""] {
            assert!(dollars(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_new_name_has_room_behind_the_longest_old_one() {
        let long = ResourceName::parse(&"a".repeat(LABEL_MAX)).unwrap();
        assert_eq!(prefix(&long).len() + 5, LABEL_MAX);
        assert_eq!(prefix(&ResourceName::parse("x").unwrap()), "x-");
    }
}
