//! Which requests a fault hits, and which faults there are.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::watch;

/// The longest that anything is held, should its test forget it.
const HELD_MAX: Duration = Duration::from_mins(10);
/// How long a test waits for a request to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// A fault for some requests.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    method: String,
    pattern: String,
    when: When,
    fault: Fault,
    seen: u64,
    dice: u64,
}

/// Which of the requests that match.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum When {
    Always,
    /// Only the n-th, from 1 on.
    Nth(u64),
    /// The first n.
    First(u64),
    /// By chance, so many of a hundred, with a seed that makes it the same each time.
    Percent(u64, u64),
}

/// What happens to a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It is forwarded so much later.
    DelayBefore(Duration),
    /// It is forwarded, and answered so much later.
    DelayAfter(Duration),
    /// The connection closes; the engine hears nothing.
    DropRequest,
    /// The engine does it, and the connection closes.
    DropAnswer,
    /// The head of the answer comes, and nothing after it.
    StallAfterHead,
    /// The engine hears nothing, and this is the answer: a status and a body.
    Answer(u16, String),
    /// The engine hears it twice; the second answer is passed on.
    Twice,
    /// So many bytes of the answer come, then the connection closes.
    Truncate(usize),
    /// It is forwarded when the test says so.
    Hold(Hold),
    /// It is forwarded, and answered when the test says so.
    HoldAnswer(Hold),
    /// The answer is the one that the same document had the last time.
    Stale,
    /// 200 is answered at once, and the engine asked only when the test says so.
    HeadFirst(Hold),
    /// Each line of a stream becomes those that this makes of it.
    Lines(Lines),
    /// Each piece of the answer comes so much later.
    Drip(Duration),
}

/// See [`Fault::Lines`].
pub(crate) type Lines = Arc<Mutex<dyn FnMut(&str) -> Vec<String> + Send>>;

impl Fault {
    /// For [`Fault::Lines`].
    pub(crate) fn lines(make: impl FnMut(&str) -> Vec<String> + Send + 'static) -> Self {
        Self::Lines(Arc::new(Mutex::new(make)))
    }

    /// An answer as the engine words its errors.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::Answer(status, serde_json::json!({ "message": message }).to_string())
    }

    /// Its name in the transcript.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::DelayBefore(_) => "delay-before",
            Self::DelayAfter(_) => "delay-after",
            Self::DropRequest => "drop-request",
            Self::DropAnswer => "drop-answer",
            Self::StallAfterHead => "stall-after-head",
            Self::Answer(..) => "answer",
            Self::Twice => "twice",
            Self::Truncate(_) => "truncate",
            Self::Hold(_) => "hold",
            Self::HoldAnswer(_) => "hold-answer",
            Self::Stale => "stale",
            Self::HeadFirst(_) => "head-first",
            Self::Lines(_) => "lines",
            Self::Drip(_) => "drip",
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Rule {
    /// On requests of this method (`*`: any) whose path, without version, is the pattern's: `*` stands for one word of it, a
    /// single `*` for every path. A pattern with `?` names a part of the query too.
    pub(crate) fn on(method: &str, pattern: &str, fault: Fault) -> Self {
        let (method, pattern) = (method.to_owned(), pattern.to_owned());
        Self { method, pattern, when: When::Always, fault, seen: 0, dice: 0 }
    }

    /// Not on all of them.
    pub(crate) const fn when(mut self, when: When) -> Self {
        self.when = when;
        if let When::Percent(_, seed) = when {
            // Zero would stay zero.
            self.dice = if seed == 0 { 1 } else { seed };
        }
        self
    }

    /// The fault, if this is one of those requests.
    pub(super) fn applies(&mut self, method: &str, path: &str) -> Option<Fault> {
        if !matches(&self.method, &self.pattern, method, path) {
            return None;
        }
        self.seen += 1;
        let hit = match self.when {
            When::Always => true,
            When::Nth(n) => self.seen == n,
            When::First(n) => self.seen <= n,
            When::Percent(percent, _) => self.roll() % 100 < percent,
        };
        hit.then(|| self.fault.clone())
    }

    /// The next number by chance (xorshift).
    const fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
}

/// Does a request match? See [`Rule::on`].
pub(super) fn matches(method: &str, pattern: &str, asked: &str, path: &str) -> bool {
    if method != "*" && method != asked {
        return false;
    }
    if pattern == "*" {
        return true;
    }
    let (pattern, part) = pattern.split_once('?').unwrap_or((pattern, ""));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (words, wanted): (Vec<&str>, Vec<&str>) =
        (path.split('/').collect(), pattern.split('/').collect());
    words.len() == wanted.len()
        && words.iter().zip(wanted).all(|(word, wanted)| wanted == "*" || *word == wanted)
        && query.contains(part)
}

/// A path without the API's version.
pub(super) fn unversioned(path: &str) -> &str {
    let rest = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    match rest {
        Some((version, rest)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            &path[path.len() - rest.len() - 1..]
        }
        _ => path,
    }
}

/// Where requests wait until the test lets them go.
#[derive(Clone)]
pub(crate) struct Hold(Arc<Held>);

struct Held {
    reached: Mutex<usize>,
    changed: Condvar,
    open: watch::Sender<bool>,
}

impl Hold {
    pub(crate) fn new() -> Self {
        let open = watch::channel(false).0;
        Self(Arc::new(Held { reached: Mutex::new(0), changed: Condvar::new(), open }))
    }

    /// Blocks until so many requests have come.
    pub(crate) fn until_reached(&self, count: usize) {
        let reached = self.0.reached.lock().unwrap();
        let waited =
            self.0.changed.wait_timeout_while(reached, PATIENCE, |reached| *reached < count);
        let (reached, _) = waited.unwrap();
        assert!(*reached >= count, "{reached} of {count} requests came to the hold");
    }

    /// How many have come.
    pub(crate) fn reached(&self) -> usize {
        *self.0.reached.lock().unwrap()
    }

    /// Lets them go, and all that come later.
    pub(crate) fn release(&self) {
        self.0.open.send_replace(true);
    }

    /// Comes here, and waits.
    pub(super) async fn pass(&self) {
        *self.0.reached.lock().unwrap() += 1;
        self.0.changed.notify_all();
        let mut open = self.0.open.subscribe();
        let _ = tokio::time::timeout(HELD_MAX, open.wait_for(|open| *open)).await;
    }
}
