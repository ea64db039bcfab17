//! Every pattern with every case that applies. Each pair of a server and a case is one test, such
//! as `cargo test select-calc::framing/pipelined`. Variants run a case with the second service of a
//! pattern, or with limits from the command line: `cargo test select -- --include-ignored`.

use harness::conformance::{Case, Runner, cases};
use harness::results::{State, Verdict};
use harness::server::{LaunchSpec, Launcher};
use libtest_mimic::{Completion, Failed};
use servers::{Capacity, Limits, Server, Service, Workers};

use crate::common::Test;

pub(crate) fn tests() -> Vec<Test> {
    let seed = match std::env::var("HARNESS_SEED") {
        Ok(seed) => seed.parse().expect("HARNESS_SEED must be a non-negative integer"),
        Err(_) => rand::random_range(1..1_000_000),
    };
    let runner = Runner::new(Launcher::new(env!("CARGO_BIN_EXE_harness")), seed);
    let mut tests = Vec::new();
    for pattern in servers::PATTERNS {
        let spec = |service| {
            LaunchSpec::builtin_under_test(&runner.launcher, &Server { pattern, service })
        };
        let (calc, echo) = (spec(Service::Calc), spec(Service::Echo));
        for case in cases() {
            tests.push(test(&runner, &calc, case));
            // A case that applies to both services is a variant with the second one.
            tests.push(test(&runner, &echo, case).variant(applies(case, &calc)));
        }
        let narrow = narrow(&runner.launcher, &Server { pattern, service: Service::Echo });
        let limit_cases =
            cases().filter(|case| LIMIT_CASES.iter().any(|topic| case.name.starts_with(topic)));
        tests.extend(limit_cases.map(|case| test(&runner, &narrow, case).variant(true)));
    }
    tests
}

fn applies(case: &Case, spec: &LaunchSpec) -> bool {
    case.unmet_precondition(&spec.fitting(|contract| case.suits(contract)).contract).is_none()
}

/// Cases and topics that depend on the configured limits.
const LIMIT_CASES: &[&str] = &[
    "contract/capacity",
    "contract/when-full",
    "contract/queue",
    "contract/max-line",
    "refusal/",
    "oversize/",
    "isolation/schedules",
];

/// Returns a server with low limits: every limit that the pattern supports. The contract of the
/// server must match them.
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
        LaunchSpec::builtin(launcher, server, &limits).expect("limits that every pattern supports");
    spec.name.push_str("-narrow");
    spec
}

fn test(runner: &Runner, spec: &LaunchSpec, case: &'static Case) -> Test {
    let (runner, spec) = (runner.clone(), spec.clone());
    let name = format!("{}::{}", spec.name, case.name);
    Test::ignorable(name, move || {
        if let Some(reason) = &spec.unavailable {
            return Ok(Completion::ignored_with(format!("not run: {reason}")));
        }
        let result = runner.run_case(&spec, case);
        if result.state == State::NotApplicable {
            return Ok(Completion::ignored_with(result.observed));
        }
        // A built-in server must not get a warning.
        if result.is_fine() && result.verdict != Some(Verdict::Warn) {
            return Ok(Completion::Completed);
        }
        let evidence = serde_json::to_string_pretty(&result);
        Err(Failed::from(evidence.expect("a result that serializes")))
    })
}
