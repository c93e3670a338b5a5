//! The one table: a row a number, with its spread, its aim, and whether it was met.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::stats::{median, quantile, spread};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// One time divided by another of the same run.
    Ratio,
    /// Milliseconds.
    Millis,
    /// Calls to the engine.
    Calls,
    /// Megabytes of resident memory.
    Megabytes,
    /// So many a second: the only one of which more is better, so it has no aim.
    PerSecond,
}

/// One number.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    unit: Unit,
    measured: f64,
    spread: (f64, f64),
    count: usize,
    /// At most so much; `None`: it is there to explain another row.
    aim: Option<f64>,
}

impl Row {
    /// The median of repeated measurements.
    pub(crate) fn median(
        what: impl Into<String>,
        unit: Unit,
        values: &[f64],
        aim: Option<f64>,
    ) -> Self {
        Self::new(what.into(), unit, median(values), values, aim)
    }

    /// A quantile of many samples.
    pub(crate) fn quantile(
        what: impl Into<String>,
        unit: Unit,
        values: &[f64],
        thousandths: usize,
        aim: Option<f64>,
    ) -> Self {
        Self::new(what.into(), unit, quantile(values, thousandths), values, aim)
    }

    fn new(what: String, unit: Unit, measured: f64, values: &[f64], aim: Option<f64>) -> Self {
        Self { what, unit, measured, spread: spread(values), count: values.len(), aim }
    }

    fn number(&self, value: f64) -> String {
        let (digits, word) = match self.unit {
            Unit::Ratio => (3, ""),
            Unit::Millis if value < 10.0 => (2, " ms"),
            Unit::Millis => (0, " ms"),
            Unit::Calls => (2, ""),
            Unit::Megabytes => (1, " MB"),
            Unit::PerSecond => (0, "/s"),
        };
        let text = format!("{value:.digits$}");
        let plain = if self.unit == Unit::Calls {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        format!("{plain}{word}")
    }

    fn verdict(&self) -> String {
        match self.aim {
            None => String::new(),
            Some(aim) if self.measured <= aim => "met".to_owned(),
            Some(aim) => format!("missed by {}", self.number(self.measured - aim)),
        }
    }

    fn cells(&self) -> [String; 5] {
        let measured = format!(
            "{} [{} … {}]",
            self.number(self.measured),
            self.number(self.spread.0),
            self.number(self.spread.1)
        );
        let aim = self.aim.map_or(String::new(), |aim| format!("≤ {}", self.number(aim)));
        [self.what.clone(), measured, self.count.to_string(), aim, self.verdict()]
    }
}

/// Every row, ratios first, as Markdown whose columns are aligned.
pub(crate) fn text(rows: &[Row]) -> String {
    let head = ["what", "measured [min … max]", "of", "aim", ""].map(str::to_owned);
    let (ratios, others): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.unit == Unit::Ratio);
    let lines: Vec<[String; 5]> = ratios.into_iter().chain(others).map(Row::cells).collect();
    let width = |column: usize| {
        let cells = lines.iter().chain([&head]).filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let rule =
        widths.iter().fold("|".to_owned(), |line, width| line + &"-".repeat(width + 2) + "|");
    let mut text = String::new();
    for (at, line) in [&head].into_iter().chain(&lines).enumerate() {
        text.push('|');
        for (cell, &width) in line.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(text, " {cell:<width$} |");
        }
        text.push('\n');
        if at == 0 {
            let _ = writeln!(text, "{rule}");
        }
    }
    text
}

/// The same for programs.
pub(crate) fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "what": row.what,
            "unit": format!("{:?}", row.unit).to_lowercase(),
            "measured": row.measured,
            "min": row.spread.0,
            "max": row.spread.1,
            "samples": row.count,
            "aim": row.aim,
            "met": row.aim.map(|aim| row.measured <= aim),
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_come_first_and_what_misses_its_aim_is_said() {
        let rows = [
            Row::median("a time", Unit::Millis, &[40.0, 50.0, 45.0], Some(30.0)),
            Row::median("a ratio", Unit::Ratio, &[1.01], Some(1.05)),
            Row::median("a count", Unit::Calls, &[2.0], None),
        ];
        let text = text(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("a ratio") && lines[2].contains("met"), "{text}");
        assert!(lines[3].contains("45 ms [40 ms … 50 ms]"), "{text}");
        assert!(lines[3].contains("missed by 15 ms"), "{text}");
        assert!(lines[4].contains("2 [2 … 2]"), "{text}");
        assert_eq!(json(&rows)[0]["met"], false);
        assert_eq!(json(&rows)[2]["met"], Value::Null);
    }
}
