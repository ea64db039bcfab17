//! How the results were obtained: method, known biases, environment.

use maud::{Markup, html};

use super::run::duration;
use crate::figures::count;
use crate::results::{LaunchFindings, Report, StartState};

pub(super) fn section(report: &Report) -> Markup {
    let environment = &report.environment;
    html! {
        section id="method" {
            h2 { "Method" }
            ul {
                li { b { "Verdicts." } " A verdict is the result of one experiment with a new server process. If the contract of a server rules a case out, the case is not applicable, and its experiment is not run. Evidence of a pass is its result and the command that repeats it." }
                li { b { "Load." } " Server and generator have separate CPUs if the machine has two. Every reply is compared with the correct one, and only correct replies have a latency. Latency begins at the scheduled time of a request. A closed loop schedules a request when the reply to the one before arrives: a server that stalls gets fewer requests, so its percentiles hide the stall. The open loops (5,000 requests/s, highest rate) do not hide it." }
                li { b { "Intervals" } " have a confidence of 95 %. With three runs or more, they are those of the geometric mean over the runs (Student's t), each run on a newly launched server. Two runs are too few for an interval. With one run, they describe the noise within that run, which is smaller than that between runs: small differences are not reliable then." }
                li { b { "Ranks and ties." } " A figure is better than another only if its whole interval is. With many servers some intervals miss their value by chance, one in twenty." }
                li { b { "Memory" } " is anonymous resident memory. It excludes the program file, which the built-in servers share, and the kernel's memory for sockets, some kilobytes per connection." }
                li { b { "Known biases." } " Requests are small, and all traffic uses the loopback interface, where a packet costs CPU time of the sender. The generator has one thread: a server with several CPUs may be limited by it, and its run is then marked as generator-bound. Short plans measure cold caches and young processes." }
            }
            (start(report))
            h3 { "Environment" }
            dl {
                dt { "command" } dd { code { (environment.command) } }
                dt { "started" } dd { (environment.started_at) ", took " (duration(report.duration_ms)) }
                dt { "seed" } dd { (report.seed) }
                dt { "plan" } dd { (report.plan) }
                dt { "harness" } dd { (environment.version) ", " (environment.build) " build" }
                @if let Some(commit) = &environment.commit { dt { "working directory" } dd { "commit " (commit) } }
                dt { "kernel" } dd { (environment.kernel) }
                dt { "CPUs" } dd { (environment.cpus) " of " (environment.cpu_model) }
                dt { "memory" } dd { (count(environment.memory_mib as f64)) " MiB" }
            }
        }
    }
}

/// Describes the state in which servers were started, and how they were started.
fn start(report: &Report) -> Markup {
    let states: Vec<&StartState> =
        report.servers.iter().filter_map(|server| server.start_state.as_ref()).collect();
    let Some(state) = states.first() else { return html! {} };
    let mut inherited: Vec<&str> =
        states.iter().flat_map(|state| &state.inherited).map(String::as_str).collect();
    inherited.sort_unstable();
    inherited.dedup();
    html! {
        p {
            b { "State of a server at its start." } " Default actions for all signals, the descriptors 0, 1 and 2, no core files, the umask 022, "
            (count(state.max_descriptors as f64)) " descriptors, a stack of " (count(state.max_stack_bytes as f64 / 1024.0)) " KiB, and the nice value " (state.nice) ". Its environment has "
            (state.set.join(", ")) ", what its manifest sets, and these variables of the harness: " (inherited.join(", ")) "."
        }
        @for server in &report.servers {
            @for note in server.launch.iter().flat_map(LaunchFindings::notes) {
                p { b { (server.label()) ": " } (note) "." }
            }
        }
    }
}
