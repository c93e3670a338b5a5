//! `chanop suspend` and `chanop resume`: a person's word against the file's, kept by the operator.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::printer::plain;
use super::target::{self, Collection};

/// What to suspend, for how long, and why.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SuspendArgs {
    /// For instance channel/web
    #[arg(value_name = "TYPE/NAME")]
    what: String,
    /// For so long: 30m, 2h, 1d; without: until resumed
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// Why, for those who find it suspended
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// What to resume.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ResumeArgs {
    /// For instance channel/web
    #[arg(value_name = "TYPE/NAME")]
    what: String,
}

/// Runs `suspend`.
pub(super) async fn suspend(args: &SuspendArgs, context: &Context) -> Outcome {
    let mut body = Map::from_iter([("reason".to_owned(), json!(args.reason))]);
    if let Some(duration) = args.duration {
        body.insert("durationSeconds".to_owned(), json!(duration.as_secs()));
    }
    ask(context, &args.what, "suspend", &Value::Object(body)).await
}

/// Runs `resume`.
pub(super) async fn resume(args: &ResumeArgs, context: &Context) -> Outcome {
    ask(context, &args.what, "resume", &json!({})).await
}

async fn ask(context: &Context, what: &str, verb: &str, body: &Value) -> Outcome {
    let (collection, name) = target::object(what, None)?;
    if collection != Collection::Channels {
        return Err(Failure::said(format!("{} cannot be suspended", collection.path())));
    }
    let client = context.operator().await?;
    let answer = client.post(&format!("/channels/{name}/{verb}"), body).await?;
    context.printer.out(plain(&answer));
    Ok(Exit::Ok)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write 90s, 30m, 2h, 1d or 1h30m");
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_no_number| wrong())?;
        let mut letters = tail.chars();
        let unit = match letters.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        seconds =
            number.checked_mul(unit).and_then(|it| it.checked_add(seconds)).ok_or_else(wrong)?;
        rest = letters.as_str();
    }
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_units() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_hours(48)));
        for text in ["", "0s", "5", "h", "-1h", "1 h", "1w", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
