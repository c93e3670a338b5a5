//! `chanop get`: tables, objects and names, once or as they change.
//!
//! Tables are made by the operator; here they are only laid out. What is about the whole (revision, held removals) goes to
//! standard error, so that scripts see rows and nothing else.

use serde_json::Value;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::grid::{Grid, coloured, shown};
use super::printer::plain;
use super::target::{self, Collection};
use super::yaml;
use crate::http::client::{Client, JSON, TABLE, query_value};
use crate::http::table::Table;
use crate::http::views::{List, OperatorStatus, WatchEvent};

/// What to show, and how.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct GetArgs {
    /// channels, runs, classes, events or all; or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    what: String,
    /// One object's name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
    /// Only objects whose labels fit: key=value, key!=value, key in (a,b), key, !key
    #[arg(
        short = 'l',
        long,
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
    /// Only runs of this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Go on showing what changes
    #[arg(short, long)]
    watch: bool,
    /// With -o yaml and one channel: say behind each field where its value came from
    #[arg(long)]
    effective: bool,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// More columns
    Wide,
    /// The objects as JSON
    Json,
    /// The objects as YAML
    Yaml,
    /// One type/name a line
    Name,
}

/// Runs the command.
pub(super) async fn run(args: &GetArgs, context: &Context) -> Outcome {
    let client = context.operator().await?;
    if args.what == "all" {
        return all(args, context, &client).await;
    }
    if args.name.is_some() || args.what.contains('/') {
        let (collection, name) = target::object(&args.what, args.name.as_deref())?;
        if args.effective {
            return effective(context, &client, collection, &name).await;
        }
        let ask = Ask { args, collection, name: Some(name) };
        return one_or_watch(&ask, context, &client).await;
    }
    if args.effective {
        return Err(Failure::said(
            "--effective needs one channel: chanop get channel NAME -o yaml --effective",
        ));
    }
    let ask = Ask { args, collection: Collection::parse(&args.what)?, name: None };
    if args.channel.is_some() && ask.collection != Collection::Runs {
        return Err(Failure::said("--channel selects runs: chanop get runs --channel NAME"));
    }
    if args.watch {
        return watch(&ask, context, &client).await;
    }
    list(&ask, false, context, &client).await?;
    if ask.collection == Collection::Channels && ask.is_table() {
        footer(context, &client).await?;
    }
    Ok(Exit::Ok)
}

/// What is asked of one collection.
struct Ask<'a> {
    args: &'a GetArgs,
    collection: Collection,
    name: Option<String>,
}

impl Ask<'_> {
    const fn is_table(&self) -> bool {
        matches!(self.args.output, None | Some(Output::Wide))
    }

    fn is_wide(&self) -> bool {
        self.args.output == Some(Output::Wide)
    }

    fn query(&self, watch: bool) -> String {
        let mut query = format!(
            "/{}?labelSelector={}",
            self.collection.path(),
            query_value(&self.args.selector)
        );
        if watch {
            query.push_str("&watch=true");
        }
        let name = self.name.as_ref().map(|name| format!("metadata.name={name}"));
        let channel = self.args.channel.as_ref().filter(|_| self.collection == Collection::Runs);
        let channel = channel.map(|name| format!("spec.channelName={name}"));
        let fields: Vec<_> = name.into_iter().chain(channel).collect();
        if !fields.is_empty() {
            query.push_str("&fieldSelector=");
            query.push_str(&query_value(&fields.join(",")));
        }
        query
    }
}

async fn all(args: &GetArgs, context: &Context, client: &Client) -> Outcome {
    if args.watch || args.name.is_some() {
        return Err(Failure::said("`get all` lists once: watch channels, runs, classes or events"));
    }
    for (index, collection) in
        [Collection::Channels, Collection::Runs, Collection::Classes].into_iter().enumerate()
    {
        let ask = Ask { args, collection, name: None };
        list(&ask, index > 0, context, client).await?;
    }
    if matches!(args.output, None | Some(Output::Wide)) {
        footer(context, client).await?;
    }
    Ok(Exit::Ok)
}

async fn one_or_watch(ask: &Ask<'_>, context: &Context, client: &Client) -> Outcome {
    if ask.args.watch {
        return watch(ask, context, client).await;
    }
    let path = format!("/{}/{}", ask.collection.path(), ask.name.as_deref().unwrap_or_default());
    if ask.is_table() {
        let table: Table = client.get(&path, TABLE).await?;
        print_table(&table, ask.is_wide(), context);
    } else {
        let object: Value = client.get(&path, JSON).await?;
        print_object(ask, context, &object);
    }
    Ok(Exit::Ok)
}

async fn effective(
    context: &Context,
    client: &Client,
    collection: Collection,
    name: &str,
) -> Outcome {
    if collection != Collection::Channels {
        return Err(Failure::said("only channels are merged from several places"));
    }
    let mut channel: Value = client.get(&format!("/channels/{name}?origins=true"), JSON).await?;
    let origins: Value = channel
        .pointer_mut("/status")
        .and_then(Value::as_object_mut)
        .and_then(|status| status.remove("origins"))
        .unwrap_or_default();
    let comment = |path: &str| {
        let field = path.strip_prefix("spec.").unwrap_or(path);
        let origin = origins.get(path).or_else(|| origins.get(field))?;
        origin.as_str().map(str::to_owned)
    };
    context.printer.raw(yaml::document(&channel, &comment).as_bytes());
    Ok(Exit::Ok)
}

/// Lists once; a table that is not the first has an empty line before it.
async fn list(
    ask: &Ask<'_>,
    is_next: bool,
    context: &Context,
    client: &Client,
) -> Result<(), Failure> {
    let query = ask.query(false);
    if ask.is_table() {
        let table: Table = client.get(&query, TABLE).await?;
        if table.rows.is_empty() {
            context.printer.err(format!("no {} found", ask.collection.path()));
            return Ok(());
        }
        if is_next {
            context.printer.out("");
        }
        print_table(&table, ask.is_wide(), context);
        return Ok(());
    }
    if ask.args.output == Some(Output::Name) {
        let list: List<Value> = client.get(&query, JSON).await?;
        for object in &list.items {
            print_object(ask, context, object);
        }
        return Ok(());
    }
    let list: Value = client.get(&query, JSON).await?;
    print_object(ask, context, &list);
    Ok(())
}

async fn watch(ask: &Ask<'_>, context: &Context, client: &Client) -> Outcome {
    let query = ask.query(true);
    let printer = context.printer;
    if ask.is_table() {
        let mut grid = Grid::default();
        let mut is_first = true;
        let each = |line: &[u8]| {
            let event: WatchEvent<Table> = serde_json::from_slice(line)?;
            let mut table = event.object;
            if event.kind == "DELETED" {
                mark_gone(&mut table);
            }
            let (headings, rows) = shown(&table, ask.is_wide());
            let head = is_first.then_some(headings);
            is_first = false;
            let lines: Vec<_> = head.into_iter().chain(rows).collect();
            Ok(lines
                .iter()
                .zip(grid.lines(&lines))
                .all(|(row, line)| printer.told(coloured(printer, row, &line))))
        };
        tokio::select! {
            ended = client.watch(&query, TABLE, each) => ended?,
            _interrupted = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        }
        return Ok(Exit::Ok);
    }
    let each = |line: &[u8]| {
        let event: WatchEvent<Value> = serde_json::from_slice(line)?;
        Ok(print_object(ask, context, &event.object))
    };
    tokio::select! {
        ended = client.watch(&query, JSON, each) => ended?,
        _interrupted = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    }
    Ok(Exit::Ok)
}

/// The row of an object that is no more shows how it last stood; that would read as if it still did.
fn mark_gone(table: &mut Table) {
    let Some(column) = table.column_definitions.iter().position(|it| it.name == "STATUS") else {
        return;
    };
    for row in &mut table.rows {
        if let Some(cell) = row.cells.get_mut(column) {
            "Gone".clone_into(cell);
        }
    }
}

fn print_table(table: &Table, wide: bool, context: &Context) {
    let (headings, rows) = shown(table, wide);
    let rows: Vec<_> = std::iter::once(headings).chain(rows).collect();
    for (row, line) in rows.iter().zip(Grid::default().lines(&rows)) {
        context.printer.out(coloured(context.printer, row, &line));
    }
}

/// Answers whether anybody still reads.
fn print_object(ask: &Ask<'_>, context: &Context, object: &Value) -> bool {
    match ask.args.output {
        Some(Output::Yaml) => {
            let text = yaml::document(object, &|_path| None);
            let separator = if ask.args.watch { "---\n" } else { "" };
            context.printer.told(format!("{separator}{}", text.trim_end()))
        }
        Some(Output::Name) => {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            context.printer.told(plain(&format!("{}/{name}", ask.collection.singular())))
        }
        Some(Output::Json | Output::Wide) | None => {
            // `{:#}` of a value is its indented JSON.
            context.printer.told(yaml::harmless_json(&format!("{object:#}")))
        }
    }
}

/// `revision 4f1c2aa · 1 held · 2 not for this host`, and what keeps the operator from its work.
async fn footer(context: &Context, client: &Client) -> Result<(), Failure> {
    let status = client.status().await?;
    let line = footer_line(&status);
    if !line.is_empty() {
        context.printer.err(plain(&line));
    }
    if let (false, Some(revision)) = (status.specs.held.is_empty(), &status.specs.hold_revision) {
        context.printer.err(plain(&format!(
            "held removals are let go with: chanop prune --confirm {revision}"
        )));
    }
    for (file, problem) in &status.specs.invalid {
        // The operator's words begin with the file already.
        let line = if problem.starts_with(file.as_str()) {
            problem.clone()
        } else {
            format!("{file}: {problem}")
        };
        context.printer.err(plain(&line));
    }
    if let Some(reason) = &status.blocked {
        context.printer.err(plain(&format!("nothing is changed now: {reason}")));
    }
    Ok(())
}

fn footer_line(status: &OperatorStatus) -> String {
    let specs = &status.specs;
    let mut parts = vec![];
    if let Some(revision) = &specs.revision {
        parts.push(format!("revision {revision}"));
    }
    if !specs.held.is_empty() {
        parts.push(format!("{} held", specs.held.len()));
    }
    if specs.not_for_this_host > 0 {
        parts.push(format!("{} not for this host", specs.not_for_this_host));
    }
    match specs.invalid.len() {
        0 => {}
        1 => parts.push("1 invalid file".to_owned()),
        n => parts.push(format!("{n} invalid files")),
    }
    parts.join(" · ")
}
