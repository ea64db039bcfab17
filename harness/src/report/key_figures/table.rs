//! The summary table: a row of key figures for each server.

use super::column::{COLUMNS, Column};
use super::figure::{Cell, Figure};
use super::rank::{Rank, ranks};
use crate::report::tally::Tally;
use crate::results::{Kind, Overload, OverloadOutcome, Report, ServerResult};

/// Key figures of all servers.
#[derive(Clone, Debug)]
pub struct KeyFigures<'r> {
    /// One row per server: those with failures first, otherwise in the order of the report.
    pub rows: Vec<Row<'r>>,
}

/// Key figures of one server.
#[derive(Clone, Debug)]
pub struct Row<'r> {
    /// The server.
    pub server: &'r ServerResult,
    /// Number of case results of each kind.
    pub tally: Tally,
    /// One cell for each of [`COLUMNS`].
    pub cells: Vec<Cell>,
    /// The rank of each cell.
    pub ranks: Vec<Option<Rank>>,
    /// Observed handling of a connection over the limit, if a case observed it.
    pub overload: Option<&'r Overload>,
}

impl<'r> KeyFigures<'r> {
    /// Computes the key figures of a report.
    pub fn of(report: &'r Report) -> KeyFigures<'r> {
        let mut rows: Vec<Row<'_>> = report.servers.iter().map(Row::of).collect();
        for (index, column) in COLUMNS.iter().enumerate() {
            let figures: Vec<Option<&Figure>> =
                rows.iter().map(|row| row.cells[index].figure()).collect();
            let ranks = ranks(&figures, column.better);
            rows.iter_mut().zip(ranks).for_each(|(row, rank)| row.ranks.push(rank));
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.failures()));
        KeyFigures { rows }
    }

    /// Returns whether any server has a figure in this column.
    pub fn has(&self, column: &Column) -> bool {
        self.rows.iter().any(|row| row.figure(column).is_some())
    }
}

impl<'r> Row<'r> {
    fn of(server: &'r ServerResult) -> Row<'r> {
        Row {
            server,
            tally: Tally::of(&server.cases),
            cells: COLUMNS.iter().map(|column| column.cell(server)).collect(),
            ranks: Vec::new(),
            overload: server.overload().map(|(overload, _)| overload),
        }
    }

    /// Returns the number of cases that need attention.
    pub fn failures(&self) -> usize {
        let kinds = [Kind::Fail, Kind::Inconclusive, Kind::Stale];
        kinds.iter().map(|&kind| self.tally.get(kind)).sum()
    }

    /// Returns the cell of a column.
    pub fn cell(&self, column: &Column) -> &Cell {
        &self.cells[index(column)]
    }

    /// Returns the figure of a column, if there is one.
    pub fn figure(&self, column: &Column) -> Option<&Figure> {
        self.cell(column).figure()
    }

    /// Returns the rank in a column, if there is one.
    pub fn rank(&self, column: &Column) -> Option<Rank> {
        self.ranks[index(column)]
    }

    /// Describes what happens to a connection over the limit.
    pub fn when_full_text(&self) -> String {
        match (self.overload, self.server.when_full) {
            (Some(overload), _) => overload.outcome.name().to_owned(),
            (None, Some(declared)) => format!("{} (declared)", declared.name()),
            (None, None) => "not declared".to_owned(),
        }
    }

    /// Returns what happens to a connection over the limit: the observation, otherwise the
    /// declaration.
    pub fn when_full(&self) -> Option<OverloadOutcome> {
        self.server.overload_outcome()
    }
}

fn index(column: &Column) -> usize {
    COLUMNS.iter().position(|it| it.id == column.id).expect("the column is in the table")
}
