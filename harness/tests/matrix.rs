//! Every pattern by every case that applies to it. Each pair is a test of its own:
//! `cargo test select-calc::framing/pipelined`. Both services of a pattern, and limits from the
//! command line, are variants: `cargo test select -- --include-ignored`.

use harness::conformance::{Case, Runner, State, Verdict, cases};
use harness::server::{LaunchSpec, Launcher};
use libtest_mimic::{Completion, Failed};
use servers::{Capacity, Limits, Server, Service, Workers};

use crate::common::Test;

pub(crate) fn tests() -> Vec<Test> {
    let seed = match std::env::var("HARNESS_SEED") {
        Ok(seed) => seed.parse().expect("HARNESS_SEED is a whole number"),
        Err(_) => rand::random_range(1..1_000_000),
    };
    let judge = Runner::new(Launcher::new(env!("CARGO_BIN_EXE_harness")), seed);
    let mut tests = Vec::new();
    for pattern in servers::PATTERNS {
        let spec = |service| LaunchSpec::judged(&judge.launcher, &Server { pattern, service });
        let (calc, echo) = (spec(Service::Calc), spec(Service::Echo));
        for case in cases() {
            tests.push(test(&judge, &calc, case));
            // Where both services can show it, one is enough.
            tests.push(test(&judge, &echo, case).variant(applies(case, &calc)));
        }
        let narrow = narrow(&judge.launcher, &Server { pattern, service: Service::Echo });
        let about_limits =
            cases().filter(|case| LIMITED.iter().any(|topic| case.name.starts_with(topic)));
        tests.extend(about_limits.map(|case| test(&judge, &narrow, case).variant(true)));
    }
    tests
}

fn applies(case: &Case, spec: &LaunchSpec) -> bool {
    case.unmet_by(&spec.fitting(|contract| case.suits(contract)).contract).is_none()
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
fn narrow(launcher: &Launcher, server: &Server) -> LaunchSpec {
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
    let mut spec =
        LaunchSpec::builtin(launcher, server, &limits).expect("every pattern can keep these");
    spec.name.push_str("-narrow");
    spec
}

fn test(judge: &Runner, spec: &LaunchSpec, case: &'static Case) -> Test {
    let (judge, spec) = (judge.clone(), spec.clone());
    let name = format!("{}::{}", spec.name, case.name);
    Test::ignorable(name, move || {
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
