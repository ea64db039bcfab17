//! Features for CI: exit codes, known failures, JUnit, the step summary, and the evidence of
//! results. Also the command lines in the documentation.

mod annotations;
mod documentation;
mod evidence;
mod known_failures;
mod old_names;
mod output_files;

use std::fs;
use std::path::Path;

use crate::common::{self, tests};
use assert_cmd::Command;
use clap::Parser;
use harness::cli::Cli;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use annotations::{
    a_run_annotates_what_needs_attention, a_server_cannot_inject_a_workflow_command,
    each_cause_of_failures_is_annotated_in_github_actions,
};
use documentation::command_lines_in_the_documentation_parse;
use evidence::{
    an_extra_reply_line_suggests_a_greeting_and_blocked_cases_print_one_line,
    every_failure_has_a_hint, resource_usage_over_time_is_reported,
    server_output_and_exit_are_in_the_transcript_in_time_order,
};
use known_failures::{
    a_known_failure_does_not_fail_the_run_and_every_report_shows_its_reason,
    a_known_failure_of_a_command_that_is_not_tested_is_reported,
    a_known_failure_of_an_undeclared_property_fails_the_run_as_stale_not_as_fixed,
    a_known_failure_of_another_server_of_the_manifest_has_no_effect,
    a_known_failure_that_passes_fails_the_run_and_names_the_entry_to_remove,
    an_error_in_a_known_failures_file_names_the_line_and_the_correction,
    the_result_of_a_stale_known_failure_is_printed_once,
};
use old_names::an_error_about_an_old_name_gives_the_new_name;
use output_files::{
    a_check_killed_halfway_keeps_its_verdicts_and_is_not_reported_as_passed,
    a_step_summary_that_cannot_be_written_does_not_change_the_exit_code,
    an_interrupted_check_prints_the_path_of_its_partial_report,
    an_unwritable_output_path_is_rejected_at_startup, junit_can_be_written_without_a_report,
    junit_written_to_a_pipe_or_a_symlink_does_not_replace_it,
    results_are_appended_to_the_github_step_summary,
    the_evidence_of_passed_cases_is_written_on_request,
};

tests![
    fail_on_selects_the_results_that_fail_the_run,
    junit_written_to_a_pipe_or_a_symlink_does_not_replace_it,
    an_endless_input_file_is_rejected,
    a_known_failure_does_not_fail_the_run_and_every_report_shows_its_reason,
    a_known_failure_that_passes_fails_the_run_and_names_the_entry_to_remove,
    a_known_failure_of_an_undeclared_property_fails_the_run_as_stale_not_as_fixed,
    a_known_failure_of_a_command_that_is_not_tested_is_reported,
    an_error_in_a_known_failures_file_names_the_line_and_the_correction,
    junit_can_be_written_without_a_report,
    an_unwritable_output_path_is_rejected_at_startup,
    a_check_killed_halfway_keeps_its_verdicts_and_is_not_reported_as_passed,
    an_interrupted_check_prints_the_path_of_its_partial_report,
    the_result_of_a_stale_known_failure_is_printed_once,
    a_known_failure_of_another_server_of_the_manifest_has_no_effect,
    an_error_about_an_old_name_gives_the_new_name,
    results_are_appended_to_the_github_step_summary,
    a_step_summary_that_cannot_be_written_does_not_change_the_exit_code,
    the_evidence_of_passed_cases_is_written_on_request,
    each_cause_of_failures_is_annotated_in_github_actions,
    a_run_annotates_what_needs_attention,
    server_output_and_exit_are_in_the_transcript_in_time_order,
    resource_usage_over_time_is_reported,
    every_failure_has_a_hint,
    command_lines_in_the_documentation_parse
    | "python3" =>
    a_server_cannot_inject_a_workflow_command,
    an_extra_reply_line_suggests_a_greeting_and_blocked_cases_print_one_line,
    interpreter_settings_in_the_environment_do_not_change_a_verdict,
];

const EXE: &str = env!("CARGO_BIN_EXE_harness");

fn harness() -> Command {
    Command::from(common::harness())
}

/// Returns a command that tests a server with the case `refusal/as-declared`, which fails: the
/// server declares one connection, but serves more.
fn failing() -> Command {
    let mut command = harness();
    command
        .args(["check", "--capacity", "1", "--when-full", "refuse"])
        .args(["--case", "refusal/as-declared", "--cmd"])
        .arg(format!("'{EXE}' serve select {{host}} {{port}}"));
    command
}

/// Writes a file, and returns the path.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

/// A file of known failures with an entry for the failure of `failing`.
const KNOWN: &str =
    "[[known-failure]]\ncase = \"refusal/as-declared\"\nreason = \"it serves many\"\n";

fn fail_on_selects_the_results_that_fail_the_run() {
    failing().assert().code(1);
    failing().args(["--fail-on", "fail"]).assert().code(1);
    failing().args(["--fail-on", "inconclusive,warn,not-applicable"]).assert().code(0);
    failing().args(["--fail-on", "none"]).assert().code(0).stdout(contains("1 failed"));
    let not_applicable = ["check", "select-echo", "--case", "results/"];
    harness().args(not_applicable).assert().code(0);
    harness().args(not_applicable).args(["--fail-on", "not-applicable"]).assert().code(1);
    failing().args(["--fail-on", "all"]).assert().code(2).stderr(contains("not-applicable"));
    failing()
        .args(["--fail-on", "none,fail"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("alone"));
}

fn an_endless_input_file_is_rejected() {
    for arguments in [
        &["check", "select", "--known-failures", "/dev/zero"][..],
        &["check", "--manifest", "/dev/zero"],
        &["replay", "/dev/zero"],
    ] {
        harness().args(arguments).assert().code(2).stderr(contains("more than 64 MiB"));
    }
}

/// An echo server whose output stays in a buffer, so that the harness cannot read its port.
const BUFFERED_OUTPUT: &str = "\
import socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
server = socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Echo)
print('listening on port', server.server_address[1])
server.serve_forever()
";

fn interpreter_settings_in_the_environment_do_not_change_a_verdict() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let command =
        format!("python3 '{}' {{host}} {{port}}", file(folder.path(), "s.py", BUFFERED_OUTPUT));
    for variable in [None, Some("1")] {
        let mut check = harness();
        check.env_remove("PYTHONUNBUFFERED");
        if let Some(value) = variable {
            check.env("PYTHONUNBUFFERED", value);
        }
        let any_port =
            ["check", "--service", "echo", "--case", "startup/any-port", "--cmd", &command];
        check.args(any_port).assert().code(0).stdout(contains("warn startup/any-port"));
    }
    let set = format!("env PYTHONUNBUFFERED=1 {command}");
    let any_port = ["check", "--service", "echo", "--case", "startup/any-port", "--cmd", &set];
    harness().args(any_port).assert().code(0).stdout(contains("pass startup/any-port"));
}
