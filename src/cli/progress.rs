//! The line below all others while a run is followed: how far it is. Drawn for a person who watches, and gone when it ends.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::context::Context;
use super::image_bar;
use super::printer::plain;
use super::terminal;
use crate::http::client::{Client, JSON};
use crate::http::table::span;
use crate::http::views::Channel;
use crate::http::views::run::Run;
use crate::resource::ResourceName;

/// Four times a second: the seconds are never late, and no terminal is busy with it.
const DRAWN_EVERY: Duration = Duration::from_millis(250);
/// How many drawings pass until the operator is asked again.
const ASKED_EVERY: u32 = 4;
/// The operator answers from memory; a line is not worth more.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The line.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    context: &'a Context,
    client: &'a Client,
    run: &'a ResourceName,
    clock: Option<Interval>,
    drawings: u32,
    seen: Option<Run>,
    image: String,
    is_drawn: bool,
}

impl<'a> Progress<'a> {
    /// None is drawn yet, and none at all where nobody watches.
    pub(super) fn new(context: &'a Context, client: &'a Client, run: &'a ResourceName) -> Self {
        let clock = context.printer.is_watched().then(|| {
            let mut clock = interval(DRAWN_EVERY);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            clock
        });
        let image = String::new();
        Self { context, client, run, clock, drawings: 0, seen: None, image, is_drawn: false }
    }

    /// Until it is time to draw; for ever where nobody watches.
    pub(super) async fn is_due(&mut self) {
        match &mut self.clock {
            Some(clock) => drop(clock.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Draws.
    pub(super) async fn draw(&mut self) {
        if self.drawings.is_multiple_of(ASKED_EVERY) {
            // Without an answer the line goes on with what was said before.
            let _late = tokio::time::timeout(ANSWER_WITHIN, self.ask()).await;
        }
        self.drawings = self.drawings.wrapping_add(1);
        let Some(run) = &self.seen else { return };
        let now = self.context.clock.now().wall;
        let mut line = line(run, &self.image, now);
        // A line that wraps could not be taken away.
        let width = terminal::size().map_or(80, |(_, columns)| usize::from(columns));
        if let Some((end, _)) = line.char_indices().nth(width.saturating_sub(1)) {
            line.truncate(end);
        }
        self.context.printer.draw(&line);
        self.is_drawn = true;
    }

    /// Takes the line away, so that something else can be printed.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            self.context.printer.draw("");
        }
    }

    async fn ask(&mut self) {
        let Ok(run) = self.client.run(self.run).await else { return };
        self.image.clear();
        if run.status.phase == "Starting" {
            let path = format!("/channels/{}", run.status.channel_name);
            let channel: Result<Channel, _> = self.client.get(&path, JSON).await;
            if let Some(work) = channel.ok().and_then(|it| it.status.image_work) {
                let (label, words) = image_bar::words(&work);
                self.image = format!("{label} {words}");
            }
        }
        self.seen = Some(run);
    }
}

fn line(run: &Run, image: &str, now: jiff::Timestamp) -> String {
    let status = &run.status;
    let since = |then: jiff::Timestamp| {
        span(u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0))
    };
    let mut parts = vec![status.phase.clone()];
    match status.phase.as_str() {
        "Pending" | "Queued" => {
            parts.extend(status.ahead.map(|ahead| format!("{ahead} before it")));
            parts.extend(Some(status.reason.clone()).filter(|it| !it.is_empty()));
            parts.extend(run.metadata.creation_timestamp.map(since));
        }
        "Starting" if !image.is_empty() => parts = vec![image.to_owned()],
        _ => {
            parts.extend(status.started_at.map(since));
            parts.push(counted(status.turns, "turn"));
            parts.push(counted(status.tools, "tool"));
            let dollars = status.cost.as_ref().and_then(|cost| cost.dollars);
            parts.extend(dollars.map(|dollars| format!("${dollars:.2}")));
        }
    }
    plain(&parts.join(" · ")).replace(['\n', '\t'], " ")
}

/// `1 turn`, `2 turns`.
pub(super) fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::views::Metadata;
    use crate::http::views::run::{CostStatus, RunStatus};

    fn line_of(status: RunStatus, image: &str) -> String {
        let metadata = Metadata::default();
        let (api_version, kind) = (String::new(), String::new());
        let run = Run { api_version, kind, metadata, spec: serde_json::Value::Null, status };
        line(&run, image, jiff::Timestamp::from_second(100).unwrap())
    }

    #[test]
    fn the_line_says_what_there_is_to_say_in_each_phase() {
        let status = |phase: &str| RunStatus { phase: phase.to_owned(), ..RunStatus::default() };
        let queued = RunStatus { ahead: Some(2), ..status("Queued") };
        assert_eq!(line_of(queued, ""), "Queued · 2 before it");
        assert_eq!(line_of(status("Starting"), "Pulling [#]"), "Pulling [#]");
        let running = RunStatus {
            started_at: Some(jiff::Timestamp::from_second(40).unwrap()),
            turns: 1,
            tools: 3,
            cost: Some(CostStatus { dollars: Some(0.123), basis: "atLeast".to_owned() }),
            ..status("Running")
        };
        assert_eq!(line_of(running, ""), "Running · 60s · 1 turn · 3 tools · $0.12");
        assert_eq!(line_of(status("\u{1b}[2J"), ""), "\\u{1b}[2J · 0 turns · 0 tools");
    }
}
