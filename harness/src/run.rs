//! The main job: for each server, launch, judge, measure, record; write the report.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Result, bail};
use servers::{Limits, Server};

use crate::cli::{Gate, PlanName, REPLAYS, Run};
use crate::conformance::{self, Case, Judge, Judgement, Kind, judge_all};
use crate::environment::Environment;
use crate::expected::Expected;
use crate::load::{self, Dialog, Measuring, Plan, WORKLOADS, Workload};
use crate::progress::{People, Progress};
use crate::report::{
    self, FORMAT, FailOn, Output, Report, ServerReport, Tally, failure, not_run, step_summary,
};
use crate::role::Usage;
use crate::server::{Launcher, Place, Spec};
use crate::{manifest, replay, role};

/// Does it all.
///
/// # Errors
/// The harness could not do its work. What servers do wrong is in the report.
pub fn run(arguments: &Run) -> Result<ExitCode> {
    role::raise_descriptor_limit();
    arguments.gate.check()?;
    let output = Output::create(&arguments.output)?;
    let launcher = Launcher::this_program()?;
    let mut contenders = Contender::builtin(&launcher, &chosen(&arguments.servers))?;
    if arguments.servers.is_empty() {
        contenders.extend(Contender::external()?);
    }
    let names: Vec<String> = contenders.iter().map(|one| one.judged.name.clone()).collect();
    let judge = Judge {
        expected: arguments.gate.expected(&names)?,
        ..Judge::new(launcher.clone(), seed_or_chance(arguments.seed))
    };
    let replays = arguments.output.join(REPLAYS);
    replay::check_folder(&replays)?;
    let cases: Vec<&Case> = conformance::cases().collect();
    let plan = arguments.plan.plan();
    let workloads: Vec<&Workload> =
        WORKLOADS.iter().filter(|it| it.is_common || !plan.is_short).collect();
    let never = AtomicBool::new(false);
    let measuring = Measuring::usual(plan, judge.seed, &never);
    let mut report = Report {
        format: FORMAT,
        complete: false,
        environment: Environment::detect(),
        plan: arguments.plan.words(),
        seed: judge.seed,
        servers: Vec::new(),
    };
    output.write(&report)?;
    let progress =
        Progress::new(contenders.len() * (cases.len() + workloads.len()), People::Stdout);
    progress.line(&format!(
        "servers: {}, cases: {}, workloads: {} ({}), seed: {}",
        contenders.len(),
        cases.len(),
        workloads.len(),
        report.plan,
        judge.seed
    ));
    for Contender { judged: spec, measured: as_measured } in &contenders {
        let entry = judged(&judge, spec, &cases, &replays, &progress);
        let not_run = not_run(&entry);
        report.servers.push(entry);
        output.write(&report)?;
        if let Some(words) = not_run {
            progress.skip(cases.len() + workloads.len());
            progress.line(&words);
            continue;
        }
        for workload in &workloads {
            progress.doing(format!("{} under {}", spec.name, workload.name));
            let entry = report.servers.last_mut().expect("it was just pushed");
            // Thousands of clients may cost as many threads here.
            measured(&launcher, as_measured, workload, &measuring, entry)?;
            progress.step();
        }
        output.write(&report)?;
        progress.line(&line(report.servers.last().expect("it was just pushed")));
    }
    conclude(&mut report, &judge, &progress);
    output.write(&report)?;
    summary(&report, &output, &progress);
    Ok(ExitCode::from(report.exit_code(&arguments.gate.fail_on)))
}

/// A server as it is judged, with few places, and as it is measured, with many.
pub(crate) struct Contender {
    pub(crate) judged: Spec,
    pub(crate) measured: Spec,
}

/// The servers in other languages that belong to this project.
const EXTERNAL: &str = "servers/external/external.toml";

impl Contender {
    pub(crate) fn builtin(launcher: &Launcher, servers: &[Server]) -> Result<Vec<Contender>> {
        let contender = |server: &Server| {
            let measured = Spec::builtin(launcher, server, &Limits::default())?;
            Ok(Contender { judged: Spec::judged(launcher, server), measured })
        };
        servers.iter().map(contender).collect()
    }

    /// Servers of a manifest.
    pub(crate) fn described(specs: Vec<Spec>) -> impl Iterator<Item = Contender> {
        specs.into_iter().map(|spec| Contender { judged: spec.clone(), measured: spec })
    }

    /// Those that belong to this project, where its folder is there.
    fn external() -> Result<Vec<Contender>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let file = root.join(EXTERNAL);
        if !file.exists() {
            return Ok(Vec::new());
        }
        // As it is typed by whoever stands in the project's folder.
        let here = std::env::current_dir()?;
        let file = file.strip_prefix(&here).unwrap_or(&file);
        Ok(Contender::described(manifest::specs(file, &[])?).collect())
    }
}

/// What is to be said when all servers are judged.
pub(crate) fn conclude(report: &mut Report, judge: &Judge, progress: &Progress) {
    judge.expected.mark_stale(&mut report.servers);
    report.complete = true;
    for server in &report.servers {
        for stale in server.cases.iter().filter(|judgement| judgement.kind() == Kind::Stale) {
            progress.line(&failure(&server.name, stale));
        }
    }
    if let Err(error) = step_summary::append(report) {
        progress.line(&format!("no step summary: {error:#}"));
    }
}

/// The servers asked for, or all.
pub(crate) fn chosen(servers: &[Server]) -> Vec<Server> {
    if servers.is_empty() { servers::servers().collect() } else { servers.to_vec() }
}

/// The seed asked for, or one by chance that is short enough to be typed.
pub(crate) fn seed_or_chance(seed: Option<u64>) -> u64 {
    seed.unwrap_or_else(|| rand::random_range(1..1_000_000))
}

fn judged(
    judge: &Judge,
    spec: &Spec,
    cases: &[&'static Case],
    replays: &Path,
    progress: &Progress,
) -> ServerReport {
    if spec.unavailable.is_some() {
        return ServerReport::new(spec, Vec::new());
    }
    progress.doing(format!("judging {}", spec.name));
    let judgements = judge_all(judge, spec, cases, |judgement| {
        progress.step();
        replay::keep(replays, spec, judge.seed, judgement)
            .unwrap_or_else(|error| progress.line(&format!("{error:#}")));
        if !judgement.is_fine() || judgement.known.is_some() {
            progress.line(&report::line(&spec.name, judgement));
        }
    });
    let mechanism = judgements.iter().find_map(Judgement::mechanism);
    ServerReport { mechanism, ..ServerReport::new(spec, judgements) }
}

/// Measures a server as it is launched for that, under one workload.
pub(crate) fn measured(
    launcher: &Launcher,
    spec: &Spec,
    workload: &Workload,
    measuring: &Measuring<'_>,
    entry: &mut ServerReport,
) -> Result<()> {
    let contract = &spec.contract;
    let not_measured = |reason| format!("{}: {reason}", workload.name);
    let connections = match workload.connections(contract, measuring.plan) {
        Ok(connections) => connections,
        Err(reason) => {
            entry.not_measured.push(not_measured(reason));
            return Ok(());
        }
    };
    entry.measured_command = Some(spec.shown.clone());
    // It is this thread's as long as the server is there.
    let launched =
        Place::take(spec).and_then(|place| launcher.launch(spec).map(|running| (place, running)));
    let measured = launched.map_err(anyhow::Error::from).and_then(|(_place, running)| {
        match Dialog::of(contract, running.address) {
            Ok(dialog) => {
                let asked = (contract, &dialog);
                Ok(Ok(load::measure(&running, asked, workload, connections, measuring)?))
            }
            Err(reason) => Ok(Err(reason)),
        }
    });
    match measured {
        Ok(Ok(measurement)) => entry.measurements.push(measurement),
        Ok(Err(reason)) => entry.not_measured.push(not_measured(reason)),
        Err(error) => entry.problem = Some(format!("under {}: {error}", workload.name)),
    }
    Ok(())
}

fn line(entry: &ServerReport) -> String {
    let figures: Vec<String> = entry
        .measurements
        .iter()
        .map(|one| match one.held {
            Some(held) => format!(
                "{} {} at {} bytes",
                one.workload, one.clients, held.memory_per_connection_bytes
            ),
            None => format!("{} {:.0}/s", one.workload, one.throughput_per_s),
        })
        .collect();
    let tally = Tally::of(&entry.cases);
    format!("{}: {}; {}", entry.name, tally.words(), figures.join(", "))
}

fn summary(report: &Report, output: &Output, progress: &Progress) {
    for problem in report.problems() {
        progress.line(&format!("problem: {problem}"));
    }
    progress.line(&format!("verdicts: {}", Tally::of(report.judgements()).words()));
    progress.line(&format!("report: {}", output.page().display()));
}

impl Gate {
    /// Whether what fails the run can be.
    ///
    /// # Errors
    /// Bad usage.
    pub(crate) fn check(&self) -> Result<()> {
        if self.fail_on.len() > 1 && self.fail_on.contains(&FailOn::None) {
            bail!(Usage("--fail-on takes `none` alone, or other kinds without it".to_owned()));
        }
        Ok(())
    }

    /// The known failures, of built-in servers and of those with these names.
    pub(crate) fn expected(&self, names: &[String]) -> Result<Expected> {
        let read = |file| Expected::read(file, names);
        self.expected.as_deref().map_or_else(|| Ok(Expected::default()), read)
    }
}

impl PlanName {
    pub(crate) fn plan(self) -> Plan {
        let (warm_up, duration, held, is_short) = match self {
            PlanName::Quick => (50, 200, 1_000, true),
            PlanName::Standard => (100, 500, 10_000, true),
            PlanName::Thorough => (1_000, 10_000, 10_000, false),
        };
        let [warm_up, duration] = [warm_up, duration].map(Duration::from_millis);
        Plan { warm_up, duration, held, is_short }
    }

    fn words(self) -> String {
        self.words_of(self.plan())
    }

    /// The plan's name, and for how long it is measured after all.
    pub(crate) fn words_of(self, plan: Plan) -> String {
        let name = match self {
            PlanName::Quick => "quick",
            PlanName::Standard => "standard",
            PlanName::Thorough => "thorough",
        };
        format!("{name} plan: {} each", humantime::format_duration(plan.duration))
    }
}
