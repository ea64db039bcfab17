//! Every built-in server by every case. Each pair is a test of its own:
//! `cargo test --test matrix select-calc::framing/pipelined`.

use std::process::ExitCode;

use harness::conformance::{Case, Judge, State, Verdict, cases};
use harness::server::{Launcher, Spec};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use servers::{Capacity, Limits, Server, Service, Workers};

/// Tests at a time: they mostly wait.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let seed = match std::env::var("HARNESS_SEED") {
        Ok(seed) => seed.parse().expect("HARNESS_SEED is a whole number"),
        Err(_) => rand::random_range(1..1_000_000),
    };
    let judge = Judge::new(Launcher::new(env!("CARGO_BIN_EXE_harness")), seed);
    harness::role::raise_descriptor_limit();
    let mut trials = Vec::new();
    for server in servers::servers() {
        let spec = Spec::judged(&judge.launcher, &server);
        trials.extend(cases().map(|case| trial(&judge, &spec, case)));
        if server.service == Service::Echo {
            let spec = narrow(&judge.launcher, &server);
            let about_limits =
                cases().filter(|case| LIMITED.iter().any(|topic| case.name.starts_with(topic)));
            trials.extend(about_limits.map(|case| trial(&judge, &spec, case)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What limits from the command line change.
const LIMITED: &[&str] = &[
    "contract/capacity",
    "contract/when-full",
    "contract/queue",
    "contract/max-line",
    "refusal/",
    "oversize/",
    "isolation/schedules",
];

/// A server with every limit set that it has: what it declares must follow.
fn narrow(launcher: &Launcher, server: &Server) -> Spec {
    let workers = match server.pattern.workers {
        Workers::One | Workers::PerClient(_) => None,
        Workers::PerCore(_) | Workers::Pool(..) => Some(2),
    };
    let max_connections = match server.pattern.capacity {
        Capacity::One | Capacity::PerWorker => None,
        Capacity::PerWorkerAndQueue(_) => Some(4),
        Capacity::Limited { .. } => Some(3),
    };
    let limits = Limits {
        workers,
        max_connections,
        max_line: Some(100),
        backlog: Some(64),
        idle_timeout: None,
    };
    let mut spec = Spec::builtin(launcher, server, &limits).expect("every pattern can keep these");
    spec.name.push_str("-narrow");
    spec
}

fn trial(judge: &Judge, spec: &Spec, case: &'static Case) -> Trial {
    let (judge, spec) = (judge.clone(), spec.clone());
    let name = format!("{}::{}", spec.name, case.name);
    Trial::ignorable_test(name, move || {
        if let Some(words) = &spec.unavailable {
            return Ok(Completion::ignored_with(format!("not run: {words}")));
        }
        let judgement = judge.judge(&spec, case);
        if judgement.state == State::NotApplicable {
            return Ok(Completion::ignored_with(judgement.observed));
        }
        // What works loosely is good enough for others.
        if judgement.is_fine() && judgement.verdict != Some(Verdict::Loose) {
            return Ok(Completion::Completed);
        }
        let evidence = serde_json::to_string_pretty(&judgement);
        Err(Failed::from(evidence.expect("a judgement has only plain data")))
    })
}
