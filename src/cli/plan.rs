//! `chanop plan`: what the operator would do, and why.

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::grid::Grid;
use super::operator::SetupArgs;
use super::printer::{Printer, plain};
use super::setup;
use super::yaml;
use crate::http::client::JSON;
use crate::http::views::{Plan, PlanLine};
use crate::wiring;

/// Of which directory, and how to print.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanArgs {
    /// Plan these specs without an operator; without: the running operator's own plan
    #[command(flatten)]
    pub setup: SetupArgs,
    /// How to print
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    pub output: PlanOutput,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PlanOutput {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The running operator's plan, or with `--specs` one made here and now.
pub async fn run(args: &PlanArgs, context: &Context) -> Outcome {
    let printer = context.printer;
    if args.setup.specs.is_none() {
        let plan: Plan = context.operator().await?.get("/operator/plan", JSON).await?;
        return Ok(print(&plan, args.output, printer));
    }
    let settings = setup::settings(&args.setup, context)?;
    let endpoint = super::endpoint(context, args.setup.docker_host.clone())?;
    let planned =
        wiring::plan::plan(&settings, &context.environment, &endpoint, context.clock).await?;
    if let Some(reason) = planned.unavailable {
        return Err(Failure::said(reason));
    }
    for line in planned.invalid {
        printer.err(plain(&format!("does not count: {line}")));
    }
    Ok(print(&Plan::from(planned.report), args.output, printer))
}

/// Prints a plan; exit 2 when there is something to do.
pub fn print(plan: &Plan, output: PlanOutput, printer: Printer) -> Exit {
    match output {
        PlanOutput::Json => {
            let text = serde_json::to_string_pretty(plan).unwrap_or_default();
            printer.out(yaml::harmless_json(&text));
        }
        PlanOutput::Text => {
            for line in text(plan, printer.colour()) {
                printer.out(line);
            }
        }
    }
    if plan.lines.is_empty() { Exit::Ok } else { Exit::Changes }
}

fn text(plan: &Plan, colour: bool) -> Vec<String> {
    let engine = plan
        .engine
        .as_ref()
        .map_or_else(|| "engine does not answer".to_owned(), |version| format!("engine {version}"));
    let revision = match plan.revision.as_str() {
        "" => "no revision".to_owned(),
        revision => format!("revision {revision}"),
    };
    let mut lines = vec![plain(&format!("{revision}, {engine}, policy built-in"))];
    let rows: Vec<Vec<String>> = plan
        .lines
        .iter()
        .map(|it| {
            // Signs have one column, so that what they mark stands below each other.
            let sign = format!("{:<3} {}", it.sign, it.object);
            vec![sign, it.verb.clone(), it.cause.clone(), it.when.clone()]
        })
        .collect();
    for (line, row) in plan.lines.iter().zip(Grid::with_gap(2).lines(&rows)) {
        lines.push(coloured(line, &format!(" {row}"), colour));
    }
    lines.push(format!(" {}", summary(plan)));
    lines
}

fn coloured(line: &PlanLine, text: &str, colour: bool) -> String {
    let code = match line.sign.as_str() {
        "+" => 32,
        "-" => 31,
        "!" => 35,
        _ => 33,
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `1 create, 1 update, 1 recreate (waiting), 1 stop, 1 held; 6 unchanged`.
fn summary(plan: &Plan) -> String {
    const ORDER: [&str; 7] = ["create", "update", "recreate", "start", "stop", "remove", "held"];
    let rank = |verb: &str| ORDER.iter().position(|it| *it == verb).unwrap_or(ORDER.len());
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for line in &plan.lines {
        *counts.entry((rank(&line.verb), line.verb.as_str(), line.waiting)).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .into_iter()
        .map(|((_, verb, waiting), count)| {
            format!("{count} {}{}", plain(verb), if waiting { " (waiting)" } else { "" })
        })
        .collect();
    let parts = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
    format!("{parts}; {} unchanged", plan.unchanged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::request::{self, PlanReport, PlanSign};

    fn line(
        sign: PlanSign,
        object: &str,
        verb: &str,
        cause: &str,
        when: &str,
        waiting: bool,
    ) -> request::PlanLine {
        let [object, verb, cause, when] = [object, verb, cause, when].map(str::to_owned);
        request::PlanLine { sign, object, verb, cause, when, waiting }
    }

    #[test]
    fn a_plan_reads_as_the_documentation_draws_it() {
        let report = PlanReport {
            revision: "4f1c2aa".to_owned(),
            engine: Some("20.10.24".to_owned()),
            lines: vec![
                line(
                    PlanSign::Add,
                    "channel/ledger",
                    "create",
                    "team/ledger.yaml:1 is new",
                    "",
                    false,
                ),
                line(
                    PlanSign::Change,
                    "channel/payments",
                    "update",
                    "memory 1Gi → 4Gi",
                    "in place, now",
                    false,
                ),
                line(
                    PlanSign::Replace,
                    "channel/web",
                    "recreate",
                    "image node:20 → node:22",
                    "waits: shell open (12m), forced in 23h40m",
                    true,
                ),
                line(PlanSign::Remove, "channel/old", "stop", "team/old.yaml gone", "in 8s", false),
                line(
                    PlanSign::Held,
                    "channel/x",
                    "held",
                    "mount /run/docker.sock",
                    "built-in policy",
                    false,
                ),
            ],
            unchanged: 6,
        };
        let expected = expect_test::expect![[r"
            revision 4f1c2aa, engine 20.10.24, policy built-in
             +   channel/ledger    create    team/ledger.yaml:1 is new
             ~   channel/payments  update    memory 1Gi → 4Gi           in place, now
             -/+ channel/web       recreate  image node:20 → node:22    waits: shell open (12m), forced in 23h40m
             -   channel/old       stop      team/old.yaml gone         in 8s
             !   channel/x         held      mount /run/docker.sock     built-in policy
             1 create, 1 update, 1 recreate (waiting), 1 stop, 1 held; 6 unchanged
        "]];
        expected.assert_eq(&(text(&Plan::from(report), false).join("\n") + "\n"));
    }

    #[test]
    fn a_plan_with_nothing_to_do_says_so() {
        let plan = Plan::from(PlanReport { unchanged: 2, ..PlanReport::default() });
        assert_eq!(summary(&plan), "nothing to do; 2 unchanged");
    }
}
