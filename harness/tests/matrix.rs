//! Every built-in server by every case. Each pair is a test of its own:
//! `cargo test --test matrix select-calc::framing/pipelined`.

use std::process::ExitCode;

use harness::conformance::{Judge, State, Verdict, cases};
use harness::server::{Launcher, Spec};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

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
        for case in cases() {
            let (judge, spec) = (judge.clone(), spec.clone());
            let name = format!("{}::{}", spec.name, case.name);
            trials.push(Trial::ignorable_test(name, move || {
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
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
