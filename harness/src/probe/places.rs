//! What a server keeps to: how many clients, how long lines, what errors, times and endings. The
//! cases of the contract find it out; what they tell is taken down.

use anyhow::Result;
use servers::Service;

use crate::cli::Check;
use crate::conformance::{Case, Judge, Judgement, Kind, State, cases, judge_all};
use crate::manifest::Places;
use crate::server::{Launcher, Spec};

/// Before the flags that would declare what was seen.
const DECLARE: &str = "; declare it with ";

/// Runs the cases of the contract, and tells what they tell.
pub(super) fn find_out(launcher: &Launcher, spec: &Spec, tell: impl Fn(&str)) -> Result<Places> {
    let judge = Judge::new(launcher.clone(), 1);
    let wanted = |name: &str| name.starts_with("contract/") && name != "contract/mechanism";
    let wanted: Vec<&Case> = cases().filter(|case| wanted(case.name)).collect();
    let mut flags = String::new();
    for Judgement { observed, state, .. } in judge_all(&judge, spec, &wanted, |_| {}) {
        let (seen, declared) = observed.split_once(DECLARE).unwrap_or((&observed, ""));
        if state == State::Ok {
            tell(seen);
            flags.push(' ');
            flags.push_str(declared);
        }
    }
    let check = Check::of_words(&format!("--cmd '{{port}}'{flags}"))
        .map_err(|words| anyhow::anyhow!("what the cases tell cannot be declared: {words}"))?;
    let declared = check.declared;
    let is_calc = spec.contract.service == Service::Calc;
    Ok(Places {
        capacity: declared.capacity,
        queue: declared.queue.filter(|&queue| queue > 0),
        when_full: declared.when_full,
        max_line: declared
            .max_line
            .filter(|&bytes| bytes >= 64 && tells_of_it(&judge, spec, bytes)),
        // A number in it is another one the next time.
        error_prefix: declared
            .error_prefix
            .filter(|prefix| is_calc && !prefix.contains(|letter: char| letter.is_ascii_digit())),
        busy_prefix: declared.busy_prefix,
        idle_timeout: declared.idle_timeout,
        idle_tolerance: None,
        ending: declared.ending,
        ipv6: false,
    })
}

/// Whether it answers a line that is longer with an error, and goes on: that is what a limit means
/// that is declared.
fn tells_of_it(judge: &Judge, spec: &Spec, bytes: usize) -> bool {
    let mut spec = spec.clone();
    spec.contract.max_line = Some(bytes);
    // Whatever the error is.
    spec.contract.error_prefix = Some(String::new());
    let is_wanted =
        |case: &&Case| ["oversize/one-past", "oversize/endless-line"].contains(&case.name);
    cases().filter(is_wanted).all(|case| judge.judge(&spec, case).kind() == Kind::Pass)
}
