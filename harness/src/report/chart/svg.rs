//! Rendering of charts as SVG.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use super::axis::{Axis, Range};
use super::style::Styles;
use super::{Chart, Point, Series};

/// Style sheet of the charts, for the page and for files.
pub const STYLE: &str = include_str!("chart.css");

/// Size of a chart and of its margins, in pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 178.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// Minimum distance between two labels at the ends of lines.
const LABEL_HEIGHT: f64 = 13.0;

/// Renders a chart as a file: the style sheet is included, and only the series that the page shows
/// at first are emphasized.
pub fn file(chart: &Chart, styles: &Styles) -> String {
    svg(chart, styles, Some(STYLE)).into_string() + "\n"
}

/// Renders a chart for a page that includes [`STYLE`]; with `style`, for a file.
pub fn svg(chart: &Chart, styles: &Styles, style: Option<&str>) -> Markup {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let x = Range::around(chart.x, points().map(|it| it.x), (LEFT, WIDTH - RIGHT));
    let y = Range::around(chart.y, points().map(|it| it.y), (HEIGHT - BOTTOM, TOP));
    let ticks = |axis: Axis, range: &Range, of: fn(&Point) -> f64| match axis.has_value_ticks {
        true => distinct(points().map(of)),
        false => range.ticks(),
    };
    let (x_ticks, y_ticks) = (ticks(chart.x, &x, |it| it.x), ticks(chart.y, &y, |it| it.y));
    let labels = label_positions(chart, styles, &x, &y);
    let bottom = HEIGHT - BOTTOM;
    let xmlns = style.map(|_| "http://www.w3.org/2000/svg");
    html! {
        svg class="chart" xmlns=[xmlns] viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(chart.question) {
            @if let Some(style) = style { style { (PreEscaped(style)) } }
            @for tick in y_ticks {
                @if let Some(at) = y.at(tick) {
                    path.grid d={ "M" (LEFT) " " (pixel(at)) "H" (WIDTH - RIGHT) } {}
                    text.tick x=(LEFT - 6.0) y=(pixel(at + 4.0)) text-anchor="end" { (tick_text(chart.y, tick)) }
                }
            }
            @for tick in x_ticks {
                @if let Some(at) = x.at(tick) {
                    path.grid d={ "M" (pixel(at)) " " (TOP) "V" (bottom) } {}
                    text.tick x=(pixel(at)) y=(bottom + 16.0) text-anchor="middle" { (tick_text(chart.x, tick)) }
                }
            }
            text.axis x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 8.0) text-anchor="middle" { (chart.x.title) }
            text.axis transform={ "translate(13 " (pixel((TOP + bottom) / 2.0)) ") rotate(-90)" } text-anchor="middle" { (chart.y.title) }
            @for (series, label) in chart.series.iter().zip(labels) {
                (line(series, styles, (&x, &y), label, style.is_some()))
            }
        }
    }
}

/// Returns the different values, in ascending order.
fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// Formats a tick without decimals that are zero: `5 ms`.
fn tick_text(axis: Axis, tick: f64) -> String {
    let text = (axis.format)(tick);
    let (digits, unit) = text.split_at(text.find(' ').unwrap_or(text.len()));
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned() + unit,
        false => text,
    }
}

/// Renders one line with its band, points and label. A file has no checkboxes that emphasize a
/// line.
fn line(
    series: &Series,
    styles: &Styles,
    (x, y): (&Range, &Range),
    label: Option<f64>,
    is_file: bool,
) -> Markup {
    let Some(style) = styles.all().get(series.number) else { return html! {} };
    let on = if is_file && style.is_default { " on" } else { "" };
    let placed: Vec<(usize, &Point, f64, f64)> = series
        .points
        .iter()
        .enumerate()
        .filter_map(|(index, it)| Some((index, it, x.at(it.x)?, y.at(it.y)?)))
        .collect();
    html! {
        g class={ "series s" (series.number) " c" (style.colour) " d" (style.dash) (on) } {
            @if let Some(band) = band(&placed, y) { path.band d=(band) {} }
            path.line d=(path(placed.iter().map(|(_, _, x, y)| (*x, *y)))) {}
            @for (index, point, x, y) in &placed {
                circle class=[mark(point, series.marked == Some(*index))] data-i=(index) cx=(pixel(*x)) cy=(pixel(*y)) r=(if series.marked == Some(*index) { "5" } else { "2.5" }) {}
            }
            @if let (Some(label), Some((.., end, _))) = (label, placed.last()) {
                text.label x=(pixel(end + 8.0)) y=(pixel(label + 4.0)) { (series.name) }
            }
        }
    }
}

fn mark(point: &Point, is_marked: bool) -> Option<&'static str> {
    match (point.is_valid, is_marked) {
        (false, _) => Some("hollow"),
        (true, true) => Some("knee"),
        (true, false) => None,
    }
}

/// Returns the outline of the intervals, if at least two points have one.
fn band(placed: &[(usize, &Point, f64, f64)], y: &Range) -> Option<String> {
    let ends: Vec<(f64, f64, f64)> = placed
        .iter()
        .filter_map(|(_, point, x, _)| {
            let (low, high) = point.interval?;
            Some((*x, y.at(low)?, y.at(high)?))
        })
        .collect();
    (ends.len() > 1).then(|| {
        let upper = ends.iter().map(|(x, _, high)| (*x, *high));
        let lower = ends.iter().rev().map(|(x, low, _)| (*x, *low));
        path(upper.chain(lower)) + "Z"
    })
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let command = if path.is_empty() { 'M' } else { 'L' };
        write!(path, "{command}{} {}", pixel(x), pixel(y))
            .expect("writing to a String cannot fail");
    }
    path
}

/// Returns the vertical position of each label: at the end of its line. The labels of the series
/// that are shown at first do not overlap.
fn label_positions(chart: &Chart, styles: &Styles, x: &Range, y: &Range) -> Vec<Option<f64>> {
    let end = |series: &Series| {
        series.points.iter().rev().find_map(|it| x.at(it.x).and_then(|_| y.at(it.y)))
    };
    let mut positions: Vec<Option<f64>> = chart.series.iter().map(end).collect();
    let is_default = |index: &usize| {
        styles.all().get(chart.series[*index].number).is_some_and(|style| style.is_default)
    };
    let mut shown: Vec<usize> =
        (0..positions.len()).filter(is_default).filter(|&it| positions[it].is_some()).collect();
    shown.sort_by(|&one, &other| {
        positions[one].unwrap_or(0.0).total_cmp(&positions[other].unwrap_or(0.0))
    });
    let mut free_from = TOP;
    let mut below = shown.len() as f64;
    for index in shown {
        below -= 1.0;
        // Leaves room for the labels below.
        let at_most = HEIGHT - BOTTOM - below * LABEL_HEIGHT;
        let at = positions[index].unwrap_or(0.0).min(at_most).max(free_from);
        positions[index] = Some(at);
        free_from = at + LABEL_HEIGHT;
    }
    positions
}

/// Formats a coordinate with one decimal at most.
fn pixel(at: f64) -> String {
    let text = format!("{at:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
