//! Kubernetes quantities: `512Mi`, `500m`, `1.5`, `2e3`.
//!
//! Held exactly, in billionths; what is finer is rounded up, away from a limit of nothing. The printed form is Kubernetes'
//! canonical one: no fraction, the largest suffix that fits, in the family (binary, decimal) that was written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::decode::{Decode, Decoder, Words};
use super::node::{Node, Value, shown};
use super::validate::Code;

/// A number with a unit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    nano: i128,
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Binary,
    Decimal,
}

/// Why a text is not a [`Quantity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No digit where one is due.
    #[error("`{0}` is not a quantity")]
    NotANumber(String),
    /// A suffix that is none.
    #[error("`{suffix}` is not a unit")]
    UnknownSuffix {
        /// What stands behind the number.
        suffix: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// More than 2^63-1 whole units.
    #[error("`{0}` is larger than any machine")]
    TooLarge(String),
}

const NANO: i128 = 1_000_000_000;

/// Kubernetes' own bound, in whole units.
const WHOLE_MAX: i128 = i64::MAX as i128;

const BINARY: [(&str, i128); 6] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
];

/// Suffix and power of ten in billionths.
const DECIMAL: [(&str, u32); 10] = [
    ("E", 27),
    ("P", 24),
    ("T", 21),
    ("G", 18),
    ("M", 15),
    ("k", 12),
    ("", 9),
    ("m", 6),
    ("u", 3),
    ("n", 0),
];

impl Quantity {
    /// Nothing; for a limit, none.
    pub const ZERO: Self = Self { nano: 0, family: Family::Decimal };

    /// So many bytes, printed with `Ki`, `Mi`, ….
    pub const fn bytes(bytes: i64) -> Self {
        Self { nano: bytes as i128 * NANO, family: Family::Binary }
    }

    /// Parses Kubernetes' grammar.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let bad = || QuantityError::NotANumber(shown(text));
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..)),
            Some(b'+') => (false, text.get(1..)),
            _ => (false, Some(text)),
        };
        let unsigned = unsigned.ok_or_else(bad)?;
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(bad());
        }
        let (family, scale) = scale(suffix)?;
        let nano = scaled(whole, fraction, &scale)
            .filter(|nano| *nano <= WHOLE_MAX * NANO)
            .ok_or_else(|| QuantityError::TooLarge(shown(text)))?;
        Ok(Self { nano: if negative { -nano } else { nano }, family })
    }

    /// Billionths, for `NanoCpus`.
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// Whole units, rounded up: bytes.
    pub fn units(self) -> i64 {
        let up = self.nano.div_euclid(NANO) + i128::from(self.nano.rem_euclid(NANO) != 0);
        i64::try_from(up).unwrap_or(i64::MAX)
    }

    /// Is it below nothing?
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }
}

/// What a suffix multiplies by: as a factor, or as a power of ten in billionths.
enum Scale {
    Factor(i128),
    PowerOfTen(i32),
}

fn scale(suffix: &str) -> Result<(Family, Scale), QuantityError> {
    if let Some((_, factor)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Family::Binary, Scale::Factor(*factor)));
    }
    let power = DECIMAL.iter().find(|(name, _)| *name == suffix);
    if let Some(power) = power.and_then(|(_, power)| i32::try_from(*power).ok()) {
        return Ok((Family::Decimal, Scale::PowerOfTen(power)));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse::<i32>().ok());
    if let Some(exponent) = exponent.filter(|exponent| (-100..=100).contains(exponent)) {
        return Ok((Family::Decimal, Scale::PowerOfTen(exponent + 9)));
    }
    let near = match suffix.to_lowercase().as_str() {
        "k" | "kb" => Some("k"),
        "ki" | "kib" => Some("Ki"),
        "mb" => Some("M"),
        "mi" | "mib" => Some("Mi"),
        "g" | "gb" => Some("G"),
        "gi" | "gib" => Some("Gi"),
        "t" | "tb" => Some("T"),
        "ti" | "tib" => Some("Ti"),
        _ => None,
    };
    Err(QuantityError::UnknownSuffix { suffix: shown(suffix), near: near.map(str::to_owned) })
}

/// `whole.fraction` times the scale, in billionths, rounded up; `None` when it is too large.
fn scaled(whole: &str, fraction: &str, scale: &Scale) -> Option<i128> {
    /// More digits behind the point than this cannot change the result but by rounding up.
    const FRACTION_MAX: usize = 18;
    let kept = fraction.get(..FRACTION_MAX.min(fraction.len()))?;
    let lost = fraction.bytes().skip(FRACTION_MAX).any(|b| b != b'0');
    let digits = format!("{whole}{kept}");
    let digits = digits.trim_start_matches('0');
    let mantissa: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let places = u32::try_from(kept.len()).ok()?;
    if mantissa == 0 {
        return Some(i128::from(lost));
    }
    match *scale {
        Scale::Factor(factor) => {
            let nano = mantissa.checked_mul(factor)?.checked_mul(NANO);
            // Large numbers with many digits: divide first, what is lost is far below a billionth of them.
            let divisor = 10_i128.checked_pow(places)?;
            match nano {
                Some(nano) => Some(up(nano, divisor, lost)),
                None => up(mantissa, divisor, lost).checked_mul(factor)?.checked_mul(NANO),
            }
        }
        Scale::PowerOfTen(power) => {
            let power = power - i32::try_from(places).ok()?;
            match u32::try_from(power) {
                Ok(power) => {
                    mantissa.checked_mul(10_i128.checked_pow(power)?)?.checked_add(i128::from(lost))
                }
                Err(_) => match 10_i128.checked_pow(power.unsigned_abs()) {
                    Some(divisor) => Some(up(mantissa, divisor, lost)),
                    None => Some(1),
                },
            }
        }
    }
}

fn up(number: i128, divisor: i128, lost: bool) -> i128 {
    number / divisor + i128::from(number % divisor != 0 || lost)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.family == Family::Binary && self.nano != 0 {
            let unit = BINARY.iter().find(|(_, factor)| self.nano % (factor * NANO) == 0);
            if let Some((suffix, factor)) = unit {
                return write!(f, "{}{suffix}", self.nano / (factor * NANO));
            }
        }
        let unit = DECIMAL
            .iter()
            .map(|(suffix, power)| (suffix, 10_i128.pow(*power)))
            .find(|(_, factor)| self.nano != 0 && self.nano % factor == 0);
        match unit {
            Some((suffix, factor)) => write!(f, "{}{suffix}", self.nano / factor),
            None => f.write_str("0"),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "pattern": r"^(\+?([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?)?$",
            "minimum": 0,
            "x-type": "quantity",
        })
    }
}

impl Decode for Quantity {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = match &node.value {
            Value::Number(text) | Value::String(text) => text.as_str(),
            _ => {
                decoder.wrong_type(node, "a quantity such as 512Mi or 500m");
                return None;
            }
        };
        if text.is_empty() {
            return Some(Self::ZERO);
        }
        let words = match Self::parse(text) {
            Ok(quantity) if quantity.is_negative() => {
                let words = Words::new(format!("`{}` is negative", shown(text)));
                decoder.report(Code::OutOfRange, node.place, words.label("must not be negative"));
                return None;
            }
            Ok(quantity) => return Some(quantity),
            Err(error) => {
                let suggestion = match &error {
                    QuantityError::UnknownSuffix { suffix, near: Some(near) } => {
                        text.strip_suffix(suffix.as_str()).map(|number| format!("{number}{near}"))
                    }
                    _ => None,
                };
                Words::new(format!("invalid quantity: {error}"))
                    .label("not a quantity")
                    .suggest(suggestion)
                    .help(
                        "a number and a unit: m, k, M, G, T or Ki, Mi, Gi, Ti; 512Mi, 1.5Gi, 500m",
                    )
            }
        };
        decoder.report(Code::InvalidQuantity, node.place, words);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Quantity, QuantityError};

    fn printed(text: &str) -> String {
        Quantity::parse(text).map_or_else(|error| error.to_string(), |q| q.to_string())
    }

    #[test]
    fn texts_print_in_their_canonical_form() {
        for (text, canonical) in [
            ("512Mi", "512Mi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5", "500m"),
            ("500m", "500m"),
            ("1000m", "1"),
            ("2e3", "2k"),
            ("1E", "1E"),
            ("1E3", "1k"),
            ("1Ei", "1Ei"),
            (".5", "500m"),
            ("5.", "5"),
            ("+1", "1"),
            ("0", "0"),
            ("0.0000000001", "1n"),
            ("1e-100", "1n"),
            ("0Mi", "0"),
            ("1.0000000000000000000001", "1000000001n"),
        ] {
            assert_eq!(printed(text), canonical, "{text}");
        }
    }

    #[test]
    fn bytes_are_rounded_up() {
        assert_eq!(Quantity::parse("0.5").map(Quantity::units), Ok(1));
        assert_eq!(Quantity::parse("1.0001Ki").map(Quantity::units), Ok(1025));
        assert_eq!(Quantity::parse("4Gi").map(Quantity::units), Ok(4 << 30));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "Mi", "1 Gi", "1GB", "1Kib", "12K", "1..2", "1e", "--1", "1e1000", "0x10"]
        {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
        for text in ["8Ei", "9223372036854775808", "1e30", &"9".repeat(200)] {
            assert!(matches!(Quantity::parse(text), Err(QuantityError::TooLarge(_))), "{text}");
        }
    }

    #[test]
    fn a_number_at_the_edge_of_what_is_computed_is_refused() {
        // The largest number of 128 bits, and a little more.
        let text = format!("{}.{}9e9", "170141183460469231731", "687303715884105727");
        assert!(matches!(Quantity::parse(&text), Err(QuantityError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_again_changes_nothing(nano in 0..=i128::from(i64::MAX), binary: bool) {
            let text = if binary { format!("{}Ki", nano % (1 << 50)) } else { format!("{nano}n") };
            let first = Quantity::parse(&text).unwrap();
            let again = Quantity::parse(&first.to_string()).unwrap();
            prop_assert_eq!(first.nano(), again.nano());
            prop_assert_eq!(first.to_string(), again.to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9.]{0,40}[a-zA-Z]{0,3}[+-]?[0-9]{0,12}") {
            let _either = Quantity::parse(&text);
        }

        #[test]
        fn a_fraction_rounds_up_and_never_by_more_than_one(whole in 0u32..1000, fraction in "[0-9]{1,30}") {
            let quantity = Quantity::parse(&format!("{whole}.{fraction}")).unwrap();
            let least = i128::from(whole) * 1_000_000_000;
            prop_assert!(quantity.nano() >= least);
            prop_assert!(quantity.nano() <= least + 1_000_000_000);
        }
    }
}
