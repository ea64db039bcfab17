//! The command line: messages, output streams and exit codes.

mod client;
mod io_uring;
mod output_errors;
mod resume;
mod serve;
mod terminal;
mod usage_errors;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::{self, tests};
use crate::common::{Served, wait_until};
use assert_cmd::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

use output_errors::every_subcommand_reports_a_full_disk_and_exits_quietly_on_a_closed_pipe;

use client::{
    a_client_on_a_terminal_has_a_prompt, a_client_reports_a_busy_reply,
    a_piped_client_prints_only_the_replies,
    each_kind_of_client_error_has_its_own_message_and_exit_code,
};
use io_uring::if_io_uring_is_forbidden_its_servers_are_skipped_not_failed;
use resume::{
    a_run_that_cannot_be_continued_is_bad_usage, an_interrupted_run_continues_where_it_stopped,
};
use serve::{
    a_privileged_port_is_reported_as_permission_denied,
    a_serve_error_is_one_line_that_says_what_to_do,
    a_server_can_listen_on_a_host_name_and_on_ipv4_and_ipv6_addresses,
    a_server_exits_with_0_on_sigint_and_sigterm,
    limits_set_on_the_command_line_are_enforced_and_can_be_tested,
    requests_in_flight_at_a_signal_are_answered,
    select_rejects_connections_below_fd_setsize_and_keeps_serving,
};
use terminal::{
    a_second_interrupt_ends_a_command_at_once,
    a_terminal_shows_a_bar_with_counts_and_the_time_left, an_interrupted_command_says_what_it_kept,
    an_interrupted_load_test_shows_live_figures_and_keeps_its_files,
    colour_depends_on_the_flag_the_environment_and_the_terminal,
    fail_fast_stops_a_benchmark_after_the_first_failure,
    fail_fast_stops_a_check_after_the_first_failure,
    fail_fast_stops_a_run_before_the_benchmarks_and_the_run_can_be_resumed,
    quiet_prints_only_failures_and_the_summary,
    results_are_printed_in_the_order_of_the_cases_and_servers,
    without_cursor_control_only_lines_are_printed,
};
use usage_errors::{
    a_probe_of_a_missing_program_reports_nothing_about_its_port,
    a_value_of_a_manifest_without_a_meaning_is_an_error_that_names_the_limit,
    an_error_about_the_wrong_kind_of_file_says_what_is_expected_and_how_to_get_it,
    an_invalid_argument_is_a_usage_error_that_gives_the_correction,
};

tests![
    a_piped_client_prints_only_the_replies,
    a_client_on_a_terminal_has_a_prompt,
    each_kind_of_client_error_has_its_own_message_and_exit_code,
    a_client_reports_a_busy_reply,
    a_server_can_listen_on_a_host_name_and_on_ipv4_and_ipv6_addresses,
    a_serve_error_is_one_line_that_says_what_to_do,
    a_value_of_a_manifest_without_a_meaning_is_an_error_that_names_the_limit,
    an_invalid_argument_is_a_usage_error_that_gives_the_correction,
    an_error_about_the_wrong_kind_of_file_says_what_is_expected_and_how_to_get_it,
    a_probe_of_a_missing_program_reports_nothing_about_its_port,
    a_privileged_port_is_reported_as_permission_denied,
    a_server_exits_with_0_on_sigint_and_sigterm,
    limits_set_on_the_command_line_are_enforced_and_can_be_tested,
    select_rejects_connections_below_fd_setsize_and_keeps_serving,
    check_prints_only_one_document_to_standard_output,
    the_reproduce_command_of_a_failure_fails_again,
    every_list_is_printed_as_text_and_as_json,
    every_workload_is_listed_with_its_summary,
    a_run_writes_its_report_and_prints_the_path,
    an_interrupted_run_continues_where_it_stopped,
    a_run_that_cannot_be_continued_is_bad_usage,
    an_unwritable_report_is_an_error_before_anything_runs,
    requests_in_flight_at_a_signal_are_answered,
    if_io_uring_is_forbidden_its_servers_are_skipped_not_failed,
    every_subcommand_reports_a_full_disk_and_exits_quietly_on_a_closed_pipe,
    a_second_interrupt_ends_a_command_at_once,
    a_terminal_shows_a_bar_with_counts_and_the_time_left,
    an_interrupted_command_says_what_it_kept,
    an_interrupted_load_test_shows_live_figures_and_keeps_its_files,
    colour_depends_on_the_flag_the_environment_and_the_terminal,
    fail_fast_stops_a_benchmark_after_the_first_failure,
    fail_fast_stops_a_check_after_the_first_failure,
    fail_fast_stops_a_run_before_the_benchmarks_and_the_run_can_be_resumed,
    quiet_prints_only_failures_and_the_summary,
    results_are_printed_in_the_order_of_the_cases_and_servers,
    without_cursor_control_only_lines_are_printed,
];

fn harness() -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(Duration::from_secs(120));
    command
}

fn check_prints_only_one_document_to_standard_output() {
    let framing =
        harness::conformance::cases().filter(|case| case.name.starts_with("framing/")).count();
    let output = harness()
        .args(["check", "server1", "--case", "framing/", "--seed", "7", "--json"])
        .assert()
        .success()
        .stderr(contains(format!("verdicts: {framing} passed, 0 failed")))
        .get_output()
        .stdout
        .clone();
    let document: serde_json::Value = serde_json::from_slice(&output).expect("a JSON document");
    assert_eq!(document["name"], "iterative-refuse-calc");
    assert_eq!(document["seed"], 7);
    let cases = document["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), framing);
    for key in ["name", "verdict", "state", "requirement", "expected", "observed", "reproduce"] {
        assert!(cases[0].as_object().expect("a case").contains_key(key), "{key}");
    }
    assert_eq!(
        cases[0]["reproduce"],
        "harness check iterative-refuse-calc --case framing/single --seed 7"
    );
}

fn the_reproduce_command_of_a_failure_fails_again() {
    // The server declares one connection, but serves more.
    let command = format!("'{}' serve select {{host}} {{port}}", env!("CARGO_BIN_EXE_harness"));
    let output = harness()
        .args(["check", "--capacity", "1", "--when-full", "refuse", "--seed", "5", "--json"])
        .args(["--case", "refusal/as-declared", "--cmd", &command])
        .assert()
        .code(1)
        .get_output()
        .stdout
        .clone();
    let document: serde_json::Value = serde_json::from_slice(&output).expect("a JSON document");
    let case = &document["cases"][0];
    assert_eq!(case["verdict"], "fail", "{document}");
    let words = shlex::split(case["reproduce"].as_str().expect("a command")).expect("shell words");
    assert_eq!(words[0], "harness");
    let same_failure = contains("fail").and(contains("served with the reply \"41007\""));
    harness().args(&words[1..]).assert().code(1).stdout(same_failure);
}

fn every_list_is_printed_as_text_and_as_json() {
    for (what, word) in [
        ("servers", "select-echo"),
        ("cases", "framing/pipelined"),
        ("workloads", "closed-64"),
        ("formats", "index.html"),
    ] {
        harness().args(["list", what]).assert().success().stdout(contains(word));
        let output = harness().args(["list", what, "--json"]).assert().success();
        let rows: Vec<serde_json::Value> =
            serde_json::from_slice(&output.get_output().stdout).expect("a list");
        assert!(rows.iter().any(|row| row["name"] == word), "{what}");
    }
}

fn every_workload_is_listed_with_its_summary() {
    let output = harness().args(["list", "workloads"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    for (line, workload) in text.lines().zip(harness::load::WORKLOADS) {
        assert!(line.starts_with(workload.name) && line.ends_with(workload.summary), "{line}");
    }
}

fn a_run_writes_its_report_and_prints_the_path() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let output = folder.path().join("report");
    harness()
        .args(["select-echo", "server1", "--seed", "3", "--output"])
        .arg(&output)
        .assert()
        .success()
        .stdout(contains("verdicts: ").and(contains("index.html\n")));
    let document: serde_json::Value = serde_json::from_slice(
        &std::fs::read(output.join("report.json")).expect("a readable file"),
    )
    .expect("a JSON document");
    let (original, rewritten) = crate::reports::read_back(&output.join("report.json"));
    assert_eq!(original, rewritten, "the report changes when it is read and written");
    assert_eq!(document["complete"], true);
    assert_eq!(document["seed"], 3);
    let servers = document["servers"].as_array().expect("servers");
    let names: Vec<_> = servers.iter().map(|server| &server["name"]).collect();
    assert_eq!(names, ["select-echo", "iterative-refuse-calc"]);
    let common = harness::load::WORKLOADS
        .iter()
        .filter(|workload| workload.set == harness::load::WorkloadSet::Common)
        .count();
    let counts = |server: &serde_json::Value| {
        ["measurements", "not_measured"].map(|key| server[key].as_array().expect("an array").len())
    };
    assert_eq!(counts(&servers[0]), [common, 0]);
    assert_eq!(counts(&servers[1]), [2, common - 2], "a server for one client runs two workloads");
    let is_positive = |figure: &serde_json::Value| figure.as_u64().is_some_and(|count| count > 0);
    let first = &servers[0]["measurements"][0];
    assert!(is_positive(&first["outcomes"]["answered"]));
    assert!(is_positive(&first["server_stats"]["cpu_ns_per_request"]), "{first}");
    let idle = &servers[0]["measurements"][common - 1];
    assert_eq!((&idle["workload"], &idle["clients"]), (&"idle-memory".into(), &1_000.into()));
    assert_eq!(idle["connections"]["answered"], 1_000);
    assert!(is_positive(&idle["idle_connections"]["memory_per_connection_bytes"]), "{idle}");
    for file in ["index.html", "summary.md"] {
        let page = std::fs::read_to_string(output.join(file)).expect("a readable file");
        assert!(page.contains("select-echo"), "{file}");
    }
}

fn an_unwritable_report_is_an_error_before_anything_runs() {
    harness()
        .args(["select", "--output", "/proc/no/such/folder"])
        .assert()
        .code(3)
        .stdout("")
        .stderr(contains("choose another with --output"));
}
