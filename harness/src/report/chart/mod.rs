//! Line charts as SVG, with their data as tables.
//!
//! The charts are drawn here because no crate draws what they need: colours that follow the colour
//! scheme of the page, series that a style sheet can show and hide, and interval bands.

mod axis;
mod charts;
mod files;
mod style;
mod svg;
mod table;

pub use axis::{Axis, Scale};
pub use charts::charts;
pub(super) use files::FOLDER;
pub use style::{Style, Styles};
pub use svg::{STYLE, file, svg};
pub use table::table;

/// A line chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Stable name, for addresses and files.
    pub id: &'static str,
    /// The question that the chart answers.
    pub question: &'static str,
    /// What is drawn, in a sentence.
    pub explanation: &'static str,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// One line for each server that has values.
    pub series: Vec<Series>,
}

/// A line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Number of the server in [`Styles`].
    pub number: usize,
    /// Name of the server.
    pub name: String,
    /// Points, in ascending order of `x`.
    pub points: Vec<Point>,
    /// Index of the point to emphasize, if any.
    pub marked: Option<usize>,
}

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Horizontal value.
    pub x: f64,
    /// Vertical value.
    pub y: f64,
    /// Ends of the confidence interval of `y`, if known.
    pub interval: Option<(f64, f64)>,
    /// Whether the run behind the point was valid. Other points are hollow.
    pub is_valid: bool,
}

impl Point {
    /// Returns a valid point without an interval.
    pub fn new(x: f64, y: f64) -> Point {
        Point { x, y, interval: None, is_valid: true }
    }
}
