//! The curves: charts with their data, and the choice of servers.

use maud::{Markup, html};

use crate::report::chart::{Chart, Style, Styles, charts, svg, table};
use crate::results::Report;

pub(super) fn section(report: &Report, styles: &Styles) -> Markup {
    let charts = charts(report, styles);
    html! {
        section id="curves" {
            h2 { "Curves" }
            @if charts.is_empty() { p { "This run has no measurements." } }
            @else {
                p.legend { "The servers chosen below are emphasized, the others faint. At first: the server with the highest throughput of each family. Colours are families, dashes servers of a family. Hollow points are from runs with a caveat." }
                (choice(styles))
                div.charts { @for chart in &charts { (figure(chart, styles)) } }
            }
        }
    }
}

/// Returns the style rules that emphasize the chosen servers: no script is needed for them.
pub(super) fn toggles(styles: &Styles) -> String {
    let selectors: Vec<String> = (0..styles.all().len())
        .map(|number| format!("&:has(#t{number}:checked) .s{number}"))
        .collect();
    match selectors.is_empty() {
        true => String::new(),
        false => format!("main {{ {} {{ --o: 1; --d: inline; }} }}", selectors.join(",")),
    }
}

/// Renders a checkbox for each server, by family.
fn choice(styles: &Styles) -> Markup {
    let mut families: Vec<&str> = Vec::new();
    for style in styles.all() {
        if !families.contains(&style.family.as_str()) {
            families.push(&style.family);
        }
    }
    let of_family = |family: &str| -> Vec<(usize, &Style)> {
        styles.all().iter().enumerate().filter(|(_, style)| style.family == family).collect()
    };
    html! {
        details.choice open[styles.all().len() <= 12] {
            summary { "Choose servers" }
            @for family in families {
                fieldset {
                    legend { (family) }
                    @for (number, style) in of_family(family) {
                        label class={ "c" (style.colour) } {
                            input type="checkbox" id={ "t" (number) } name="series" value=(style.name) checked[style.is_default] autocomplete="off";
                            " " (style.name)
                        }
                    }
                }
            }
        }
    }
}

fn figure(chart: &Chart, styles: &Styles) -> Markup {
    let table = table(chart);
    html! {
        figure id={ "chart/" (chart.id) } data-chart=(chart.id) {
            figcaption { h3 { (chart.question) } p.legend { (chart.explanation) } }
            div.scroll role="region" aria-label={ "Chart: " (chart.question) } tabindex="0" { (svg(chart, styles, None)) }
            details.data {
                summary { "Data" }
                div.scroll role="region" aria-label={ "Data: " (chart.question) } tabindex="0" {
                    table.plain {
                        caption { (chart.y.title) " by " (chart.x.title) "; * has a caveat" }
                        @if !table.columns.is_empty() {
                            thead { tr { th scope="col" { "server" } @for title in &table.columns { th scope="col" { (title) } } } }
                        }
                        tbody {
                            @for row in &table.rows {
                                tr data-s=(row.number) {
                                    th scope="row" { (row.name) }
                                    @for cell in &row.cells {
                                        @match cell {
                                            Some(cell) => td data-i=(cell.index) { (cell.text) },
                                            None => td {},
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
