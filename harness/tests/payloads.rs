//! Every case with every kind of wire protocol. A recording server compares the requests that it
//! receives with those of the line protocol: no wire protocol changes what a case tests.

mod recorder;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harness::conformance::{Case, Runner, cases};
use harness::contract::Contract;
use harness::results::State;
use harness::server::{LaunchSpec, Launcher};
use harness::wire::{Bytes, Wire};
use libtest_mimic::Failed;
use servers::Service;

use crate::common::Test;
pub(crate) use recorder::take_role;

/// Cases whose requests have a certain length, spaces, or malformed text. The other cases send only
/// plain requests; they are variants.
const CRITICAL: &[&str] = &[
    "framing/sizes",
    "contract/max-line",
    "contract/error-lines",
    "results/precedence",
    "malformed/",
    "oversize/",
    "isolation/poison-beside",
    "isolation/heavy-beside-light",
    "leaks/memory",
];

/// Longest request, in bytes.
const MAX_LINE: usize = 2000;

/// Length from which a request counts as long. Its length is tested rather than its bytes.
const LONG: usize = 64;

/// A kind of wire protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kind {
    name: &'static str,
    before: &'static [u8],
    after: &'static [u8],
    spaced: Option<bool>,
    two_operands: bool,
}

const LINES: Kind =
    Kind { name: "lines", before: b"", after: b"\n", spaced: None, two_operands: false };

pub(crate) const KINDS: &[Kind] = &[
    LINES,
    Kind { name: "spaced", spaced: Some(true), ..LINES },
    Kind { name: "not_spaced", spaced: Some(false), ..LINES },
    Kind { name: "two_operands", two_operands: true, ..LINES },
    Kind { name: "two_spaced_operands", two_operands: true, spaced: Some(true), ..LINES },
    Kind { name: "template", before: b"CALC ", after: b";", ..LINES },
    Kind {
        name: "not_spaced_template",
        before: b"CALC ",
        after: b";",
        spaced: Some(false),
        ..LINES
    },
    Kind { name: "nul", after: b"\0", ..LINES },
    Kind { name: "crlf", after: b"\r\n", ..LINES },
    Kind { name: "no_terminator", after: b"", ..LINES },
];

impl Kind {
    fn contract(&self) -> Contract {
        let mut contract = Contract::undeclared(Service::Calc);
        contract.dialect.two_operands = self.two_operands;
        contract.max_line = Some(MAX_LINE);
        contract.error_prefix = Some("error: ".to_owned());
        contract.capacity = Some(64);
        let mut wire = Wire { spaced: self.spaced, ..Wire::default() };
        wire.request.before = Bytes::from(self.before);
        wire.request.after = Bytes::from(self.after);
        contract.wire = wire;
        contract
    }

    /// Runs a case, and returns the distinct payloads. `None` if the case does not apply.
    fn payloads(&self, case: &'static Case) -> Result<Option<BTreeSet<Vec<u8>>>, Failed> {
        let folder = tempfile::tempdir()?;
        let program = std::env::current_exe()?;
        let command = format!(
            "'{}' recorder {} '{}' {{host}} {{port}}",
            program.display(),
            self.name,
            folder.path().display()
        );
        let spec = LaunchSpec::external(&command, self.contract()).map_err(|it| it.to_string())?;
        let runner = Runner::new(Launcher::new(env!("CARGO_BIN_EXE_harness")), 1);
        let result = runner.run_case(&spec, case);
        if result.state == State::NotApplicable {
            return Ok(None);
        }
        let mut payloads = BTreeSet::new();
        for entry in fs::read_dir(folder.path())? {
            payloads.extend(recorder::read(&entry?.path())?.iter().map(|it| without_canary(it)));
        }
        Ok(Some(payloads))
    }

    /// Returns whether a payload with this wire protocol tests the same as one of the line protocol.
    fn is_same(&self, original: &[u8], sent: &[u8]) -> bool {
        if original == sent {
            return true;
        }
        // Expressions may differ in spaces, and in a second operand.
        if !is_expression(original) || !is_expression(sent) {
            return false;
        }
        let compact = [original, sent].map(|text| {
            text.iter().copied().filter(|byte| !b" \r".contains(byte)).collect::<Vec<u8>>()
        });
        if original.len() >= LONG {
            let is_near = |one: &[u8], other: &[u8]| one.len().abs_diff(other.len()) <= LONG / 8;
            return is_near(original, sent) || is_near(&compact[0], &compact[1]);
        }
        compact[0] == compact[1]
            || self.two_operands && compact[1] == [&compact[0][..], b"+0"].concat()
    }

    /// Returns whether no request can be padded.
    fn is_never_padded(&self) -> bool {
        self.two_operands && self.spaced.is_some()
    }
}

/// Replaces the digits in the name of a file that the case chooses.
fn without_canary(payload: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(payload);
    match text.contains("canary") {
        true => text.replace(|letter: char| letter.is_ascii_digit(), "").into_bytes(),
        false => payload.to_vec(),
    }
}

/// Returns whether the text is an expression, so that spaces around its operators do not matter. A
/// long text is too complex for the server, so only its characters count.
fn is_expression(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\r").unwrap_or(text).trim_ascii_end();
    if text.len() >= LONG {
        let is_allowed = |byte: &u8| byte.is_ascii_digit() || b"+-*/%(). ".contains(byte);
        return !text.starts_with(b" ") && text.iter().all(is_allowed);
    }
    let mut reply = Vec::new();
    Service::Calc.answer(text, &mut reply);
    let is_divided_by_zero = reply.ends_with(b"zero");
    !text.starts_with(b" ") && (!reply.starts_with(b"error: ") || is_divided_by_zero)
}

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for kind in &KINDS[1..] {
        for (is_critical, claim) in [
            (true, "critical_cases_send_what_they_test"),
            (false, "all_other_cases_send_what_they_test"),
        ] {
            let name = format!("{}::{claim}", kind.name);
            let test = Test::new(name, move || sends_what_it_tests(kind, is_critical));
            tests.push(test.variant(!is_critical));
        }
    }
    tests
}

fn sends_what_it_tests(kind: &Kind, is_critical: bool) -> Result<(), Failed> {
    let mut changed = Vec::new();
    let mut compared = 0;
    for case in cases() {
        if CRITICAL.iter().any(|topic| case.name.starts_with(topic)) != is_critical {
            continue;
        }
        // Another dialect has other expressions.
        if case.name.starts_with("results/") && kind.two_operands {
            continue;
        }
        // Without padding, this case sends plain requests, which does not change what it tests.
        if case.name == "leaks/memory" && kind.is_never_padded() {
            continue;
        }
        let Some(sent) = kind.payloads(case)? else { continue };
        let Some(original) = LINES.payloads(case)? else { continue };
        // The bisection of the longest line starts with the plain request, which may be longer.
        let is_compared = |payload: &&Vec<u8>| {
            case.name != "contract/max-line" || [MAX_LINE, MAX_LINE + 1].contains(&payload.len())
        };
        for payload in original.iter().filter(is_compared) {
            // The case omits requests that contain the terminator, and long ones without padding.
            let is_unpadded = kind.is_never_padded() && payload.len() >= LONG;
            let contains_end = !kind.after.is_empty()
                && payload.windows(kind.after.len()).any(|bytes| bytes == kind.after);
            if !contains_end
                && !is_unpadded
                && !sent.iter().any(|other| kind.is_same(payload, other))
            {
                changed.push(format!("{}: {}", case.name, shown(payload)));
            }
            compared += 1;
        }
    }
    match (compared, &changed[..]) {
        (0, _) => Err("no request was recorded".into()),
        (_, []) => Ok(()),
        _ => Err(format!("not sent:\n{}", changed.join("\n")).into()),
    }
}

fn shown(payload: &[u8]) -> String {
    let start: String =
        payload.iter().take(60).map(|byte| byte.escape_ascii().to_string()).collect();
    format!("{start:?}, {} bytes", payload.len())
}

/// Returns the path of the record of this process.
fn record_path(folder: &Path) -> std::path::PathBuf {
    folder.join(std::process::id().to_string())
}
