//! A comparison of reports as text for a terminal.

use super::figures::{Figure, FigureComparison, FigureVerdict, Inconclusive, Samples};
use super::report_comparison::ReportComparison;
use super::side::Side;
use super::sides::SideSummary;
use super::verdicts::{ChangedVerdict, Effect, Item, Unmatched};
use crate::figures::{count, counted, rate, time};

/// Maximum number of names in a list of cases or workloads.
const MAX_NAMES: usize = 5;

/// Number of decimals of a percentage that hides errors of binary fractions.
const DECIMALS: f64 = 1e4;

impl ReportComparison {
    /// Formats the comparison. Lists the figures that are equal or inconclusive only if `all` is
    /// set; otherwise, counts them.
    pub fn text(&self, all: bool) -> String {
        let mut lines = vec![summary(Side::Old, &self.old), summary(Side::New, &self.new)];
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.push(self.verdict_counts());
        lines.extend(self.verdicts.iter().map(verdict));
        lines.extend(unmatched(&self.unmatched));
        if self.figures_compared {
            lines.push(self.figure_counts());
            let is_shown = |it: &&FigureComparison| all || it.verdict.is_difference();
            lines.extend(self.figures.iter().filter(is_shown).map(|it| self.figure(it)));
            lines.extend(self.reasons());
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }

    fn verdict_counts(&self) -> String {
        let number = |effect| self.verdicts.iter().filter(|it| it.effect == effect).count();
        format!(
            "verdicts: {} unchanged, {} worse, {} better, {} otherwise changed",
            count(self.same_verdicts as f64),
            number(Effect::Worse),
            number(Effect::Better),
            number(Effect::Other)
        )
    }

    fn figure_counts(&self) -> String {
        let number = |verdict| self.figures.iter().filter(|it| it.verdict == verdict).count();
        format!(
            "times and memory: {} compared: {} slower, {} faster, {} larger, {} smaller, {} equal \
             within ±{} %, {} inconclusive",
            count(self.figures.len() as f64),
            number(FigureVerdict::Slower),
            number(FigureVerdict::Faster),
            number(FigureVerdict::Larger),
            number(FigureVerdict::Smaller),
            number(FigureVerdict::Equal),
            self.margin_percent(),
            number(FigureVerdict::Inconclusive)
        )
    }

    fn margin_percent(&self) -> f64 {
        (self.margin * 100.0 * DECIMALS).round() / DECIMALS
    }

    /// Formats the figure in one line.
    pub fn figure(&self, it: &FigureComparison) -> String {
        let mut text = format!(
            "  {:12} {} {} {}: {} → {}",
            it.verdict.name(),
            it.server,
            it.workload,
            it.figure.label(),
            value(it.figure, it.old.mean),
            value(it.figure, it.new.mean)
        );
        if let Some(ratio) = &it.ratio {
            let [ratio, low, high] = ratio.figures();
            text += &format!("; {ratio} times, 95 % confidence {low} to {high}");
        }
        if let Some(p) = it.adjusted_p.filter(|_| it.verdict != FigureVerdict::Equal) {
            text += &if p < 0.001 { "; p < 0.001".to_owned() } else { format!("; p {p:.3}") };
        }
        text += &format!("; {} and {}", runs(it.old), runs(it.new));
        if let Some(reason) = it.reason {
            text += &format!(" ({})", self.reason(reason));
        }
        text
    }

    fn reason(&self, reason: Inconclusive) -> String {
        match reason {
            Inconclusive::TooFewRuns => {
                "a side has fewer than 5 runs with this figure: run each build 5 times or more"
                    .to_owned()
            }
            Inconclusive::ZeroFigure => "a run has no correct reply".to_owned(),
            Inconclusive::WideInterval => format!(
                "the interval contains 1 and is not within ±{} %: more runs narrow it",
                self.margin_percent()
            ),
            Inconclusive::NotSignificant => {
                "the difference is not significant, given the number of compared figures: repeat the runs".to_owned()
            }
            Inconclusive::GeneratorLimited => {
                "the load generator limited a run, which hides a difference".to_owned()
            }
        }
    }

    /// Counts the inconclusive figures by reason.
    fn reasons(&self) -> Vec<String> {
        let all = [
            Inconclusive::TooFewRuns,
            Inconclusive::ZeroFigure,
            Inconclusive::WideInterval,
            Inconclusive::NotSignificant,
            Inconclusive::GeneratorLimited,
        ];
        let number = |reason| self.figures.iter().filter(|it| it.reason == Some(reason)).count();
        let counted = all.into_iter().map(|reason| (reason, number(reason)));
        counted
            .filter(|(_, number)| *number > 0)
            .map(|(reason, number)| format!("  {number} inconclusive: {}", self.reason(reason)))
            .collect()
    }
}

fn summary(side: Side, it: &SideSummary) -> String {
    let commits = match it.commits.as_slice() {
        [] => "unknown commit".to_owned(),
        [commit] => format!("commit {commit}"),
        commits => format!("commits {}", commits.join(", ")),
    };
    let [first, last] = [it.started_at.iter().min(), it.started_at.iter().max()];
    let when = match (first, last) {
        (Some(first), Some(last)) if first == last => format!(" of {first}"),
        (Some(first), Some(last)) => format!(" of {first} to {last}"),
        _ => String::new(),
    };
    format!("{}: {}{when}, {commits}", side.name(), counted(it.reports, "report"))
}

fn verdict(it: &ChangedVerdict) -> String {
    let word = match it.effect {
        Effect::Worse => "worse",
        Effect::Better => "better",
        Effect::Other => "changed",
    };
    let ChangedVerdict { server, case, old, new, .. } = it;
    let observed = match it.effect {
        Effect::Worse => format!(": {}", it.observed),
        _ => String::new(),
    };
    format!("  {word:12} {server} {case}: {old} → {new}{observed}")
}

/// Formats what has results on one side only: a line for each server, side and kind.
fn unmatched(all: &[Unmatched]) -> Vec<String> {
    let mut groups: Vec<(&str, Side, &str, Vec<&Unmatched>)> = Vec::new();
    for it in all {
        let noun = match it.item {
            Item::Server => "server",
            Item::Case(_) => "case",
            Item::Workload(_) => "workload",
        };
        let group = groups.iter_mut().find(|(server, side, kind, _)| {
            (*server, *side, *kind) == (&it.server, it.only_in, noun)
        });
        match group {
            Some((.., items)) => items.push(it),
            None => groups.push((&it.server, it.only_in, noun, vec![it])),
        }
    }
    let line = |(server, side, noun, items): (&str, Side, &str, Vec<&Unmatched>)| {
        let reason = items[0].reason.as_ref().map(|it| format!(" ({it})")).unwrap_or_default();
        let only = format!("  only in the {} reports: ", side.name());
        let names: Vec<&str> = items
            .iter()
            .filter_map(|it| match &it.item {
                Item::Server => None,
                Item::Case(name) | Item::Workload(name) => Some(name.as_str()),
            })
            .collect();
        match names.as_slice() {
            [] => format!("{only}{noun} {server}{reason}"),
            [name] => format!("{only}{server}, {noun} {name}{reason}"),
            names => {
                let more = if names.len() > MAX_NAMES { " …" } else { "" };
                let shown = names[..names.len().min(MAX_NAMES)].join(", ");
                format!("{only}{server}, {}: {shown}{more}", counted(names.len(), noun))
            }
        }
    };
    groups.into_iter().map(line).collect()
}

fn runs(it: Samples) -> String {
    match it.not_valid {
        0 => counted(it.runs, "run"),
        invalid => format!("{} ({invalid} not valid)", counted(it.runs, "run")),
    }
}

fn value(figure: Figure, mean: Option<f64>) -> String {
    let Some(mean) = mean else { return "-".to_owned() };
    match figure {
        Figure::Throughput => format!("{}/s", rate(mean)),
        Figure::P99 | Figure::CpuPerRequest => time(mean.round() as u64),
        Figure::MemoryPerConnection => format!("{} bytes", count(mean)),
    }
}
