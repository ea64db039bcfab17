//! `harness check`: tests built-in servers, or any command, without benchmarks.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use super::asked::{named, seed_or_chance, selected};
use super::progress::{People, Progress};
use super::run;
use crate::cli::{Check, DEFAULT_TIMEOUT, REPLAYS};
use crate::conformance::{
    self, Blame, Case, CaseResult, FITTING, Kind, Obstacle, Runner, judge_all,
};
use crate::counterexamples::{self, Again};
use crate::environment::Environment;
use crate::report::{FORMAT, Junit, Output, Report, ServerResult, Tally, grading, line, not_run};
use crate::server::{
    Confinement, LaunchSpec, Launcher, Surroundings, network, raise_descriptor_limit,
};
use crate::units::written;
use crate::usage_error::UsageError;
use crate::{manifest, stdio};

/// Tests the selected servers, and prints and writes the results.
///
/// # Errors
/// Bad usage, or the harness could not do its work.
pub fn check(arguments: &Check) -> Result<ExitCode> {
    judge(arguments, None)
}

/// Tests the selected servers. `again` is the counterexample of a replay.
pub(crate) fn judge(arguments: &Check, again: Option<Again>) -> Result<ExitCode> {
    raise_descriptor_limit();
    let cases = selected(conformance::cases(), |case| case.name, &arguments.cases, "case")?;
    let launcher = Launcher::this_program()?;
    let specs = specs(arguments, &launcher)?;
    arguments.gate.check()?;
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    let replays = match &arguments.output {
        Some(report) => report.join(REPLAYS),
        None => arguments.replays.clone(),
    };
    if again.is_none() {
        counterexamples::check_folder(&replays)?;
    }
    let mut files = Files {
        output: arguments.output.as_deref().map(Output::create).transpose()?,
        junit: arguments.junit.as_deref().map(Junit::create).transpose()?,
        written: Instant::now(),
    };
    let judge = Runner {
        patience: arguments.timeout,
        // All cases share the one running server.
        at_once: if arguments.connect.is_some() { 1 } else { arguments.jobs.into() },
        within: arguments.within,
        expected: arguments.gate.expected(&names)?,
        replay: again.as_ref().map(|again| again.value.clone()),
        ..Runner::new(launcher, seed_or_chance(arguments.seed))
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
    // Before any thread starts: it may create a network namespace.
    let unconfined = unconfined(&judge.launcher, &specs)?;
    let progress = Progress::new(specs.len() * cases.len(), people);
    unconfined.iter().for_each(|words| progress.line(&format!("not confined: {words}")));
    if arguments.cmd.is_some() || arguments.connect.is_some() {
        judge.expected.of_others(&specs[0].name).for_each(|note| progress.line(&note));
    }
    files.write(&report)?;
    let mut only_obstacle = None;
    for spec in &specs {
        let unjudged = ServerResult::new(spec, Vec::new());
        if let Some(words) = not_run(&unjudged) {
            progress.skip(cases.len());
            progress.line(&words);
            report.servers.push(unjudged);
            continue;
        }
        report.servers.push(unjudged);
        let began = Instant::now();
        let obstacle = judge.preflight(spec).err();
        match &obstacle {
            None => progress.line(&format!("{} ({})", spec.shown, spec.contract.words())),
            // The other servers are tested regardless.
            Some(obstacle) if specs.len() > 1 => {
                progress.line(&format!("{}: not judged: {}", spec.name, obstacle.words));
            }
            // The obstacle of a single server is the error of the command, below.
            Some(_) => {}
        }
        let so_far = Mutex::new((&mut files, &mut report));
        let reached = |judgement: &mut CaseResult| {
            progress.step();
            match &again {
                Some(again) => judgement.replay.clone_from(&again.command),
                None => counterexamples::keep(&replays, spec, judge.seed, judgement)
                    .unwrap_or_else(|error| progress.line(&format!("{error:#}"))),
            }
            if obstacle.is_none() {
                progress.line(&line(&spec.name, judgement));
            }
            let (files, report) = &mut *so_far.lock().unwrap_or_else(PoisonError::into_inner);
            files
                .add(report, &cases, judgement)
                .unwrap_or_else(|error| progress.line(&format!("{error:#}")));
        };
        let judgements = match &obstacle {
            Some(obstacle) => judge.judge_unchecked(spec, &cases, obstacle, reached),
            None => judge_all(&judge, spec, &cases, reached),
        };
        let judged = report.servers.last_mut().expect("it was just pushed");
        judged.mechanism = judgements.iter().find_map(CaseResult::mechanism);
        judged.cases = judgements;
        judged.took_ms = u64::try_from(began.elapsed().as_millis()).ok().filter(|_| judged.foreign);
        files.write(&report)?;
        only_obstacle = obstacle.filter(|_| specs.len() == 1);
    }
    run::conclude(&mut report, &judge, &progress);
    files.write(&report)?;
    if arguments.json {
        stdio::print(&document(&report)?);
    }
    if let Some(obstacle) = only_obstacle {
        let Obstacle { words, blame, .. } = *obstacle;
        match blame {
            Blame::Usage => bail!(UsageError(words)),
            Blame::NoServer => bail!(words),
        }
    }
    // For a single case, the lines above are complete.
    if cases.len() > 1 {
        mark_sheets(&report, &progress);
    }
    progress.line(&format!("seed {}", judge.seed));
    if let Some(misfit) = report.judgements().find(|one| one.expected == FITTING) {
        bail!(UsageError(format!(
            "that is no counterexample of {}: {}",
            misfit.name, misfit.observed
        )));
    }
    if report.not_run().count() == specs.len() {
        let reasons: Vec<String> = report.servers.iter().filter_map(not_run).collect();
        bail!(reasons.join("; "));
    }
    let tally = Tally::of(report.judgements());
    progress.line(&format!("verdicts: {}", tally.words()));
    if let Some(output) = &files.output {
        progress.line(&format!("report: {}", output.page().display()));
    }
    if tally.get(Kind::NotApplicable) == report.judgements().count() {
        bail!(UsageError(
            "no case applies to what the server declares: the lines above say what each needs"
                .to_owned()
        ));
    }
    Ok(ExitCode::from(report.exit_code(&arguments.gate.fail_on)))
}

/// Prepares networks for servers that need one, and returns the parts of the confinement that are
/// not available on this machine.
fn unconfined(launcher: &Launcher, specs: &[LaunchSpec]) -> Result<Vec<String>> {
    let needs_network = |spec: &LaunchSpec| spec.fixed_port.is_some() || spec.limits.network_alone;
    if specs.iter().any(needs_network) {
        // Without a network namespace, servers take turns, or are not confined, as reported below.
        let _ = network::prepare();
    }
    match specs.iter().find(|spec| spec.limits != Confinement::default()) {
        Some(spec) => Ok(launcher.unconfined(&spec.limits)?),
        None => Ok(Vec::new()),
    }
}

/// Prints the grading reports of external servers, and the comparison table of several.
fn mark_sheets(report: &Report, progress: &Progress) {
    let foreign = report.foreign();
    foreign.iter().for_each(|server| progress.line(&grading::sheet_words(server)));
    if foreign.len() > 1 {
        progress.line(&grading::class_words(&foreign));
    }
    if !foreign.is_empty() {
        progress.line("");
    }
}

/// Minimum interval between two writes of an incomplete report.
const OFTEN: Duration = Duration::from_secs(1);

/// Output files of the check.
struct Files {
    output: Option<Output>,
    junit: Option<Junit>,
    /// Time of the last write.
    written: Instant,
}

impl Files {
    fn write(&mut self, report: &Report) -> Result<()> {
        let output = self.output.as_ref().map_or(Ok(()), |output| output.write(report));
        let junit = self.junit.as_ref().map_or(Ok(()), |junit| junit.write(report));
        // Restart the interval after the write, so that a large report does not take all the time.
        self.written = Instant::now();
        output.and(junit)
    }

    /// Adds a case result to the last server, in the order of the cases. Writes the report from
    /// time to time, so that a killed check leaves its results.
    fn add(&mut self, report: &mut Report, cases: &[&Case], judgement: &CaseResult) -> Result<()> {
        if self.output.is_none() && self.junit.is_none() {
            return Ok(());
        }
        if let Some(server) = report.servers.last_mut() {
            let place = |name| cases.iter().position(|case| case.name == name);
            server.cases.push(judgement.clone());
            server.cases.sort_by_key(|one| place(one.name));
        }
        if self.written.elapsed() < OFTEN { Ok(()) } else { self.write(report) }
    }
}

fn specs(arguments: &Check, launcher: &Launcher) -> Result<Vec<LaunchSpec>> {
    let mut specs = match (&arguments.manifest, &arguments.cmd, arguments.connect) {
        (Some(file), ..) => manifest::specs(file, &arguments.servers)?,
        (None, None, None) => {
            if arguments.confine {
                bail!(UsageError(
                    "--confine is for servers of your own: --cmd or --manifest".into()
                ));
            }
            let servers = named(&arguments.servers)?;
            return Ok(servers.iter().map(|server| LaunchSpec::judged(launcher, server)).collect());
        }
        _ => vec![own(arguments)?],
    };
    for spec in &mut specs {
        if arguments.confine && spec.limits == Confinement::default() {
            spec.limits = Confinement::strict();
        }
        if written(arguments.timeout) != DEFAULT_TIMEOUT {
            spec.check_arguments += &format!(" --timeout={}", written(arguments.timeout));
        }
        if arguments.confine {
            spec.check_arguments += " --confine";
        }
    }
    Ok(specs)
}

/// Returns the launch specification of the server of `--cmd` or `--connect`.
fn own(arguments: &Check) -> Result<LaunchSpec> {
    let declared = &arguments.declared.0;
    let contract = declared.contract();
    let (mut spec, named) = match (&arguments.cmd, arguments.connect) {
        (Some(command), _) => {
            let surroundings = Surroundings {
                input: declared.input.clone(),
                fixed_port: declared.port,
                ..Surroundings::default()
            };
            let spec = LaunchSpec::foreign_in(command, surroundings, contract)
                .map_err(|error| UsageError(error.to_string()))?;
            (spec, ["--cmd".to_owned(), command.clone()])
        }
        (None, Some(address)) => (
            LaunchSpec::elsewhere(address, contract),
            ["--connect".to_owned(), address.to_string()],
        ),
        (None, None) => {
            bail!(UsageError("name a server, or give one with --cmd or --connect".into()))
        }
    };
    let flags = declared.flags();
    let words = named.iter().chain(&flags).map(String::as_str);
    spec.check_arguments = shlex::try_join(words).map_err(|error| UsageError(error.to_string()))?;
    Ok(spec)
}

/// Formats the JSON document: an object for one server, an array for several.
fn document(report: &Report) -> Result<String> {
    #[derive(Serialize)]
    struct Checked<'r> {
        seed: u64,
        #[serde(flatten)]
        server: &'r ServerResult,
    }
    let checked: Vec<Checked<'_>> =
        report.servers.iter().map(|server| Checked { seed: report.seed, server }).collect();
    let text = match checked.as_slice() {
        [one] => serde_json::to_string_pretty(one)?,
        several => serde_json::to_string_pretty(several)?,
    };
    Ok(text + "\n")
}
