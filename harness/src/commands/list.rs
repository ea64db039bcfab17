//! `harness list`: prints tables of the harness: servers, cases, workloads, formats.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use servers::Server;

use crate::cli::{List, Table};
use crate::conformance;
use crate::load::WORKLOADS;
use crate::report::{EXPORTERS, FOLDERS};
use crate::stdio;

/// Prints the table that the arguments select, as text or JSON.
///
/// # Errors
/// The table cannot be converted to JSON.
pub fn list(arguments: &List) -> Result<ExitCode> {
    let rows: Vec<Value> = match arguments.table {
        Table::Servers => servers::servers().map(|server| row(&server)).collect(),
        Table::Cases => conformance::cases()
            .map(|case| {
                json!({
                    "name": case.name,
                    "requirement": case.requirement,
                    "level": case.level.name(),
                    "source": case.source,
                    "applies_to": case.applies_to(),
                })
            })
            .collect(),
        Table::Workloads => WORKLOADS
            .iter()
            .map(|workload| json!({ "name": workload.name, "summary": workload.summary }))
            .collect(),
        Table::Formats => EXPORTERS
            .iter()
            .map(|exporter| json!({ "name": exporter.file_name, "summary": exporter.summary }))
            .chain(FOLDERS.iter().map(|folder| {
                let name = format!("{}/{}", folder.name, folder.pattern);
                json!({ "name": name, "summary": folder.summary })
            }))
            .collect(),
    };
    let text = match (arguments.json, arguments.table) {
        (true, _) => serde_json::to_string_pretty(&rows)? + "\n",
        (false, Table::Cases) => paragraphs(&rows),
        (false, _) => table(&rows),
    };
    stdio::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Returns the row of a built-in server with default limits.
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
    if let Some(alias) = server.alias() {
        row["alias"] = json!(alias);
    }
    if let Some(reason) = pattern.unavailable() {
        row["unavailable"] = json!(reason);
    }
    row
}

/// Columns after the name, each with its prefix in text output.
const COLUMNS: &[(&str, &str)] = &[
    ("alias", ""),
    ("summary", ""),
    ("requirement", ""),
    ("level", "level: "),
    ("source", "source: "),
    ("applies_to", "applies to: "),
    ("workers", "served by "),
    ("capacity", "connection limit: "),
    ("when_full", "over the limit: "),
    ("used_by", "used by "),
    ("unavailable", "cannot run on this machine: "),
];

/// Returns the non-empty columns of a row, in the order of [`COLUMNS`].
fn columns(row: &Value) -> Vec<String> {
    let text = |key: &str| row[key].as_str().filter(|text| !text.is_empty());
    COLUMNS.iter().filter_map(|(key, prefix)| Some(format!("{prefix}{}", text(key)?))).collect()
}

fn name(row: &Value) -> &str {
    row["name"].as_str().unwrap_or_default()
}

/// Formats one line per row. The line begins with the name.
fn table(rows: &[Value]) -> String {
    let width = rows.iter().map(|row| name(row).len()).max().unwrap_or(0);
    rows.iter().map(|row| format!("{:width$}  {}\n", name(row), columns(row).join("; "))).collect()
}

/// Formats each row as a line with its name, followed by one indented line per column.
fn paragraphs(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{}\n    {}\n", name(row), columns(row).join("\n    "))).collect()
}
