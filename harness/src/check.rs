//! `harness check`: verdicts alone, on built-in servers or on any command.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::cli::Check;
use crate::conformance::{self, Case, Judge, Judgement, State, judge_all};
use crate::environment::Environment;
use crate::progress::{People, Progress};
use crate::report::{FORMAT, Output, Report, ServerReport, Tally};
use crate::role::{self, Usage};
use crate::run;
use crate::server::{LaunchError, Launcher, Spec};

/// Judges.
///
/// # Errors
/// Bad usage, or the harness could not do its work.
pub fn check(arguments: &Check) -> Result<ExitCode> {
    role::raise_descriptor_limit();
    let cases = wanted(&arguments.case)?;
    let launcher = Launcher::this_program()?;
    let specs = specs(arguments, &launcher)?;
    let output = arguments.output.as_deref().map(Output::create).transpose()?;
    let judge = Judge {
        patience: arguments.timeout,
        at_once: arguments.jobs.into(),
        ..Judge::new(launcher, run::seed_or_chance(arguments.seed))
    };
    let mut report = Report {
        format: FORMAT,
        complete: false,
        environment: Environment::detect(),
        plan: "no measurements".to_owned(),
        seed: judge.seed,
        servers: Vec::new(),
    };
    let people = if arguments.json { People::Stderr } else { People::Stdout };
    let progress = Progress::new(specs.len() * cases.len(), people);
    for spec in &specs {
        can_be_launched(&judge.launcher, spec)?;
        progress.line(&format!("{} ({})", spec.shown, spec.contract.words()));
        let judgements = judge_all(&judge, spec, &cases, |judgement| {
            progress.step();
            progress.line(&line(&spec.name, judgement));
        });
        report.servers.push(ServerReport::new(spec, judgements));
        if let Some(output) = &output {
            output.write(&report)?;
        }
    }
    report.complete = true;
    if let Some(output) = &output {
        output.write(&report)?;
    }
    if arguments.json {
        println!("{}", document(&report)?);
    }
    progress.line(&format!("seed {}", judge.seed));
    progress.line(&format!("verdicts: {}", Tally::of(report.judgements()).words()));
    if let Some(output) = &output {
        progress.line(&format!("report: {}", output.page().display()));
    }
    let harness_failed = report.judgements().any(|one| one.state == State::HarnessError);
    Ok(match (harness_failed, report.is_fine()) {
        (true, _) => ExitCode::from(3),
        (false, fine) => ExitCode::from(u8::from(!fine)),
    })
}

fn wanted(prefix: &str) -> Result<Vec<&'static Case>> {
    let exactly: Vec<&Case> = conformance::cases().filter(|case| case.name == prefix).collect();
    if !exactly.is_empty() {
        return Ok(exactly);
    }
    let cases: Vec<&Case> =
        conformance::cases().filter(|case| case.name.starts_with(prefix)).collect();
    if cases.is_empty() {
        bail!(Usage(format!("no case begins with `{prefix}`: see `harness list cases`")));
    }
    Ok(cases)
}

fn specs(arguments: &Check, launcher: &Launcher) -> Result<Vec<Spec>> {
    let Some(command) = &arguments.cmd else {
        let servers = run::chosen(&arguments.servers);
        return servers.iter().map(|server| run::judged_spec(launcher, server)).collect();
    };
    let contract = arguments.declared.contract();
    let mut spec = Spec::foreign(command, contract).map_err(|error| Usage(error.to_string()))?;
    let flags = arguments.declared.flags();
    let words = ["--cmd", command].into_iter().chain(flags.iter().map(String::as_str));
    spec.check_arguments = shlex::try_join(words).map_err(|error| Usage(error.to_string()))?;
    Ok(vec![spec])
}

/// A command that does not run at all is the user's slip, and is not told once for every case.
fn can_be_launched(launcher: &Launcher, spec: &Spec) -> Result<()> {
    match launcher.launch(spec) {
        Err(LaunchError::NotRun(words)) => bail!(Usage(words)),
        Err(error @ (LaunchError::NoPort(_) | LaunchError::Supervisor(_))) => bail!(error),
        // What else goes wrong is the server's, and is judged.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn line(server: &str, judgement: &Judgement) -> String {
    if !judgement.is_fine() {
        return run::failure(server, judgement);
    }
    let words = judgement.words();
    let name = judgement.name;
    match judgement.observed.as_str() {
        "as required" => format!("{words:4} {name}"),
        observed => format!("{words:4} {name}: {observed}"),
    }
}

/// One document for one server, a list of them for several.
fn document(report: &Report) -> Result<String> {
    #[derive(Serialize)]
    struct Checked<'r> {
        seed: u64,
        #[serde(flatten)]
        server: &'r ServerReport,
    }
    let checked: Vec<Checked<'_>> =
        report.servers.iter().map(|server| Checked { seed: report.seed, server }).collect();
    Ok(match checked.as_slice() {
        [one] => serde_json::to_string_pretty(one)?,
        several => serde_json::to_string_pretty(several)?,
    })
}
