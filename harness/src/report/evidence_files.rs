//! `evidence/SERVER/CASE.json`: the evidence of passed cases, which `report.json` omits.

use serde::Serialize;

use super::file_names;
use super::folder::{Evidence, Folder, FolderFile};
use crate::results::{CaseResult, FORMAT, Kind, Report};
use crate::text::file_name;

pub(super) const FOLDER: Folder = Folder {
    name: "evidence",
    pattern: "SERVER/CASE.json",
    extension: "json",
    summary: "transcript, output and resources of each passed case; only with `--evidence all`",
    files,
};

/// Content of a file.
#[derive(Serialize)]
struct CaseEvidence<'r> {
    /// Format version of the report.
    format: u32,
    server: &'r str,
    seed: u64,
    result: &'r CaseResult,
}

fn files(report: &Report, evidence: Evidence) -> Vec<FolderFile> {
    let mut files = Vec::new();
    if evidence != Evidence::All {
        return files;
    }
    for (server, name) in report.servers.iter().zip(file_names::of_servers(report)) {
        for result in server.cases.iter().filter(|result| is_omitted(result)) {
            let seed = report.seed;
            let content = CaseEvidence { format: FORMAT, server: &server.name, seed, result };
            let json = || serde_json::to_string(&content).expect("a result can be serialized");
            files.push(FolderFile {
                name: format!("{name}/{}.json", file_name(&result.name)),
                server: server.name.clone(),
                subject: result.name.clone(),
                // A continued run has read the results of the earlier run without evidence.
                content: has_evidence(result).then(|| json() + "\n"),
            });
        }
    }
    files
}

/// Returns whether `report.json` omits the evidence of a result.
fn is_omitted(result: &CaseResult) -> bool {
    matches!(result.found(), Kind::Pass | Kind::Warn | Kind::Info)
}

fn has_evidence(result: &CaseResult) -> bool {
    !(result.transcript.is_empty() && result.resources.is_empty() && result.log.is_empty())
}
