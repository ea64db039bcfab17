//! Results that need attention, grouped by likely cause across all servers.

use super::evidence::Line;
use super::model::{Grading, NO_CAUSE};
use super::severity::Severity;
use crate::figures::counted;
use crate::results::{Kind, Report, ServerResult};

/// A likely cause, with all results that it explains.
#[derive(Clone, Debug)]
pub struct Cause {
    /// What the results have in common.
    pub category: Category,
    /// Summary in a sentence.
    pub title: String,
    /// Likely cause, if known.
    pub likely_cause: Option<String>,
    /// Evidence from the first result.
    pub evidence: Vec<Line>,
    /// Command that reproduces the first result, if any.
    pub reproduce: Option<String>,
    /// Server, and case or workload, of each result.
    pub results: Vec<(String, String)>,
}

/// Category of a cause. The variants are in the order of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Failed cases.
    Failed(Severity),
    /// Known failures that now pass or do not apply.
    Stale,
    /// Failed measurements.
    Measurement,
    /// Inconclusive cases.
    Inconclusive,
}

impl Cause {
    /// Formats the numbers of results and servers: `3 failed cases on 2 servers`.
    pub fn counts(&self) -> String {
        let noun = match self.category {
            Category::Failed(_) => "failed case",
            Category::Stale => "stale known failure",
            Category::Measurement => "failed measurement",
            Category::Inconclusive => "inconclusive case",
        };
        let mut servers: Vec<&str> =
            self.results.iter().map(|(server, _)| server.as_str()).collect();
        servers.dedup();
        let servers = counted(servers.len(), "server");
        format!("{} on {servers}", counted(self.results.len(), noun))
    }

    /// Formats the first results, and counts the others.
    pub fn results_text(&self, max_shown: usize) -> String {
        let shown = self.results.iter().take(max_shown);
        let shown: Vec<String> = shown.map(|(server, case)| format!("{server} {case}")).collect();
        let more = self.results.len().saturating_sub(max_shown);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        shown.join(", ") + &more
    }
}

impl Report {
    /// Groups all results that need attention by likely cause, across servers. The most severe
    /// causes are first, and of those the causes with the most results.
    pub fn causes(&self) -> Vec<Cause> {
        let mut causes: Vec<(String, Cause)> = Vec::new();
        for (key, cause) in self.servers.iter().flat_map(causes_of) {
            let same = |(other, found): &&mut (String, Cause)| {
                *other == key && found.category == cause.category
            };
            match causes.iter_mut().find(same) {
                Some((_, found)) => found.results.extend(cause.results),
                None => causes.push((key, cause)),
            }
        }
        let mut causes: Vec<Cause> = causes.into_iter().map(|(_, cause)| cause).collect();
        causes.sort_by_key(|cause| (cause.category, std::cmp::Reverse(cause.results.len())));
        causes
    }
}

/// Returns the causes of one server. Causes of several servers with the same key are the same.
fn causes_of(server: &ServerResult) -> Vec<(String, Cause)> {
    let grading = Grading::of(server);
    let results = |cases: Vec<String>| -> Vec<(String, String)> {
        cases.into_iter().map(|case| (grading.name.clone(), case)).collect()
    };
    let mut causes = Vec::new();
    for fault in grading.faults {
        let likely_cause = Some(fault.cause).filter(|cause| cause != NO_CAUSE);
        let cause = Cause {
            category: Category::Failed(fault.severity),
            title: fault.title,
            likely_cause,
            evidence: fault.evidence,
            reproduce: Some(fault.reproduce),
            results: results(fault.cases),
        };
        causes.push((cause.likely_cause.clone().unwrap_or_else(|| cause.title.clone()), cause));
    }
    for result in server.cases.iter().filter(|result| result.kind() == Kind::Stale) {
        let Some(known) = &result.known_failure else { continue };
        let cause = Cause {
            category: Category::Stale,
            title: format!("Remove the known failure of {}: {}", known.location, result.label()),
            likely_cause: None,
            evidence: Vec::new(),
            reproduce: Some(result.reproduce.clone()),
            results: results(vec![result.name.clone()]),
        };
        causes.push((known.location.clone(), cause));
    }
    let problems = server.measurements.iter().filter_map(|it| Some((it.problem()?, &it.workload)));
    let own = server.problem.iter().map(|problem| (problem.clone(), String::new()));
    for (problem, workload) in own.chain(problems.map(|(it, workload)| (it, workload.clone()))) {
        let cause = Cause {
            category: Category::Measurement,
            title: problem,
            likely_cause: None,
            evidence: Vec::new(),
            reproduce: None,
            results: results(vec![workload]),
        };
        causes.push((cause.title.clone(), cause));
    }
    for group in grading.inconclusive {
        let cause = Cause {
            category: Category::Inconclusive,
            title: group.reason,
            likely_cause: None,
            evidence: Vec::new(),
            reproduce: None,
            results: results(group.cases),
        };
        causes.push((cause.title.clone(), cause));
    }
    causes
}
