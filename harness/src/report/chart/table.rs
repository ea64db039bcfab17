//! The data of a chart as a table.

use std::collections::BTreeSet;

use super::{Chart, Point};

/// The data of a chart: the titles of the columns, and a row for each series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartTable {
    /// Titles of the columns after the server's name. Empty if each series has its own values of x.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<ChartRow>,
}

/// The points of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartRow {
    /// Number of the server.
    pub number: usize,
    /// Name of the server.
    pub name: String,
    /// A cell for each column, or for each point if there are no columns.
    pub cells: Vec<Option<ChartCell>>,
}

/// One point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartCell {
    /// Index of the point in its series.
    pub index: usize,
    /// Its value.
    pub text: String,
}

/// Maximum number of shared values of x; with more, each series has its own.
const MAX_COLUMNS: usize = 24;

/// Returns the data of a chart as a table: a column for each value of x, if the series share them.
pub fn table(chart: &Chart) -> ChartTable {
    let value = |point: &Point| {
        let text = (chart.y.format)(point.y);
        let interval = point.interval.map(|(low, high)| {
            format!(" ({} to {})", (chart.y.format)(low), (chart.y.format)(high))
        });
        let mark = if point.is_valid { "" } else { " *" };
        text + &interval.unwrap_or_default() + mark
    };
    let bits = |x: f64| x.to_bits();
    let all: BTreeSet<u64> =
        chart.series.iter().flat_map(|series| &series.points).map(|it| bits(it.x)).collect();
    let is_shared = all.len() <= MAX_COLUMNS;
    let rows = chart.series.iter().map(|series| {
        let numbered = || series.points.iter().enumerate();
        let cells = match is_shared {
            true => all
                .iter()
                .map(|x| {
                    let (index, point) = numbered().find(|(_, it)| bits(it.x) == *x)?;
                    Some(ChartCell { index, text: value(point) })
                })
                .collect(),
            false => numbered()
                .map(|(index, it)| {
                    let text = format!("{}: {}", (chart.x.format)(it.x), value(it));
                    Some(ChartCell { index, text })
                })
                .collect(),
        };
        ChartRow { number: series.number, name: series.name.clone(), cells }
    });
    let columns = all.iter().map(|x| (chart.x.format)(f64::from_bits(*x)));
    ChartTable {
        columns: if is_shared { columns.collect() } else { Vec::new() },
        rows: rows.collect(),
    }
}
