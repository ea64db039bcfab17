//! Recommendations: rules over the key figures. Each names the tied leaders and what they give up.

use super::column::{Better, COLUMNS, Column};
use super::figure::Figure;
use super::table::{KeyFigures, Row};
use crate::figures::{count, significant, time};
use crate::results::{Kind, OverloadOutcome};

/// A recommendation for one need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// Stable name.
    pub id: &'static str,
    /// The need, as a phrase that follows "For".
    pub need: &'static str,
    /// Servers that no other server beats by its whole interval, the best value first. Empty if no
    /// server has a figure that decides.
    pub leaders: Vec<String>,
    /// Whether the leaders are tied by their figures. Otherwise nothing ranks them.
    pub is_tie: bool,
    /// The figures that lead to this choice: the rest of the sentence.
    pub because: String,
    /// What the first leader gives up; empty if nothing stands out.
    pub gives_up: String,
    /// Address of the evidence in the page, without `#`.
    pub evidence: &'static str,
}

/// Number of idle connections that a server must hold to be recommended for many idle clients.
const MANY_CONNECTIONS: f64 = 5_000.0;

/// Ratio to the best value from which a figure counts as given up.
const GIVEN_UP: f64 = 1.5;

/// Applies all rules to the key figures.
pub fn recommendations(figures: &KeyFigures<'_>) -> Vec<Recommendation> {
    let rules: [fn(&KeyFigures<'_>) -> Option<Recommendation>; 7] = [
        many_idle_clients,
        |it| best(it, "throughput", "the highest throughput at 64 connections"),
        |it| best(it, "p99", "the lowest p99 at 64 connections"),
        |it| best(it, "p99-fixed-rate", "the lowest tail latency at a moderate rate"),
        |it| best(it, "cpu", "the least CPU time per request"),
        strict_isolation,
        clear_refusal,
    ];
    rules.iter().filter_map(|rule| rule(figures)).collect()
}

/// The servers that hold the most idle connections, by their memory per connection.
fn many_idle_clients(figures: &KeyFigures<'_>) -> Option<Recommendation> {
    let (memory, held) = (Column::named("memory"), Column::named("held"));
    let connections = |row: &Row<'_>| row.figure(held).map_or(0.0, |figure| figure.value);
    let fine = || figures.rows.iter().filter(|row| row.failures() == 0);
    let most = fine().map(connections).fold(0.0, f64::max);
    let enough = most.min(MANY_CONNECTIONS);
    let candidates: Vec<&Row<'_>> =
        fine().filter(|row| connections(row) >= enough && enough > 0.0).collect();
    let Some((leaders, best)) = leaders(&candidates, memory) else {
        return undecided(figures, memory, "idle", "many mostly idle clients");
    };
    let tried = if most < MANY_CONNECTIONS { ", as many as this plan tries" } else { "" };
    let because = format!(
        "with {} per idle connection, and {} connections held at once; {} of {} measured servers \
         hold {} or more{tried}",
        text(memory, best),
        count(connections(leaders[0])),
        candidates.len(),
        fine().filter(|row| row.figure(memory).is_some()).count(),
        count(enough),
    );
    Some(recommendation(
        "idle",
        "many mostly idle clients",
        &leaders,
        because,
        "chart/memory",
        figures,
    ))
}

/// The servers with the best value in a column.
fn best(figures: &KeyFigures<'_>, id: &'static str, need: &'static str) -> Option<Recommendation> {
    let column = Column::named(id);
    let candidates: Vec<&Row<'_>> = figures.rows.iter().filter(|row| row.failures() == 0).collect();
    let Some((leaders, best)) = leaders(&candidates, column) else {
        return undecided(figures, column, id, need);
    };
    let limited = match best.is_lower_bound {
        true => ", a lower bound because the load generator was the limit",
        false => "",
    };
    let because = format!("with {}{limited}", text(column, best));
    Some(recommendation(id, need, &leaders, because, "summary", figures))
}

/// The servers whose clients each have a process, by throughput.
fn strict_isolation(figures: &KeyFigures<'_>) -> Option<Recommendation> {
    let column = Column::named("throughput");
    let is_isolated = |row: &&Row<'_>| {
        row.server.family.as_deref() == Some(servers::Family::Processes.name())
            && row.failures() == 0
    };
    let candidates: Vec<&Row<'_>> = figures.rows.iter().filter(is_isolated).collect();
    let (leaders, best) = leaders(&candidates, column)?;
    let because = format!(
        "each process serves one client, so a crash ends one connection; with {} at 64 connections, \
         the fastest of the {} such servers",
        text(column, best),
        candidates.len()
    );
    Some(recommendation(
        "isolation",
        "isolation of clients from each other's crashes",
        &leaders,
        because,
        "matrix?topic=isolation",
        figures,
    ))
}

/// The servers that tell a client that they are full, and pass all cases of refusals.
fn clear_refusal(figures: &KeyFigures<'_>) -> Option<Recommendation> {
    let clear = [OverloadOutcome::Busy, OverloadOutcome::Refused];
    let refuses_well = |row: &Row<'_>| {
        let refusal = row.server.cases.iter().filter(|result| result.name.starts_with("refusal/"));
        refusal.clone().count() > 0
            && refusal
                .clone()
                .all(|result| !matches!(result.kind(), Kind::Fail | Kind::Inconclusive))
    };
    let observed =
        |row: &Row<'_>| row.overload.filter(|it| clear.contains(&it.outcome)).map(|it| it.after_us);
    let mut known: Vec<(u64, &Row<'_>)> = figures
        .rows
        .iter()
        .filter(|row| refuses_well(row))
        .filter_map(|row| Some((observed(row)?, row)))
        .collect();
    known.sort_by_key(|(after, _)| *after);
    let (first, last) = (known.first()?.0, known.last()?.0);
    let after = match first == last {
        true => time(first.saturating_mul(1_000)),
        false => {
            format!("{} to {}", time(first.saturating_mul(1_000)), time(last.saturating_mul(1_000)))
        }
    };
    let is_waiting = |row: &&Row<'_>| row.when_full() == Some(OverloadOutcome::Waits);
    let waiting = match figures.rows.iter().filter(is_waiting).count() {
        0 => String::new(),
        1 => ". One server lets the client wait instead".to_owned(),
        number => format!(". {number} servers let the client wait instead"),
    };
    let because = format!(
        "a client over the limit gets a busy line, or is refused, after {after}. One observation for \
         each server does not rank them{waiting}"
    );
    let leaders: Vec<&Row<'_>> = known.into_iter().map(|(_, row)| row).collect();
    let need = "a clear refusal when full";
    let refusal = recommendation("refusal", need, &leaders, because, "when-full", figures);
    Some(Recommendation { is_tie: false, gives_up: String::new(), ..refusal })
}

/// Returns the rows that no other row beats in a column, the best value first, and the best figure.
/// Figures that are not ranked do not count.
fn leaders<'f, 'r>(
    candidates: &[&'f Row<'r>],
    column: &Column,
) -> Option<(Vec<&'f Row<'r>>, &'f Figure)> {
    let mut known: Vec<(&'f Row<'r>, &'f Figure)> = candidates
        .iter()
        .filter_map(|row| Some((*row, row.figure(column)?)))
        .filter(|(_, figure)| figure.is_ranked)
        .collect();
    known.sort_by(|(_, one), (_, other)| match column.better {
        Better::Higher => other.value.total_cmp(&one.value),
        Better::Lower => one.value.total_cmp(&other.value),
    });
    let best = known.first()?.1;
    let range = |figure: &Figure| figure.competing_range().unwrap_or_else(|| figure.range());
    let is_beaten = |figure: &Figure| {
        known.iter().any(|(_, other)| match column.better {
            Better::Higher => range(other).low > range(figure).high,
            Better::Lower => range(other).high < range(figure).low,
        })
    };
    let leaders = known.iter().filter(|(_, figure)| !is_beaten(figure)).map(|(row, _)| *row);
    Some((leaders.collect(), best))
}

/// Says that no figure decides, if the column was measured at all.
fn undecided(
    figures: &KeyFigures<'_>,
    column: &Column,
    id: &'static str,
    need: &'static str,
) -> Option<Recommendation> {
    figures.has(column).then(|| Recommendation {
        id,
        need,
        leaders: Vec::new(),
        is_tie: false,
        because: "no server without failures has a valid figure with an interval".to_owned(),
        gives_up: String::new(),
        evidence: "summary",
    })
}

fn recommendation(
    id: &'static str,
    need: &'static str,
    leaders: &[&Row<'_>],
    because: String,
    evidence: &'static str,
    figures: &KeyFigures<'_>,
) -> Recommendation {
    Recommendation {
        id,
        need,
        leaders: leaders.iter().map(|row| row.server.name.clone()).collect(),
        is_tie: leaders.len() > 1,
        because,
        gives_up: leaders.first().map_or(String::new(), |leader| given_up(leader, figures)),
        evidence,
    }
}

/// Describes the columns in which a server is worse than the best by more than [`GIVEN_UP`], also
/// by the intervals.
fn given_up(leader: &Row<'_>, figures: &KeyFigures<'_>) -> String {
    let texts = COLUMNS.iter().filter_map(|column| {
        let own = leader.figure(column).filter(|figure| figure.is_ranked)?;
        let values =
            figures.rows.iter().filter_map(|row| row.figure(column)).filter(|it| it.is_ranked);
        let (best, ratio) = match column.better {
            Better::Higher => {
                let best = values.max_by(|one, other| one.value.total_cmp(&other.value))?;
                (best.range().low / own.range().high, best.value / own.value)
            }
            Better::Lower => {
                let best = values.min_by(|one, other| one.value.total_cmp(&other.value))?;
                (own.range().low / best.range().high, own.value / best.value)
            }
        };
        (best > GIVEN_UP && ratio.is_finite()).then(|| match column.better {
            Better::Higher => {
                format!("{}: the best is {} times as high", column.title, significant(ratio))
            }
            Better::Lower => format!("{}: {} times the best", column.title, significant(ratio)),
        })
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// Formats a figure with its interval and unit: `293 (286 to 299) thousand/s`.
fn text(column: &Column, figure: &Figure) -> String {
    format!("{} {}", figure.with_interval(), column.unit).trim_end().to_owned()
}
