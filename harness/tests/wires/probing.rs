//! Probing: `harness probe` writes a manifest entry, and the server passes `check` with this entry.

use super::*;

/// A server in `tests/wires` that is probed.
pub(super) struct Probed {
    pub(super) name: &'static str,
    pub(super) command: &'static str,
    /// Lines that the entry must contain.
    pub(super) lines: &'static [&'static str],
    /// Cases that the server fails with any entry.
    pub(super) weaknesses: &'static [&'static str],
}

pub(super) const PROBED: &[Probed] = &[
    Probed {
        name: "no-newline",
        command: "python3 -S no-newline.py {host} {port}",
        lines: &[
            r#"request = "{}""#,
            r#"reply-end = { quiet = "100ms" }"#,
            r#"concurrency-model = "threads""#,
        ],
        weaknesses: &[],
    },
    Probed {
        name: "greeting",
        command: "python3 -S greeting.py {host} {port}",
        lines: &["greeting = { lines = 2 }"],
        weaknesses: &[],
    },
    Probed {
        name: "prompt",
        command: "python3 -S prompt.py {host} {port}",
        lines: &["greeting = { lines = 1 }", r#"prompt = "> ""#, r#"concurrency-model = "epoll""#],
        weaknesses: &[],
    },
    Probed {
        name: "prefix",
        command: "python3 -S prefix.py {host} {port}",
        lines: &[r#"shape = "two-operands""#, "parentheses = false"],
        weaknesses: &[],
    },
    Probed {
        name: "thread-id",
        command: "python3 -S thread-id.py {host} {port}",
        lines: &[r"\d+\] = ("],
        weaknesses: &[],
    },
    Probed {
        name: "nul",
        command: "python3 -S nul.py {host} {port}",
        lines: &[r#"reply-end = "\u0000""#, r#"request = "{}\u0000""#],
        weaknesses: &[],
    },
    Probed {
        name: "crlf",
        command: "python3 -S crlf.py {host} {port}",
        lines: &[r#"reply-end = "\r\n""#],
        weaknesses: &[],
    },
    Probed {
        name: "fixed-size",
        command: "python3 -S fixed-size.py {host} {port}",
        lines: &["reply-end = { size = 32 }"],
        weaknesses: &[],
    },
    Probed {
        name: "length",
        command: "python3 -S length.py {host} {port}",
        lines: &[r#"reply-end = { length = "u32-be" }"#],
        weaknesses: &[],
    },
    Probed {
        name: "once",
        command: "python3 -S once.py {host} {port}",
        lines: &[r#"reply-end = "close""#, "requests-per-connection = 1"],
        weaknesses: &[],
    },
    Probed {
        name: "one-client",
        command: "python3 -S one-client.py {host} {port}",
        lines: &["connections-before-exit = 1", r#"concurrency-model = "iterative""#],
        weaknesses: &[],
    },
    Probed {
        name: "stdin-port",
        command: "python3 -S stdin-port.py",
        lines: &[r#"input = "{port}\n""#],
        weaknesses: &[],
    },
    Probed {
        name: "fixed-port",
        command: "python3 -S fixed-port.py",
        lines: &["port = 20551"],
        // The server does not set SO_REUSEADDR.
        weaknesses: &["startup/restart"],
    },
    Probed {
        name: "spaced",
        command: "python3 -S spaced.py {host} {port}",
        lines: &["spaced = true", r#"shape = "two-operands""#],
        weaknesses: &[],
    },
    Probed {
        name: "fork",
        command: "python3 -S fork.py {host} {port}",
        lines: &[r#"concurrency-model = "fork""#],
        // SIGTERM does not kill the children of the server.
        weaknesses: &["contract/shutdown"],
    },
    Probed {
        name: "echo-raw",
        command: "python3 -S echo-raw.py {host} {port}",
        lines: &[r#"service = "echo""#, r#"request = "{}""#],
        weaknesses: &[],
    },
];

pub(super) fn is_probed_and_passes(server: &Probed, topics: &[&'static str]) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("servers.toml");
    let path = file.display().to_string();
    let probe = ["probe", "--cmd", server.command, "--name", server.name, "--output", &path];
    let output = harness(&wires(), &probe)?;
    let stderr = text(&output.stderr);
    if !output.status.success() {
        return Err(format!("the probe ended with {}: {stderr}", output.status).into());
    }
    let entry = fs::read_to_string(&file)?;
    has_printed_properties(&entry, &stderr)?;
    for line in server.lines {
        if !entry.contains(line) {
            return Err(format!("`{line}` is not in the entry:\n{entry}\n{stderr}").into());
        }
    }
    fails_only(&file, server.name, server.weaknesses, topics)
        .map_err(|error| format!("{entry}\n{}", error.message().unwrap_or("")).into())
}

/// Checks that the entry has every property that the probe printed, and the reverse for the contract.
fn has_printed_properties(entry: &str, findings: &str) -> Result<(), Failed> {
    let is_property = |text: &&str| {
        let name = text.split(" = ").next().unwrap_or_default();
        harness::contract::PROPERTIES.iter().any(|property| property.name == name)
    };
    // A finding ends with the properties that follow from it: `… (capacity = 3) (queue = 0)`.
    let printed: Vec<&str> = findings
        .lines()
        .flat_map(|line| line.split(" (").skip(1))
        .filter_map(|part| part.strip_suffix(')'))
        .filter(is_property)
        .collect();
    if let Some(missing) = printed.iter().find(|row| !entry.lines().any(|line| line == **row)) {
        return Err(format!("`{missing}` was printed, but is not in the entry:\n{entry}").into());
    }
    let contract = entry.split("[server.contract]\n").nth(1).unwrap_or_default();
    // The findings describe these two in words.
    let in_words = ["transform", "broadcast"];
    let rows = contract.lines().take_while(|line| !line.is_empty());
    match rows
        .filter(|row| !in_words.iter().any(|name| row.starts_with(name)))
        .find(|row| !printed.contains(row))
    {
        Some(row) => Err(format!("`{row}` was not printed:\n{findings}").into()),
        None => Ok(()),
    }
}

/// Returns the name and the limit flags of each pattern: first without limits, then with all
/// limits. The services alternate.
pub(super) fn built_in() -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    for (number, pattern) in servers::PATTERNS.iter().enumerate() {
        let service = |index: usize| Service::ALL[index % Service::ALL.len()].name();
        rows.push((format!("{}-{}", pattern.id, service(number)), Vec::new()));
        let mut limits = vec!["--max-line", "200", "--idle-timeout", "30s"];
        if !matches!(pattern.workers, Workers::One | Workers::PerClient(_)) {
            limits.extend(["--workers", "2"]);
        }
        limits.extend(match pattern.capacity {
            Capacity::One | Capacity::PerWorker => &[][..],
            Capacity::PerWorkerAndQueue(_) => &["--max-connections", "4"],
            Capacity::Limited { .. } => &["--max-connections", "3"],
        });
        let limits = limits.into_iter().map(str::to_owned).collect();
        rows.push((format!("{}-{}", pattern.id, service(number + 1)), limits));
    }
    rows
}

/// Checks that the entry that the probe writes for a built-in server passes `check`.
pub(super) fn built_in_is_probed(server: &str, limits: &[String]) -> Result<Completion, Failed> {
    let built_in = servers::find(server).ok_or("unknown server name")?;
    if let Some(reason) = built_in.pattern.unavailable() {
        return Ok(Completion::ignored_with(format!("not run: {reason}")));
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("servers.toml").display().to_string();
    let limits = limits.join(" ");
    let program = env!("CARGO_BIN_EXE_harness");
    let command = format!("'{program}' serve {server} {{host}} {{port}} {limits}");
    let probe = ["probe", "--cmd", &command, "--name", "server", "--output", &path];
    let output = harness(folder.path(), &probe)?;
    let stderr = text(&output.stderr);
    if !output.status.success() {
        return Err(format!("the probe ended with {}: {stderr}", output.status).into());
    }
    let entry = fs::read_to_string(&path)?;
    has_printed_properties(&entry, &stderr)?;
    let row = |key: &str, value: &str| format!("{key} = {value}\n");
    let mut rows = vec![row("shutdown", r#""drain""#)];
    if let Capacity::One = built_in.pattern.capacity {
        rows.push(row("capacity", "1"));
    }
    if limits.contains("--max-connections 3") {
        rows.push(row("capacity", "3"));
    }
    if limits.contains("--workers 2") && matches!(built_in.pattern.capacity, Capacity::PerWorker) {
        rows.push(row("capacity", "2"));
    }
    if limits.contains("--max-connections 4") {
        rows.extend([row("capacity", "2"), row("queue", "2")]);
    }
    let has_capacity = rows.len() > 1;
    if has_capacity {
        let when_full = built_in.pattern.when_full.name();
        rows.push(row("when-full", &format!("\"{when_full}\"")));
    }
    rows.push(row("max-line", if limits.is_empty() { "4096" } else { "200" }));
    if built_in.service == Service::Calc {
        rows.push(row("error-prefix", r#""error: ""#));
    }
    if let Some(row) = rows.iter().find(|row| !entry.contains(*row)) {
        return Err(format!("`{}` is not in the entry:\n{entry}\n{stderr}", row.trim()).into());
    }
    for case in ["framing/single", "contract/", "refusal/as-declared"] {
        let check = ["check", "--manifest", &path, "--case", case];
        let output = harness(folder.path(), &check)?;
        let is_not_applicable = output.status.code() == Some(2) && case == "refusal/as-declared";
        let may_not_apply = is_not_applicable && !has_capacity;
        if !output.status.success() && !may_not_apply {
            let page = text(&output.stdout) + &text(&output.stderr);
            return Err(format!("{case}: {}: {page}\n{entry}", output.status).into());
        }
    }
    Ok(Completion::Completed)
}
