//! Go's durations, as chanop's own fields write them: `30m`, `1h30m`, `90d`.
//!
//! Days are taken too (`d`, 24 hours), since retention is counted in them; a month has no length. A bare `0` is nothing,
//! any other number needs its unit. Ten years is the bound: beyond it arithmetic on times would have to be checked everywhere.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::decode::{Decode, Decoder, Words};
use super::node::{Node, Value, shown};
use super::validate::Code;

/// The longest that is taken.
pub const DURATION_MAX: Duration = Duration::from_hours(10 * 365 * 24);

/// A length of time that a file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Why a text is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with units.
    #[error("`{0}` is not a duration")]
    NotADuration(String),
    /// A number without its unit.
    #[error("`{0}` needs a unit")]
    NoUnit(String),
    /// Letters that are no unit.
    #[error("`{0}` is not a unit of time")]
    UnknownUnit(String),
    /// Beyond [`DURATION_MAX`].
    #[error("`{0}` is longer than ten years")]
    TooLong(String),
}

const UNITS: [(&str, u128); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

impl Span {
    /// Parses `1h30m`, `1.5h`, `300ms`, `0`.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let bad = || DurationError::NotADuration(shown(text));
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut nanos: u128 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, tail) = rest.split_at(end);
            let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            if number.is_empty() || number == "." {
                return Err(bad());
            }
            if unit.is_empty() {
                return Err(DurationError::NoUnit(shown(number)));
            }
            let (_, factor) = UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(|| DurationError::UnknownUnit(shown(unit)))?;
            let part = times(number, *factor).ok_or_else(bad)?;
            nanos = nanos.saturating_add(part);
            if nanos > DURATION_MAX.as_nanos() {
                return Err(DurationError::TooLong(shown(text)));
            }
            rest = tail;
        }
        if text.is_empty() {
            return Err(bad());
        }
        let nanos = u64::try_from(nanos).map_err(|_| DurationError::TooLong(shown(text)))?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// `number` times `factor`, rounded down to a nanosecond; saturates.
fn times(number: &str, factor: u128) -> Option<u128> {
    /// Below a nanosecond of the largest unit.
    const FRACTION_MAX: usize = 14;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return None;
    }
    let whole: u128 = match whole.trim_start_matches('0') {
        "" => 0,
        digits if digits.len() > 20 => return Some(u128::MAX),
        digits => digits.parse().ok()?,
    };
    let fraction = fraction.get(..FRACTION_MAX.min(fraction.len()))?;
    let places = u32::try_from(fraction.len()).ok()?;
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some(whole.saturating_mul(factor).saturating_add(part * factor / 10_u128.pow(places)))
}

impl fmt::Display for Span {
    /// `1h30m`, `90d`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0");
        }
        for (unit, factor) in UNITS.iter().filter(|(unit, _)| *unit != "µs") {
            let count = nanos / factor;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                nanos %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(d|h|m|s|ms|us|µs|ns))+)$",
            "minimum": 0,
            "maximum": 0,
            "x-type": "duration",
        })
    }
}

impl Decode for Span {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = match &node.value {
            Value::Number(text) | Value::String(text) => text.as_str(),
            _ => {
                decoder.wrong_type(node, "a duration such as 30m or 1h30m");
                return None;
            }
        };
        match Self::parse(text) {
            Ok(span) => Some(span),
            Err(error) => {
                let suggestion = match &error {
                    DurationError::NoUnit(number) if number == text => Some(format!("{text}s")),
                    _ => None,
                };
                let words = Words::new(format!("invalid duration: {error}"))
                    .label("not a duration")
                    .suggest(suggestion)
                    .help("numbers with units d, h, m, s, ms; 30m, 1h30m, 90d");
                decoder.report(Code::InvalidDuration, node.place, words);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{DURATION_MAX, DurationError, Span};

    #[test]
    fn gos_forms_are_read() {
        for (text, seconds) in [
            ("30m", 1800),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("90d", 7_776_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(Span::parse(text), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!(Span::parse("300ms"), Ok(Span(Duration::from_millis(300))));
        assert_eq!(Span(Duration::from_mins(90)).to_string(), "1h30m");
    }

    #[test]
    fn what_has_no_unit_or_no_length_is_refused() {
        assert_eq!(Span::parse("30"), Err(DurationError::NoUnit("30".into())));
        assert_eq!(Span::parse("1M"), Err(DurationError::UnknownUnit("M".into())));
        assert_eq!(Span::parse("1month"), Err(DurationError::UnknownUnit("month".into())));
        for text in ["", "h", "-1h", "1h 30m", "1..5h", ".h", "abc"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
        for text in ["3651d", "999999999999999999999999999999h"] {
            assert!(matches!(Span::parse(text), Err(DurationError::TooLong(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_again_changes_nothing(nanos in 0..=u64::try_from(DURATION_MAX.as_nanos()).unwrap()) {
            let span = Span(Duration::from_nanos(nanos));
            prop_assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9.]{0,30}[a-zµ]{0,3}[0-9.]{0,5}[a-z]?") {
            let _either = Span::parse(&text);
        }
    }
}
