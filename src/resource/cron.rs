//! Cron patterns and time zones, judged where they are written.
//!
//! Five fields only. Six are refused with the reason: some programs put seconds first, some a year last, and a pattern that
//! is read the other way fires at a time nobody chose. A pattern that never fires (`0 0 31 2 *`) is refused as well.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr as _;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::decode::{Decode, Decoder, Words};
use super::node::{Node, shown};
use super::validate::Code;
use super::validate::near::nearest;

/// A cron pattern that fires.
#[derive(Debug, Clone)]
pub struct CronPattern {
    text: String,
    cron: Cron,
}

/// Why a text is not a [`CronPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("a schedule has 5 fields (minute hour day month weekday), this one has {0}")]
    FieldCount(usize),
    /// A sixth field could be seconds or a year.
    #[error(
        "a schedule has 5 fields, this one has {0}: a further field means seconds to some programs and a year to others"
    )]
    TooManyFields(usize),
    /// A field that cannot be read.
    #[error("the schedule cannot be read: {0}")]
    Unreadable(String),
    /// An `@` word that is none.
    #[error("`{word}` is no schedule")]
    UnknownWord {
        /// What was written.
        word: String,
        /// What was probably meant.
        near: Option<&'static str>,
    },
    /// `@every`, which has a field of its own.
    #[error("`@every` has a field of its own: every")]
    Every,
    /// `TZ=` or `CRON_TZ=`, which has a field of its own.
    #[error("a zone within the schedule has a field of its own: timeZone")]
    ZoneInside,
    /// No time that matches.
    #[error("the schedule never fires")]
    NeverFires,
}

const NICKNAMES: [&str; 7] =
    ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];

impl CronPattern {
    /// Parses five fields or an `@` word, and makes sure that it ever fires.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        if let Some(word) = text.starts_with('@').then_some(text) {
            if word.starts_with("@every") {
                return Err(CronError::Every);
            }
            if !NICKNAMES.contains(&word) {
                let near = nearest(word, NICKNAMES)
                    .and_then(|near| NICKNAMES.into_iter().find(|name| *name == near));
                return Err(CronError::UnknownWord { word: shown(word), near });
            }
        } else if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return Err(CronError::ZoneInside);
        } else {
            match text.split_whitespace().count() {
                5 => fields_are_sound(text)?,
                count @ 6.. => return Err(CronError::TooManyFields(count)),
                count => return Err(CronError::FieldCount(count)),
            }
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(text)
            .map_err(|error| CronError::Unreadable(error.to_string()))?;
        let pattern = Self { text: text.to_owned(), cron };
        pattern.fires().then_some(pattern).ok_or(CronError::NeverFires)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after `after`, in its zone.
    pub fn next_after(&self, after: &Zoned) -> Option<Zoned> {
        self.cron.find_next_occurrence(after, false).ok()
    }

    /// Whether any day at all matches. Judged from a fixed day, so that the answer is the same every day.
    fn fires(&self) -> bool {
        let Ok(epoch) = jiff::Timestamp::from_str("2024-01-01T00:00:00Z") else { return true };
        self.next_after(&epoch.to_zoned(TimeZone::UTC)).is_some()
    }
}

/// What the parser lets pass and no other cron would.
fn fields_are_sound(text: &str) -> Result<(), CronError> {
    const MOST: [(&str, u32); 5] =
        [("minute", 59), ("hour", 23), ("day", 31), ("month", 12), ("weekday", 7)];
    let bad = |why: String| Err(CronError::Unreadable(why));
    for (field, (name, most)) in text.split_whitespace().zip(MOST) {
        for part in field.split(',') {
            if part.is_empty() {
                return bad(format!("the {name} `{}` has an empty part", shown(field)));
            }
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (part, None),
            };
            if let Some(step) = step
                && !step.parse::<u32>().is_ok_and(|step| (1..=most).contains(&step))
            {
                return bad(format!(
                    "the {name} `{}` has a step that is none from 1 to {most}",
                    shown(part)
                ));
            }
            for number in range.split('-').filter_map(|bound| bound.parse::<u32>().ok()) {
                if number > most {
                    return bad(format!("the {name} `{}` is beyond {most}", shown(part)));
                }
            }
        }
    }
    Ok(())
}

impl PartialEq for CronPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for CronPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for CronPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for CronPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|\S+(\s+\S+){4})\s*$",
            "x-type": "cron",
        })
    }
}

impl Decode for CronPattern {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = String::decode(node, decoder)?;
        let error = match Self::parse(&text) {
            Ok(pattern) => return Some(pattern),
            Err(error) => error,
        };
        let words = Words::new(error.to_string());
        let words = match &error {
            CronError::TooManyFields(6) => {
                let without: Vec<&str> = text.split_whitespace().skip(1).collect();
                words
                    .label("6 fields")
                    .suggest(Some(without.join(" ")))
                    .help("if the first field is seconds, leave it out")
            }
            CronError::FieldCount(_) | CronError::TooManyFields(_) => {
                words.label("not 5 fields").help("minute hour day month weekday: 0 3 * * 1-5")
            }
            CronError::UnknownWord { near, .. } => words
                .label("not a schedule")
                .suggest(*near)
                .help(format!("allowed: {}", NICKNAMES.join(", "))),
            CronError::Every => {
                let span = text.trim().strip_prefix("@every").unwrap_or_default().trim();
                words.label("not here").suggest(Some(format!("every: {span}")))
            }
            CronError::ZoneInside => words.label("not here").help("set timeZone: Europe/Berlin"),
            CronError::NeverFires => {
                words.label("no such day").help("no month has all of these days")
            }
            CronError::Unreadable(_) => words.label("not a schedule"),
        };
        decoder.report(Code::InvalidSchedule, node.place, words);
        None
    }
}

/// The name of a time zone that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneName(String);

impl ZoneName {
    /// The zone's own spelling of its name, when there is such a zone.
    pub fn parse(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        Some(Self(zone.iana_name()?.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for ZoneName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl JsonSchema for ZoneName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeZone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "x-type": "time zone" })
    }
}

impl Decode for ZoneName {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = String::decode(node, decoder)?;
        if let Some(zone) = Self::parse(&text) {
            return Some(zone);
        }
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let near =
            nearest(&text, known.iter().map(String::as_str)).map(str::to_owned).or_else(|| {
                let city = text.replace(' ', "_").to_lowercase();
                known.iter().find(|name| last(name).to_lowercase() == city).cloned()
            });
        let words = Words::new(format!("no time zone is called `{}`", shown(&text)))
            .label("not a time zone")
            .suggest(near)
            .help("a name of the IANA database: Europe/Berlin, America/New_York, Etc/UTC");
        decoder.report(Code::UnknownTimeZone, node.place, words);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{CronError, CronPattern, ZoneName};

    #[test]
    fn five_fields_and_at_words_are_read() {
        for text in [
            "0 3 * * 1-5",
            "*/15 * * * *",
            "@daily",
            "0 0 29 2 *",
            "0 9 * jan-mar mon",
            "0 0 L * *",
        ] {
            assert!(CronPattern::parse(text).is_ok(), "{text}: {:?}", CronPattern::parse(text));
        }
    }

    #[test]
    fn six_fields_are_refused_with_the_reason() {
        assert_eq!(CronPattern::parse("0 0 3 * * 1"), Err(CronError::TooManyFields(6)));
        assert!(CronError::TooManyFields(6).to_string().contains("seconds"));
        assert_eq!(CronPattern::parse("0 3 * *"), Err(CronError::FieldCount(4)));
    }

    #[test]
    fn a_day_that_never_comes_is_refused() {
        assert_eq!(CronPattern::parse("0 0 31 2 *"), Err(CronError::NeverFires));
        assert_eq!(CronPattern::parse("0 0 30 2 *"), Err(CronError::NeverFires));
    }

    #[test]
    fn what_other_crons_refuse_is_refused_here() {
        for text in [
            "0-59/61 * * * *",
            "1,2,,3 * * * *",
            "60 * * * *",
            "* 24 * * *",
            "a * * * *",
            "* * 32 * *",
        ] {
            assert!(CronPattern::parse(text).is_err(), "{text}");
        }
        assert_eq!(CronPattern::parse("@every 5m"), Err(CronError::Every));
        assert_eq!(CronPattern::parse("TZ=UTC 0 3 * * *"), Err(CronError::ZoneInside));
        let error = CronPattern::parse("@dayly");
        assert_eq!(
            error,
            Err(CronError::UnknownWord { word: "@dayly".into(), near: Some("@daily") })
        );
    }

    #[test]
    fn the_next_time_follows_the_zone_over_a_change_of_the_clock() {
        let pattern = CronPattern::parse("30 2 * * *").unwrap();
        let before: jiff::Zoned = "2026-03-28T12:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let first = pattern.next_after(&before).unwrap();
        assert_eq!(first.to_string(), "2026-03-29T03:00:00+02:00[Europe/Berlin]");
        let second = pattern.next_after(&first).unwrap();
        assert_eq!(second.to_string(), "2026-03-30T02:30:00+02:00[Europe/Berlin]");
    }

    #[test]
    fn only_zones_that_exist_are_taken() {
        assert_eq!(ZoneName::parse("europe/berlin").unwrap().as_str(), "Europe/Berlin");
        assert!(ZoneName::parse("Etc/UTC").is_some());
        assert!(ZoneName::parse("Europe/Atlantis").is_none());
    }
}
