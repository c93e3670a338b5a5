//! Columns of text, as `kubectl get` prints them: headings in capitals, three spaces between, nothing around.

use std::fmt::Write as _;

use super::printer::{Printer, plain};
use crate::http::table::Table;

/// Column widths that only grow, so that the rows of a watch stay below their headings.
#[derive(Debug)]
pub(super) struct Grid {
    widths: Vec<usize>,
    gap: usize,
}

impl Default for Grid {
    fn default() -> Self {
        Self::with_gap(3)
    }
}

impl Grid {
    /// With so many spaces between columns.
    pub(super) const fn with_gap(gap: usize) -> Self {
        Self { widths: vec![], gap }
    }

    /// The lines of `rows`, aligned. Foreign text is made harmless; the last column is not padded.
    pub(super) fn lines(&mut self, rows: &[Vec<String>]) -> Vec<String> {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell).replace(['\n', '\t'], " ")).collect())
            .collect();
        for row in &rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&self.widths) {
            let width = width + self.gap;
            let _infallible = write!(line, "{cell:<width$}");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The headings and cells of `table` that a width of `wide` shows.
pub(super) fn shown(table: &Table, wide: bool) -> (Vec<String>, Vec<Vec<String>>) {
    let is_shown: Vec<bool> =
        table.column_definitions.iter().map(|column| wide || column.priority == 0).collect();
    let pick = |cells: Vec<String>| -> Vec<String> {
        cells
            .into_iter()
            .zip(&is_shown)
            .filter(|(_, shown)| **shown)
            .map(|(cell, _)| cell)
            .collect()
    };
    let headings =
        pick(table.column_definitions.iter().map(|column| column.name.clone()).collect());
    let rows = table.rows.iter().map(|row| pick(row.cells.clone())).collect();
    (headings, rows)
}

/// Colours a line by what it says of readiness, or of a run's end.
pub(super) fn coloured(printer: Printer, row: &[String], line: &str) -> String {
    if !printer.colour() {
        return line.to_owned();
    }
    let is_bad = row.get(1).is_some_and(|cell| cell == "False")
        || row
            .get(2)
            .is_some_and(|cell| matches!(cell.as_str(), "Failed" | "Lost" | "NeverStarted"));
    if is_bad { format!("\x1b[33m{line}\x1b[0m") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_cells_stay_on_their_line() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let mut grid = Grid::default();
        let lines =
            grid.lines(&[row(["NAME", "READY", "X"]), row(["a-long-name", "\x1b[2J", "b\nc"])]);
        assert_eq!(lines, ["NAME          READY       X", "a-long-name   \\u{1b}[2J   b c"]);
        assert_eq!(grid.lines(&[row(["b", "True", "-"])]), ["b             True        -"]);
    }
}
