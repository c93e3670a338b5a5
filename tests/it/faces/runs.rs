//! Runs made by hand, a core that takes orders, and transcripts that grow when a test says so.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chanop::claude::outcome::{Ending, RunOutcome};
use chanop::container::ContainerId;
use chanop::controller::request::Reply;
use chanop::controller::view::{RunView, View};
use chanop::http::{TranscriptSource, TranscriptTail};
use chanop::resource::run::Session;
use chanop::resource::{ResourceName, RunSpec};
use chanop::world::run::{
    Ask, Attempt, AttemptEnd, AttemptKind, AttemptResult, Cancel, Evidence, Order, Phase, RunEnd,
    RunId, RunRecord, Terms, TranscriptFact, Trigger,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

use super::{ago, name, publish};

/// What the core answers to an order: it is on the disk, and in the snapshot. Of a run `buried` there was a record once.
pub(super) fn submit(
    view: &watch::Sender<Arc<View>>,
    run: ResourceName,
    labels: BTreeMap<String, String>,
    spec: &RunSpec,
) -> Reply {
    let now = Arc::clone(&view.borrow());
    if now.runs.contains_key(&run) || run.as_str() == "buried" {
        return Reply::Exists(run);
    }
    if !now.channels.contains_key(&spec.channel_name) {
        return Reply::NotFound(format!("there is no channel `{}`", spec.channel_name));
    }
    let mut made = queued(run.as_str(), spec.channel_name.as_str());
    made.labels.clone_from(&labels);
    change(&mut made, |record| {
        record.labels = labels;
        record.order.ask = match (&spec.order.prompt, &spec.order.messages) {
            (Some(prompt), _) => Ask::Prompt(prompt.clone()),
            (None, Some(messages)) => Ask::Messages(messages.clone()),
            (None, None) => Ask::Prompt(format!("the text of {:?}", spec.order.prompt_from)),
        };
        record.order.session = spec.order.session.clone().unwrap_or(Session::Fresh);
        record.order.fork = spec.order.fork == Some(true);
        record.order.max_turns = spec.order.max_turns;
        record.order.max_budget_usd = spec.order.max_budget_usd;
        record.order.active_deadline_seconds = spec.order.active_deadline_seconds;
        record.order.author = spec.order.author.clone().unwrap_or_default();
    });
    publish(view, |view| drop(view.runs.insert(run.clone(), Arc::new(made))));
    Reply::Submitted(run)
}

/// What the core answers to the wish that a run ends.
pub(super) fn cancel(view: &watch::Sender<Arc<View>>, run: &ResourceName, why: String) -> Reply {
    if !view.borrow().runs.contains_key(run) {
        return Reply::NotFound(format!("there is no run `{run}`"));
    }
    let said = format!("run/{run} is ended: {why}");
    publish(view, |view| {
        let found = view.runs.get_mut(run).map(Arc::make_mut).unwrap();
        change(found, |record| record.cancel = Some(Cancel { at: ago(0), why }));
    });
    Reply::Accepted(said)
}

/// Changes a run's record.
pub(crate) fn change(run: &mut RunView, how: impl FnOnce(&mut RunRecord)) {
    how(Arc::make_mut(run.record.as_mut().unwrap()));
}

/// A run that waits for its turn, ordered over the API two hours ago.
pub(crate) fn queued(run: &str, channel: &str) -> RunView {
    let record = RunRecord {
        id: RunId { name: name(run), rerun: 0 },
        channel: name(channel),
        turn: 1,
        trigger: Trigger::Api,
        revision: Some("4f1c2aa".to_owned()),
        labels: BTreeMap::new(),
        order: Order {
            ask: Ask::Prompt("What is new?".to_owned()),
            system_prompt: String::new(),
            author: String::new(),
            session: Session::Fresh,
            fork: false,
            starting_deadline_seconds: 86_400,
            active_deadline_seconds: None,
            termination_grace_period_seconds: None,
            backoff_limit: None,
            max_turns: None,
            max_budget_usd: None,
            keep_container_seconds: None,
        },
        fingerprint: "f".to_owned(),
        admitted_at: ago(2),
        held: false,
        cancel: None,
        first_attempt: 1,
        attempts: vec![],
        next: None,
        not_before: None,
        end: None,
    };
    RunView {
        name: name(run),
        channel: name(channel),
        source: None,
        labels: BTreeMap::new(),
        record: Some(Arc::new(record)),
        phase: Phase::Queued,
        reason: String::new(),
        message: String::new(),
        ahead: Some(0),
        container: None,
        running_since: None,
        progress: None,
        source_trouble: None,
    }
}

/// The same, at work in its `number`th attempt; those before were tried and failed.
pub(crate) fn running(mut run: RunView, number: u32) -> RunView {
    change(&mut run, |record| {
        let kind = if record.attempts.is_empty() { AttemptKind::First } else { AttemptKind::Retry };
        record.attempts.push(Attempt {
            number,
            kind,
            session: Uuid::from_u128(u128::from(number)),
            resumes: None,
            container: container(),
            image: "sha256:aa".to_owned(),
            image_digest: Some("sha256:bb".to_owned()),
            permitted_at: begun(number) - SignedDuration::from_secs(1),
            permitted_by: Uuid::from_u128(1),
            terms: Terms {
                active_deadline_seconds: 3_600,
                grace_seconds: 30,
                keep_container_seconds: 300,
                cancel_with_channel: false,
                backoff_limit: 1,
            },
            stop: None,
            end: None,
        });
    });
    run.phase = Phase::Running;
    run.ahead = None;
    run.container = Some(container());
    run.running_since = Some(begun(number));
    run
}

/// An hour ago, and five minutes between attempts.
fn begun(number: u32) -> Timestamp {
    ago(1) + SignedDuration::from_secs(300 * (i64::from(number) - 1))
}

fn container() -> ContainerId {
    ContainerId::parse(&"fedcba9876543210".repeat(4)).unwrap()
}

/// The same, its last attempt ended with this transcript and exit code.
pub(crate) fn attempt_ended(mut run: RunView, transcript: &[u8], exit_code: i64) -> RunView {
    let ending = Ending { exit_code: Some(exit_code), ..Ending::default() };
    let outcome = RunOutcome::of_transcript(transcript, &ending);
    let is_success = outcome.class.is_success();
    let began = begun(run.attempt().unwrap());
    let finished = began + SignedDuration::from_secs(190);
    change(&mut run, |record| {
        record.attempts.last_mut().unwrap().end = Some(AttemptEnd {
            result: if is_success { AttemptResult::Succeeded } else { AttemptResult::Failed },
            message: outcome.message.clone().unwrap_or_default(),
            evidence: Evidence::Init,
            exit_code: Some(exit_code),
            oom_killed: false,
            started_at: Some(began),
            finished_at: Some(finished),
            outcome: Some(outcome),
            transcript: Some(TranscriptFact {
                bytes: transcript.len().try_into().unwrap(),
                sha256: "cc".repeat(32),
                missing: None,
            }),
            tampered: None,
            recorded_at: finished + SignedDuration::from_secs(1),
        });
    });
    run.running_since = None;
    run.progress = None;
    run
}

/// The same, ended for good.
pub(crate) fn ended(mut run: RunView, phase: Phase, reason: &str, message: &str) -> RunView {
    let at: Timestamp = ago(1) + SignedDuration::from_secs(191);
    let (reason, message) = (reason.to_owned(), message.to_owned());
    run.reason.clone_from(&reason);
    run.message.clone_from(&message);
    change(&mut run, |record| record.end = Some(RunEnd { phase, reason, message, at }));
    run.phase = phase;
    run.ahead = None;
    run.container = None;
    run
}

/// A run of this transcript, from its order to its end.
pub(crate) fn succeeded(run: &str, channel: &str, transcript: &[u8]) -> RunView {
    let run = attempt_ended(running(queued(run, channel), 1), transcript, 0);
    ended(run, Phase::Succeeded, "Succeeded", "")
}

/// Puts a run into a snapshot.
pub(crate) fn put(view: &mut View, run: RunView) {
    view.runs.insert(run.name.clone(), Arc::new(run));
}

/// A line of the agent's output for each: it says something and uses a tool, all in one line; gets two answers in another; has
/// a limit told, and ends.
pub(crate) fn transcript() -> Vec<u8> {
    [
        r#"{"type":"system","subtype":"init","model":"claude-x","session_id":"9930b0c9-6cf2-46f0-b70a-99d9b442a594"}"#,
        r#"{"type":"assistant","session_id":"9930b0c9-6cf2-46f0-b70a-99d9b442a594","message":{"id":"m1","model":"claude-x","content":[{"type":"text","text":"Let me \u001b[2J look."},{"type":"tool_use","id":"t1","name":"Bash","input":{"command":"ls"}},{"type":"tool_use","id":"t2","name":"Read","input":{"file_path":"/x"}}]}}"#,
        r#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"a.txt\nb.txt"},{"type":"tool_result","tool_use_id":"t2","content":"no such file","is_error":true}]}}"#,
        "not an event",
        r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":1500,"error_status":529,"error":"overloaded"}"#,
        r#"{"type":"assistant","message":{"id":"m2","model":"claude-x","content":[{"type":"text","text":"Two files: é."}]}}"#,
        r#"{"type":"result","subtype":"success","is_error":false,"num_turns":2,"result":"Two files: é.","total_cost_usd":0.42,"usage":{"input_tokens":10,"output_tokens":5},"model_usage_since_last_result":{"claude-x":{"inputTokens":10,"outputTokens":5,"costUSD":0.42}}}"#,
    ]
    .map(|line| format!("{line}\n"))
    .concat()
    .into_bytes()
}

/// The agent's output, as the follower keeps it: by run and attempt, and whether more may come.
type Kept = BTreeMap<(String, u32), (Vec<u8>, bool)>;

/// Transcripts in memory. What is read comes in small pieces, so that lines break anywhere.
#[derive(Debug, Clone)]
pub(crate) struct Transcripts {
    kept: watch::Sender<Kept>,
    piece: usize,
}

impl Default for Transcripts {
    fn default() -> Self {
        Self { kept: watch::Sender::new(Kept::new()), piece: 7 }
    }
}

impl Transcripts {
    /// More of an attempt's output came.
    pub(crate) fn append(&self, run: &str, attempt: u32, bytes: &[u8]) {
        self.kept.send_modify(|kept| {
            let entry = kept.entry((run.to_owned(), attempt)).or_insert((vec![], true));
            entry.0.extend_from_slice(bytes);
        });
    }

    /// No more comes.
    pub(crate) fn end(&self, run: &str, attempt: u32) {
        self.kept.send_modify(|kept| {
            kept.entry((run.to_owned(), attempt)).or_insert((vec![], true)).1 = false;
        });
    }
}

impl TranscriptSource for Transcripts {
    fn open(
        &self,
        run: &ResourceName,
        attempt: u32,
        from: u64,
    ) -> io::Result<Box<dyn TranscriptTail>> {
        let key = (run.to_string(), attempt);
        if !self.kept.borrow().contains_key(&key) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (kept, piece) = (self.kept.subscribe(), self.piece);
        Ok(Box::new(Tail { kept, key, at: usize::try_from(from).unwrap(), piece }))
    }
}

#[derive(Debug)]
struct Tail {
    kept: watch::Receiver<Kept>,
    key: (String, u32),
    at: usize,
    piece: usize,
}

impl TranscriptTail for Tail {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        async {
            let news = |kept: &Kept| kept[&self.key].0.len() > self.at || !kept[&self.key].1;
            let kept = self.kept.wait_for(news).await.map_err(io::Error::other)?;
            let rest = kept[&self.key].0.get(self.at..).unwrap_or_default();
            let piece = &rest[..rest.len().min(self.piece)];
            self.at += piece.len();
            Ok((!piece.is_empty()).then(|| Bytes::copy_from_slice(piece)))
        }
        .boxed()
    }
}
