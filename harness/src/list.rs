//! `harness list`: what there is, from the very tables that the harness works by.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use servers::Limits;

use crate::cli::{List, Listed};
use crate::conformance;
use crate::load::WORKLOADS;
use crate::report::EXPORTERS;
use crate::server::Contract;

/// Lists.
///
/// # Errors
/// The list cannot be written.
pub fn list(arguments: &List) -> Result<ExitCode> {
    let rows = match arguments.what {
        Listed::Servers => servers::servers()
            .map(|server| {
                let contract = Contract::of(&server, &Limits::default())?;
                let mut row = json!({
                    "name": server.name(),
                    "summary": server.pattern.summary,
                    "contract": contract.words(),
                });
                if let Some(original) = server.original() {
                    row["original"] = json!(original);
                }
                Ok(row)
            })
            .collect::<Result<Vec<Value>>>()?,
        Listed::Cases => conformance::cases()
            .map(|case| json!({ "name": case.name, "requirement": case.requirement }))
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
    let text =
        if arguments.json { serde_json::to_string_pretty(&rows)? + "\n" } else { table(&rows) };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a whole document.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Somebody who pipes into `head` has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The rows' values in columns, the name first.
fn table(rows: &[Value]) -> String {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("").to_owned();
    let width = rows.iter().map(|row| text(row, "name").len()).max().unwrap_or(0);
    rows.iter()
        .map(|row| {
            let rest: Vec<String> = ["original", "summary", "requirement", "contract"]
                .iter()
                .map(|key| text(row, key))
                .filter(|words| !words.is_empty())
                .collect();
            format!("{:width$}  {}\n", text(row, "name"), rest.join("; "))
        })
        .collect()
}
