//! `chanop logs run/X`: what the agent said and did, as it was or as it comes.

use std::io::IsTerminal;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::follow;
use super::printer::plain;
use super::target::{self, Collection};
use super::turns::{Format, Teller};
use crate::claude::parser::{Located, Parser};
use crate::http::client::{Client, JSON};
use crate::http::turns::Turn;
use crate::resource::ResourceName;

/// Of which run, and how.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LogsArgs {
    /// For instance run/fix-flaky-ci
    #[arg(value_name = "run/NAME")]
    what: String,
    /// Go on with what comes, until the run ends
    #[arg(short, long)]
    follow: bool,
    /// One attempt alone [default: all of them; with --format raw the last]
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// How to print
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    format: Format,
}

/// Runs the command.
pub(super) async fn run(args: &LogsArgs, context: &Context) -> Outcome {
    if let Some((word, name)) = args.what.split_once('/')
        && Collection::parse(word)? == Collection::Channels
    {
        return Err(Failure::said(format!(
            "a channel's shell has no log of chanop's: docker logs $(chanop get channel/{name} -o json | jq -r \
             .status.container.id)"
        )));
    }
    let run = target::run(&args.what)?;
    let client = context.operator().await?;
    if args.follow && args.attempt.is_none() && args.format != Format::Raw {
        return follow::follow(context, &client, &run, args.format).await;
    }
    tokio::select! {
        told = told(args, context, &client, &run) => told,
        _interrupted = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

async fn told(args: &LogsArgs, context: &Context, client: &Client, run: &ResourceName) -> Outcome {
    if args.format == Format::Raw {
        return raw(args, context, client, run).await;
    }
    let numbers: Vec<u32> = if let Some(number) = args.attempt {
        vec![number]
    } else {
        let all = client.run(run).await?.status.attempts;
        all.iter().map(|attempt| attempt.number).collect()
    };
    if numbers.is_empty() {
        context.printer.err(format!("run/{run} was not started yet: chanop logs -f run/{run}"));
    }
    let mut teller = Teller::new(context.printer, args.format);
    for number in numbers {
        let mut bytes = client.stream(&path(run, Some(number), args.follow), JSON).await?;
        let mut parser = Parser::new();
        while let Some(piece) = bytes.next().await? {
            if !tell(&mut teller, number, parser.push(&piece)) {
                return Ok(Exit::Ok);
            }
        }
        tell(&mut teller, number, parser.finish());
    }
    Ok(Exit::Ok)
}

fn tell(teller: &mut Teller, attempt: u32, lines: impl IntoIterator<Item = Located>) -> bool {
    lines
        .into_iter()
        .flat_map(|line| Turn::located(attempt, &line))
        .all(|(place, turn)| teller.tell(Some(&place.to_string()), &turn))
}

async fn raw(args: &LogsArgs, context: &Context, client: &Client, run: &ResourceName) -> Outcome {
    let mut bytes = client.stream(&path(run, args.attempt, args.follow), JSON).await?;
    // JSON has no control characters, but not every line is JSON.
    let is_shown = std::io::stdout().is_terminal();
    while let Some(piece) = bytes.next().await? {
        if is_shown {
            context.printer.raw(plain(&String::from_utf8_lossy(&piece)).as_bytes());
        } else {
            context.printer.raw(&piece);
        }
    }
    Ok(Exit::Ok)
}

fn path(run: &ResourceName, attempt: Option<u32>, follow: bool) -> String {
    let attempt = attempt.map_or_else(String::new, |number| format!("&attempt={number}"));
    format!("/runs/{run}/log?follow={follow}{attempt}")
}
