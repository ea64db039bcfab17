//! `badge.svg`: the verdict as a badge for a README or a web page.

use maud::html;

use super::exporter::Exporter;
use super::tally::Tally;
use crate::figures::count;
use crate::results::{Kind, Report};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "badge.svg",
    summary: "the verdict as a small image without external resources, for a README",
    render: |document| Some(render(document.report)),
};

const GREEN: &str = "#2d7d3a";
const RED: &str = "#b3261e";
const GREY: &str = "#5f6368";

/// Height in pixels.
const HEIGHT: usize = 20;

/// Width of a character in pixels. The text is stretched to this width, whatever the font.
const CHARACTER_WIDTH: usize = 7;

/// Space on both sides of a text, in pixels.
const PADDING: usize = 12;

fn render(report: &Report) -> String {
    let Verdict { label, text, color, title } = verdict(report);
    let [left, right] = [label, &text].map(|it| it.chars().count() * CHARACTER_WIDTH + PADDING);
    let width = left + right;
    let text_at = |x: usize, width: usize, text: &str| {
        html! {
            text x=(x + PADDING / 2) y="14" textLength=(width - PADDING) fill="#fff"
                font-family="sans-serif" font-size="12" { (text) }
        }
    };
    let image = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(HEIGHT) role="img"
            aria-label=(title) {
            title { (title) }
            rect width=(left) height=(HEIGHT) fill="#3c4043" {}
            rect x=(left) width=(right) height=(HEIGHT) fill=(color) {}
            (text_at(0, left, label))
            (text_at(left, right, &text))
        }
    };
    image.into_string() + "\n"
}

/// The two texts of the badge.
struct Verdict {
    label: &'static str,
    text: String,
    color: &'static str,
    /// The verdict for screen readers.
    title: String,
}

impl Verdict {
    fn new(label: &'static str, text: String, color: &'static str) -> Verdict {
        Verdict { title: format!("{label}: {text}"), label, text, color }
    }
}

fn verdict(report: &Report) -> Verdict {
    let tally = Tally::of(report.results());
    let counted = |number: usize, word: &str| format!("{} {word}", count(number as f64));
    let failed = tally.get(Kind::Fail) + tally.get(Kind::Stale);
    let problems = report.problems().count();
    let inconclusive = tally.get(Kind::Inconclusive);
    if !report.complete {
        let title = "cases: the run is incomplete".to_owned();
        return Verdict { title, ..Verdict::new("cases", "incomplete".to_owned(), GREY) };
    }
    match () {
        () if failed > 0 => Verdict::new("cases", counted(failed, "failed"), RED),
        () if problems > 0 => Verdict::new("measurements", counted(problems, "failed"), RED),
        () if inconclusive > 0 => {
            Verdict::new("cases", counted(inconclusive, "inconclusive"), GREY)
        }
        () => {
            let passed = tally.get(Kind::Pass) + tally.get(Kind::Warn);
            let color = if passed > 0 { GREEN } else { GREY };
            Verdict::new("cases", counted(passed, "passed"), color)
        }
    }
}
