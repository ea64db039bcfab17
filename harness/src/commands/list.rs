//! `harness list`: prints the tables that the harness itself uses.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use servers::Server;

use crate::cli::{List, Listed};
use crate::conformance;
use crate::load::WORKLOADS;
use crate::report::EXPORTERS;
use crate::stdio;

/// Prints the table that the arguments select, as text or JSON.
///
/// # Errors
/// The table cannot be converted to JSON.
pub fn list(arguments: &List) -> Result<ExitCode> {
    let rows: Vec<Value> = match arguments.what {
        Listed::Servers => servers::servers().map(|server| row(&server)).collect(),
        Listed::Cases => conformance::cases()
            .map(|case| {
                json!({
                    "name": case.name,
                    "requirement": case.requirement,
                    "source": case.source,
                    "applies_to": case.applies_to(),
                })
            })
            .collect(),
        Listed::Workloads => WORKLOADS
            .iter()
            .map(|workload| json!({ "name": workload.name, "summary": workload.summary }))
            .collect(),
        Listed::Exporters => EXPORTERS
            .iter()
            .map(|exporter| json!({ "name": exporter.file_name, "summary": exporter.summary }))
            .collect(),
    };
    let text = match (arguments.json, arguments.what) {
        (true, _) => serde_json::to_string_pretty(&rows)? + "\n",
        (false, Listed::Cases) => paragraphs(&rows),
        (false, _) => table(&rows),
    };
    stdio::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Returns the description of a server with default limits.
fn row(server: &Server) -> Value {
    let pattern = server.pattern;
    let mut row = json!({
        "name": server.name(),
        "pattern": pattern.id,
        "service": server.service.name(),
        "family": pattern.family.name(),
        "summary": pattern.summary,
        "workers": pattern.workers.description(None),
        "capacity": pattern.capacity.description(),
        "when_full": pattern.when_full.description(),
        "used_by": pattern.used_by,
        "stevens": pattern.stevens,
    });
    if let Some(original) = server.original() {
        row["original"] = json!(original);
    }
    if let Some(reason) = pattern.unavailable() {
        row["unavailable"] = json!(reason);
    }
    row
}

/// Columns after the name, with the prefix of each in text output.
const COLUMNS: &[(&str, &str)] = &[
    ("original", ""),
    ("summary", ""),
    ("requirement", ""),
    ("source", "source: "),
    ("applies_to", "applies to: "),
    ("workers", "served by "),
    ("capacity", "clients at once: "),
    ("when_full", "one more: "),
    ("used_by", "used by "),
    ("unavailable", "does not run here: "),
];

/// Returns the non-empty columns of a row, in the order of [`COLUMNS`].
fn said(row: &Value) -> Vec<String> {
    let text = |key: &str| row[key].as_str().filter(|words| !words.is_empty());
    COLUMNS.iter().filter_map(|(key, before)| Some(format!("{before}{}", text(key)?))).collect()
}

fn name(row: &Value) -> &str {
    row["name"].as_str().unwrap_or_default()
}

/// Formats one line per row, the name first.
fn table(rows: &[Value]) -> String {
    let width = rows.iter().map(|row| name(row).len()).max().unwrap_or(0);
    rows.iter().map(|row| format!("{:width$}  {}\n", name(row), said(row).join("; "))).collect()
}

/// Formats each row as its name, and below it one line per column.
fn paragraphs(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{}\n    {}\n", name(row), said(row).join("\n    "))).collect()
}
