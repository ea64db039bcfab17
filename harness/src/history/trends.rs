//! Trends over the runs of a history, as a table with sparklines.

use super::run::{Run, WorkloadFigures};
use super::sparkline::sparkline;
use crate::figures::{count, counted, rate, time};

/// Maximum number of runs in a sparkline: the newest.
const MAX_RUNS: usize = 40;

/// Selection of the trends to show.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Names of servers; empty for all.
    pub servers: Vec<String>,
    /// Prefixes of workload names; empty for all.
    pub workloads: Vec<String>,
    /// Whether runs of different machines and builds are in one group.
    pub allow_different_machines: bool,
}

impl Filter {
    fn has_server(&self, name: &str) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|it| it == name)
    }

    fn has_workload(&self, name: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|it| name.starts_with(it.as_str()))
    }
}

/// A figure with a trend.
struct Trend {
    label: &'static str,
    of: fn(&WorkloadFigures) -> Option<f64>,
    format: fn(f64) -> String,
}

const THROUGHPUT: Trend = Trend {
    label: "throughput",
    of: |it| Some(it.throughput_per_s),
    format: |per_s| format!("{}/s", rate(per_s)),
};

const P99: Trend = Trend {
    label: "p99",
    of: |it| it.p99_ns.map(|ns| ns as f64),
    format: |ns| time(ns.round() as u64),
};

const MEMORY: Trend = Trend {
    label: "memory",
    of: |it| it.memory_per_connection_bytes.map(|bytes| bytes as f64),
    format: |bytes| format!("{} bytes", count(bytes)),
};

/// Formats the trends of each server and workload, for each machine and build, newest run last.
/// Returns `None` if no run has a selected server and workload.
pub fn trends(runs: &[Run], filter: &Filter) -> Option<String> {
    let mut runs: Vec<&Run> = runs.iter().collect();
    // Times in UTC of equal format have the order of their texts.
    runs.sort_by(|one, other| one.started_at.cmp(&other.started_at));
    let tables: Vec<String> =
        groups(runs, filter).iter().filter_map(|group| table(group, filter)).collect();
    (!tables.is_empty()).then(|| tables.join("\n"))
}

/// Splits the runs by machine and build, in order of the first run.
fn groups<'r>(runs: Vec<&'r Run>, filter: &Filter) -> Vec<Vec<&'r Run>> {
    let mut groups: Vec<Vec<&Run>> = Vec::new();
    for run in runs {
        let is_same =
            |group: &&mut Vec<&Run>| filter.allow_different_machines || group[0].is_comparable(run);
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

fn table(runs: &[&Run], filter: &Filter) -> Option<String> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for server in runs.iter().flat_map(|run| &run.servers).filter(|it| filter.has_server(&it.name))
    {
        for workload in server.workloads.iter().filter(|it| filter.has_workload(&it.name)) {
            if !names.contains(&(&server.name, &workload.name)) {
                names.push((&server.name, &workload.name));
            }
        }
    }
    // Workloads of a server that only later runs have would follow other servers.
    let position = |server: &str| names.iter().position(|(name, _)| *name == server);
    let mut sorted = names.clone();
    sorted.sort_by_key(|(server, _)| position(server));
    let rows: Vec<[String; 4]> =
        sorted.iter().flat_map(|&(server, workload)| rows(runs, server, workload)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3].map(|column| width(column).unwrap_or(0));
    let line = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    (!rows.is_empty()).then(|| header(runs) + &rows.iter().map(line).collect::<String>())
}

/// Formats the machine of the runs, their number and time.
fn header(runs: &[&Run]) -> String {
    let mut machines: Vec<String> = Vec::new();
    for run in runs {
        let machine = format!("{}, {} build", run.machine, run.build);
        if !machines.contains(&machine) {
            machines.push(machine);
        }
    }
    let when = match runs {
        [run] => run.started_at.clone(),
        [first, .., last] => format!("{} to {}", first.started_at, last.started_at),
        [] => String::new(),
    };
    let number = counted(runs.len(), "run");
    match machines.as_slice() {
        [machine] => format!("{machine}: {number}, {when}\n"),
        machines => format!(
            "{number}, {when}; note: the runs are of different machines or builds, so a change may \
             be that of the machine: {}\n",
            machines.join("; ")
        ),
    }
}

/// Formats the trends of a server under a workload. Idle connections have a memory, but no load.
fn rows(runs: &[&Run], server: &str, workload: &str) -> Vec<[String; 4]> {
    let newest = &runs[runs.len().saturating_sub(MAX_RUNS)..];
    let figures: Vec<Option<&WorkloadFigures>> = newest
        .iter()
        .map(|run| {
            let server = run.servers.iter().find(|it| it.name == server)?;
            server.workloads.iter().find(|it| it.name == workload)
        })
        .collect();
    let is_idle = figures.iter().flatten().any(|it| it.memory_per_connection_bytes.is_some());
    let trends: &[Trend] = if is_idle { &[MEMORY] } else { &[THROUGHPUT, P99] };
    let row = |(index, trend): (usize, &Trend)| {
        let values: Vec<Option<f64>> = figures.iter().map(|it| (trend.of)((*it)?)).collect();
        // The name is not repeated in the second row.
        let name = |name: &str| if index == 0 { name.to_owned() } else { String::new() };
        let text = format!("{:10} {}", trend.label, sparkline(&values));
        [name(server), name(workload), text, summary(&values, trend.format)]
    };
    trends.iter().enumerate().map(row).collect()
}

/// Formats the value of the newest run, and the range of all values.
fn summary(values: &[Option<f64>], format: fn(f64) -> String) -> String {
    let known = || values.iter().flatten().copied();
    let newest = values.last().copied().flatten().map_or_else(|| "-".to_owned(), format);
    let [low, high] = [known().reduce(f64::min), known().reduce(f64::max)];
    match (low, high) {
        (Some(low), Some(high)) if low < high || newest == "-" => {
            format!("{newest} ({} to {})", format(low), format(high))
        }
        _ => newest,
    }
}
