//! `chanop describe`: all of one object, for a person who wants to know why.

use std::fmt::Write as _;

use serde_json::Value;

use super::context::Context;
use super::describe_run;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::grid::Grid;
use super::image_bar;
use super::printer::plain;
use super::target::{self, Collection};
use crate::http::client::JSON;
use crate::http::table::age;
use crate::http::views::run::Run;
use crate::http::views::{Channel, ChannelClass, Event, List, Metadata, SOURCE_ANNOTATION};

/// Which object.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DescribeArgs {
    /// For instance channel/web
    #[arg(value_name = "TYPE/NAME")]
    what: String,
    /// The name, when the type stands alone
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Runs the command.
pub(super) async fn run(args: &DescribeArgs, context: &Context) -> Outcome {
    let (collection, name) = target::object(&args.what, args.name.as_deref())?;
    let client = context.operator().await?;
    let path = format!("/{}/{name}", collection.path());
    let now = context.clock.now().wall;
    let text = match collection {
        Collection::Classes => {
            let class: ChannelClass = client.get(&path, JSON).await?;
            format!(
                "Name:       {}\nUsed by:    {} channels\n",
                class.metadata.name, class.status.channels
            )
        }
        Collection::Channels => {
            let channel: Channel = client.get(&format!("{path}?origins=true"), JSON).await?;
            let events: List<Event> = client.get("/events", JSON).await?;
            let about = format!("channel/{name}");
            let events: Vec<_> =
                events.items.into_iter().filter(|it| it.regarding == about).collect();
            page(&channel, &events, now)
        }
        Collection::Runs => {
            let run: Run = client.get(&path, JSON).await?;
            describe_run::page(&run, now)
        }
        Collection::Events | Collection::Schedules => {
            return Err(Failure::said(format!(
                "{} cannot be described: use chanop get",
                collection.path()
            )));
        }
    };
    context.printer.out(plain(text.trim_end()));
    Ok(Exit::Ok)
}

fn page(channel: &Channel, events: &[Event], now: jiff::Timestamp) -> String {
    let mut page = Page::default();
    head(&mut page, channel, now);
    container(&mut page, channel, now);
    image(&mut page, channel);
    runs(&mut page, channel, now);
    pending(&mut page, channel, now);
    conditions(&mut page, channel, now);
    origins(&mut page, channel);
    history(&mut page, events, now);
    page.0
}

/// A page of labels and tables.
#[derive(Debug, Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    /// A value behind its label; behind none, it goes on with the one above.
    pub(super) fn line(&mut self, label: &str, value: &str) {
        let label = if label.is_empty() { String::new() } else { format!("{label}:") };
        let _infallible = writeln!(self.0, "{label:<12}{value}");
    }

    /// Rows below a title.
    pub(super) fn table(&mut self, title: &str, rows: &[Vec<String>]) {
        let _infallible = writeln!(self.0, "{title}:");
        for line in Grid::default().lines(rows) {
            let _infallible = writeln!(self.0, "  {line}");
        }
    }
}

fn head(page: &mut Page, channel: &Channel, now: jiff::Timestamp) {
    let meta = &channel.metadata;
    let status = &channel.status;
    let source = meta.annotations.get(SOURCE_ANNOTATION);
    let text = |pointer: &str| {
        channel.spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    page.line("Name", &meta.name);
    page.line("Status", &status.phase);
    if !status.message.is_empty() {
        page.line("", &status.message);
    }
    page.line("Source", source.map_or("gone", String::as_str));
    if let Some(created) = meta.creation_timestamp {
        let generation = meta.generation.unwrap_or_default();
        page.line("Age", &format!("{}, generation {generation}", age(created, now)));
    }
    labels(page, meta);
    if channel.spec.is_object() {
        page.line("Class", or_dash(&text("/className")));
        page.line("Workspace", &text("/workspace/path"));
        let build = text("/image/build/context");
        page.line(
            "Image",
            &if build.is_empty() { text("/image/ref") } else { format!("built from {build}") },
        );
    }
    if let Some(it) = &status.r#override {
        let what = if it.suspend { "suspended" } else { "resumed" };
        let until = it.until.map_or_else(|| "until resumed".to_owned(), |at| format!("until {at}"));
        page.line("Override", &format!("{what} by hand {} ago, {until}", age(it.since, now)));
        if !it.reason.is_empty() {
            page.line("", &it.reason);
        }
    }
}

/// The labels, when there are any.
pub(super) fn labels(page: &mut Page, meta: &Metadata) {
    if !meta.labels.is_empty() {
        let labels: Vec<_> =
            meta.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        page.line("Labels", &labels.join(","));
    }
}

fn container(page: &mut Page, channel: &Channel, now: jiff::Timestamp) {
    let status = &channel.status;
    match &status.container {
        None => page.line("Container", "none"),
        Some(it) => {
            let id = it.id.get(..12).unwrap_or(&it.id);
            page.line("Container", &format!("{} ({id})", it.name));
            page.line(
                "",
                &format!("{}, {} old, image {}", it.state, age(it.created_at, now), it.image),
            );
        }
    }
    if status.restarts > 0 {
        page.line("Restarts", &format!("{} lately", status.restarts));
    }
    if let Some(word) = &status.in_flight {
        page.line("Doing", word);
    }
    if let Some(at) = status.next_look {
        page.line("Next look", &format!("in {}", age(now, at)));
    }
}

fn image(page: &mut Page, channel: &Channel) {
    if let Some(it) = &channel.status.image_work {
        let (label, words) = image_bar::words(it);
        page.line(label, &words);
    }
}

fn runs(page: &mut Page, channel: &Channel, now: jiff::Timestamp) {
    let it = &channel.status.runs;
    if it.active + it.queued == 0 && it.last.is_none() {
        return;
    }
    let dollars = it.dollars_24h.map(|dollars| format!(", ${dollars:.2} in 24 hours"));
    let words =
        format!("{} at work, {} waiting{}", it.active, it.queued, dollars.unwrap_or_default());
    page.line("Runs", &words);
    if let Some(last) = &it.last {
        let since = age(last.finished_at, now);
        page.line("", &format!("the last: run/{} {} {since} ago", last.name, last.phase));
    }
}

fn pending(page: &mut Page, channel: &Channel, now: jiff::Timestamp) {
    let Some(it) = &channel.status.pending else { return };
    page.line("Pending", &format!("{}: {}", it.action, it.cause));
    let forced =
        it.forced_at.map_or_else(String::new, |at| format!("; forced in {}", age(now, at)));
    page.line("", &format!("waits {}: {}{forced}", age(it.since, now), it.waits));
}

fn conditions(page: &mut Page, channel: &Channel, now: jiff::Timestamp) {
    let mut rows = vec![row(["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"])];
    rows.extend(channel.status.conditions.iter().map(|it| {
        row([&it.kind, &it.status, &it.reason, &age(it.last_transition_time, now), &it.message])
    }));
    if rows.len() > 1 {
        page.table("Conditions", &rows);
    }
}

fn origins(page: &mut Page, channel: &Channel) {
    // What nobody set is in `chanop explain`, and in `get channel NAME -o yaml --effective`.
    let origins =
        channel.status.origins.iter().flatten().filter(|(_, origin)| *origin != "default");
    let rows: Vec<_> = origins.map(|(field, origin)| row([field, origin])).collect();
    if !rows.is_empty() {
        page.table("Fields from", &rows);
    }
}

fn history(page: &mut Page, events: &[Event], now: jiff::Timestamp) {
    if events.is_empty() {
        page.line("Events", "none");
        return;
    }
    let mut rows = vec![row(["LAST-SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"])];
    rows.extend(events.iter().map(|it| {
        row([
            &age(it.last_timestamp, now),
            &it.severity,
            &it.reason,
            &it.count.to_string(),
            &it.message,
        ])
    }));
    page.table("Events", &rows);
}

/// A row of a table.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
