//! `harness run`: tests and benchmarks servers, and writes the report.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use servers::{Family, Limits, PATTERNS, Pattern, Server, Service};

use super::asked::{chosen, seed_or_chance};
use super::progress::{People, Progress};
use crate::cli::{Gate, PlanName, REPLAYS, Run};
use crate::conformance::{self, Case, Kind, KnownFailures, Runner, judge_all};
use crate::counterexamples;
use crate::environment::Environment;
use crate::load::{self, Load, Measurement, Measuring, Plan, ReplyTemplate, WORKLOADS, Workload};
use crate::manifest;
use crate::report::{
    self, FORMAT, FailOn, Output, Report, ServerResult, Tally, failure, not_run, step_summary,
};
use crate::server::{LaunchSpec, Launcher, Place, Server as Running, raise_descriptor_limit};
use crate::usage_error::UsageError;

/// Number of servers tested in parallel, each with parallel cases (see [`Runner`]). Cases mostly
/// wait, so the last slow cases of one server overlap with the first cases of the next.
const JUDGED_AT_ONCE: usize = 4;

/// Minimum interval between two writes of an incomplete report, because each writes all of it.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Tests and benchmarks the selected servers, and writes the report.
///
/// # Errors
/// Bad usage, or the harness could not do its work. Faults of servers are results in the report.
pub fn run(arguments: &Run) -> Result<ExitCode> {
    raise_descriptor_limit();
    arguments.gate.check()?;
    let output = Output::create(&arguments.output)?;
    let launcher = Launcher::this_program()?;
    let mut contenders = match (arguments.all, arguments.servers.is_empty()) {
        (false, true) => Contender::patterns(&launcher)?,
        _ => Contender::builtin(&launcher, &chosen(&arguments.servers))?,
    };
    if arguments.servers.is_empty() {
        contenders.extend(Contender::external()?);
    }
    let names: Vec<String> = contenders.iter().map(|one| one.judged.name.clone()).collect();
    let judge = Runner {
        expected: arguments.gate.expected(&names)?,
        ..Runner::new(launcher.clone(), seed_or_chance(arguments.seed))
    };
    let replays = arguments.output.join(REPLAYS);
    counterexamples::check_folder(&replays)?;
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
    let mut written = Instant::now();
    let mut write_now_and_then = |report: &Report| {
        if written.elapsed() < WRITE_EVERY {
            return Ok(());
        }
        let result = output.write(report);
        // Restart the interval after the write, so that a large report does not take all the time.
        written = Instant::now();
        result
    };
    judge_servers(&judge, &contenders, &cases, &replays, &progress, &mut |judged| {
        report.servers.push(judged);
        report.servers.sort_by_key(|server| names.iter().position(|name| *name == server.name));
        write_now_and_then(&report)
    })?;
    for (contender, entry) in contenders.iter().zip(0..) {
        if report.servers[entry].not_run.is_some() {
            progress.skip(workloads.len());
            continue;
        }
        measure_server(
            (&launcher, contender),
            &workloads,
            &measuring,
            &mut report.servers[entry],
            &progress,
        )?;
        write_now_and_then(&report)?;
    }
    conclude(&mut report, &judge, &progress);
    output.write(&report)?;
    summary(&report, &output, &progress);
    Ok(ExitCode::from(report.exit_code(&arguments.gate.fail_on)))
}

/// A server in two configurations: tested with a low connection limit, benchmarked with a high one.
pub(crate) struct Contender {
    pub(crate) judged: LaunchSpec,
    pub(crate) measured: LaunchSpec,
}

/// Manifest of the project's servers in other languages, relative to the workspace root.
const EXTERNAL: &str = "servers/external/external.toml";

impl Contender {
    pub(crate) fn builtin(launcher: &Launcher, servers: &[Server]) -> Result<Vec<Contender>> {
        let contender = |server: &Server| {
            let measured = LaunchSpec::builtin(launcher, server, &Limits::default())?;
            Ok(Contender { judged: LaunchSpec::judged(launcher, server), measured })
        };
        servers.iter().map(contender).collect()
    }

    /// Returns one contender per pattern. The calculator is tested, because most cases apply to it.
    /// The echo server is benchmarked, because its replies need no computation.
    fn patterns(launcher: &Launcher) -> Result<Vec<Contender>> {
        let contender = |pattern: &'static Pattern| {
            let judged = Server { pattern, service: Service::Calc };
            let measured = Server { pattern, service: Service::Echo };
            let originals = [&judged, &measured].map(|server| server.original());
            let originals: Vec<&str> = originals.into_iter().flatten().collect();
            let judged = LaunchSpec {
                name: pattern.id.to_owned(),
                original: (!originals.is_empty()).then(|| originals.join(", ")),
                ..LaunchSpec::judged(launcher, &judged)
            };
            let measured = LaunchSpec::builtin(launcher, &measured, &Limits::default())?;
            Ok(Contender { judged, measured })
        };
        first_things_first().into_iter().map(contender).collect()
    }

    /// Returns contenders for servers of a manifest, the same in both configurations.
    pub(crate) fn described(specs: Vec<LaunchSpec>) -> impl Iterator<Item = Contender> {
        specs.into_iter().map(|spec| Contender { judged: spec.clone(), measured: spec })
    }

    /// Returns the project's servers in other languages; none without the source directory.
    fn external() -> Result<Vec<Contender>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let file = root.join(EXTERNAL);
        if !file.exists() {
            return Ok(Vec::new());
        }
        // A relative path, as a user in the source directory would type it.
        let here = std::env::current_dir()?;
        let file = file.strip_prefix(&here).unwrap_or(&file);
        Ok(Contender::described(manifest::specs(file, &[])?).collect())
    }
}

/// Returns the patterns in the order of the report: those of `server1` to `server4` first, then one
/// of each other family, then the rest.
fn first_things_first() -> Vec<&'static Pattern> {
    let is_original = |pattern: &'static Pattern| {
        Service::ALL.iter().any(|&service| Server { pattern, service }.original().is_some())
    };
    let (mut ordered, others): (Vec<&Pattern>, Vec<&Pattern>) =
        PATTERNS.iter().partition(|pattern| is_original(pattern));
    ordered.sort_by_key(|pattern| {
        let originals =
            Service::ALL.iter().filter_map(|&service| Server { pattern, service }.original());
        originals.min()
    });
    let is_new = |family: Family, known: &[&Pattern]| known.iter().all(|one| one.family != family);
    let mut rest = Vec::new();
    for pattern in others {
        let list = if is_new(pattern.family, &ordered) { &mut ordered } else { &mut rest };
        list.push(pattern);
    }
    ordered.extend(rest);
    ordered
}

/// Completes the report: marks stale known failures, and appends the step summary.
pub(crate) fn conclude(report: &mut Report, judge: &Runner, progress: &Progress) {
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

/// Tests servers in parallel, and passes the results of each server to `finished`.
fn judge_servers(
    judge: &Runner,
    contenders: &[Contender],
    cases: &[&'static Case],
    replays: &Path,
    progress: &Progress,
    finished: &mut (dyn FnMut(ServerResult) -> Result<()> + Send),
) -> Result<()> {
    let (next, finished) = (AtomicUsize::new(0), Mutex::new((finished, Ok(()))));
    let work = || {
        while let Some(Contender { judged: spec, .. }) = contenders.get(next.fetch_add(1, Relaxed))
        {
            let entry = judged(judge, spec, cases, replays, progress);
            progress.line(&match not_run(&entry) {
                Some(words) => words,
                None => format!("judged   {}: {}", entry.label(), Tally::of(&entry.cases).words()),
            });
            let (finished, result) = &mut *finished.lock().unwrap_or_else(PoisonError::into_inner);
            if result.is_ok() {
                *result = finished(entry);
            }
            if result.is_err() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        // This thread also works. If no more threads can be spawned, fewer servers run in parallel.
        for _ in 1..JUDGED_AT_ONCE.min(contenders.len()) {
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    finished.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

fn judged(
    judge: &Runner,
    spec: &LaunchSpec,
    cases: &[&'static Case],
    replays: &Path,
    progress: &Progress,
) -> ServerResult {
    if spec.unavailable.is_some() {
        progress.skip(cases.len());
        return ServerResult::new(spec, Vec::new());
    }
    progress.doing(format!("judging {}", spec.name));
    let judgements = judge_all(judge, spec, cases, |judgement| {
        progress.step();
        counterexamples::keep(replays, spec, judge.seed, judgement)
            .unwrap_or_else(|error| progress.line(&format!("{error:#}")));
        if !judgement.is_fine() || judgement.known.is_some() {
            progress.line(&report::line(&spec.name, judgement));
        }
    });
    ServerResult::new(spec, judgements)
}

/// Benchmarks a server under all workloads.
fn measure_server(
    (launcher, contender): (&Launcher, &Contender),
    workloads: &[&Workload],
    measuring: &Measuring<'_>,
    entry: &mut ServerResult,
    progress: &Progress,
) -> Result<()> {
    let spec = &contender.measured;
    let mut bench = Bench::new(launcher, spec);
    // The memory per connection is measured first, in a process that has served no clients yet.
    let mut in_order = workloads.to_vec();
    in_order.sort_by_key(|workload| workload.load != Load::Held);
    for workload in in_order {
        progress.doing(format!("{} under {}", spec.name, workload.name));
        bench.measure(workload, measuring, entry)?;
        progress.step();
    }
    let place = |one: &Measurement| workloads.iter().position(|it| it.name == one.workload);
    entry.measurements.sort_by_key(place);
    progress.line(&format!("measured {}", line(entry)));
    Ok(())
}

/// A server under benchmark. In short plans it keeps running from one workload to the next; if it
/// has exited in between, it is launched again.
pub(crate) struct Bench<'a> {
    launcher: &'a Launcher,
    spec: &'a LaunchSpec,
    /// The running server, and its reply template, or the reason why it cannot be loaded.
    running: Option<(Running, Result<ReplyTemplate, String>)>,
    /// Port or network of the server; outlives it.
    place: Option<Place>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(launcher: &'a Launcher, spec: &'a LaunchSpec) -> Bench<'a> {
        Bench { launcher, spec, running: None, place: None }
    }

    /// Benchmarks the server under one workload.
    ///
    /// # Errors
    /// The harness could not do its work. Faults of the server are recorded in `entry`.
    pub(crate) fn measure(
        &mut self,
        workload: &Workload,
        measuring: &Measuring<'_>,
        entry: &mut ServerResult,
    ) -> Result<()> {
        let contract = &self.spec.contract;
        let not_measured = |reason| format!("{}: {reason}", workload.name);
        let connections = match workload.connections(contract, measuring.plan) {
            Ok(connections) => connections,
            Err(reason) => {
                entry.not_measured.push(not_measured(reason));
                return Ok(());
            }
        };
        entry.measured_command = Some(self.spec.shown.clone());
        let measured = self.running(measuring).and_then(|(server, dialog)| match dialog {
            Ok(dialog) => {
                let asked = (contract, &*dialog);
                Ok(Ok(load::measure(server, asked, workload, connections, measuring)?))
            }
            Err(reason) => Ok(Err(reason.clone())),
        });
        match measured {
            Ok(Ok(measurement)) => entry.measurements.push(measurement),
            Ok(Err(reason)) => entry.not_measured.push(not_measured(reason)),
            Err(error) => entry.problem = Some(format!("under {}: {error}", workload.name)),
        }
        if !measuring.plan.is_short {
            self.running = None;
        }
        Ok(())
    }

    fn running(
        &mut self,
        measuring: &Measuring<'_>,
    ) -> Result<&mut (Running, Result<ReplyTemplate, String>)> {
        let has_ended = |(server, _): &(Running, _)| server.process.exit().is_some();
        if self.running.as_ref().is_some_and(has_ended) {
            self.running = None;
        }
        if self.running.is_none() {
            self.place = None;
            self.place = Some(Place::take(self.spec)?);
            let launcher = measuring.placement()?.launcher(self.launcher);
            let server = launcher.launch(self.spec)?;
            let dialog = ReplyTemplate::of(&self.spec.contract, server.address);
            self.running = Some((server, dialog));
        }
        Ok(self.running.as_mut().expect("it was just launched"))
    }
}

fn line(entry: &ServerResult) -> String {
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
    format!("{}: {}", entry.label(), figures.join(", "))
}

fn summary(report: &Report, output: &Output, progress: &Progress) {
    for problem in report.problems() {
        progress.line(&format!("problem: {problem}"));
    }
    progress.line(&format!("verdicts: {}", Tally::of(report.judgements()).words()));
    progress.line(&format!("report: {}", output.page().display()));
}

impl Gate {
    /// Checks that the failure criteria are consistent.
    ///
    /// # Errors
    /// Bad usage.
    pub(crate) fn check(&self) -> Result<()> {
        if self.fail_on.len() > 1 && self.fail_on.contains(&FailOn::None) {
            bail!(UsageError("--fail-on takes `none` alone, or other kinds without it".to_owned()));
        }
        Ok(())
    }

    /// Reads the known failures. The file may name built-in servers and servers in `names`.
    pub(crate) fn expected(&self, names: &[String]) -> Result<KnownFailures> {
        let read = |file| KnownFailures::read(file, names);
        self.expected.as_deref().map_or_else(|| Ok(KnownFailures::default()), read)
    }
}

impl PlanName {
    pub(crate) fn plan(self) -> Plan {
        let (warm_up, duration, held, is_short) = match self {
            PlanName::Quick => (50, 100, 1_000, true),
            PlanName::Standard => (50, 250, 1_000, true),
            PlanName::Thorough => (1_000, 10_000, 10_000, false),
        };
        let [warm_up, duration] = [warm_up, duration].map(Duration::from_millis);
        Plan { warm_up, duration, held, is_short }
    }

    fn words(self) -> String {
        self.words_of(self.plan())
    }

    /// Formats the plan's name and the duration of each measurement in `plan`.
    pub(crate) fn words_of(self, plan: Plan) -> String {
        let name = match self {
            PlanName::Quick => "quick",
            PlanName::Standard => "standard",
            PlanName::Thorough => "thorough",
        };
        format!("{name} plan: {} each", humantime::format_duration(plan.duration))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_pattern_has_one_row_the_originals_first_and_then_one_of_each_family() {
        let contenders = Contender::patterns(&Launcher::new("harness")).expect("rows");
        let rows: Vec<(&str, Option<&str>)> = contenders
            .iter()
            .map(|one| (one.judged.name.as_str(), one.judged.original.as_deref()))
            .collect();
        assert_eq!(
            rows[..3],
            [
                ("iterative-refuse", Some("server1")),
                ("thread-per-connection", Some("server2")),
                ("select", Some("server3, server4")),
            ]
        );
        assert!(rows[3..].iter().all(|(_, originals)| originals.is_none()));
        let names: HashSet<&str> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, PATTERNS.iter().map(|pattern| pattern.id).collect());
        assert_eq!(rows.len(), PATTERNS.len());
        let families = |count| {
            let first = first_things_first().into_iter().take(count);
            first.map(|pattern| pattern.family.name()).collect::<HashSet<_>>()
        };
        assert_eq!(families(Family::ALL.len()).len(), Family::ALL.len());
    }

    #[test]
    fn a_row_is_judged_as_a_calculator_and_measured_as_an_echo() {
        for contender in Contender::patterns(&Launcher::new("harness")).expect("rows") {
            let services = [&contender.judged, &contender.measured].map(|it| it.contract.service);
            assert_eq!(services, [Service::Calc, Service::Echo], "{}", contender.judged.name);
        }
    }
}
