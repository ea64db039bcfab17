//! Samples the resource usage of a server during a case.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;

use crate::results::Sample;
use crate::server::proc::{self, Pid};

/// First sampling interval. The interval grows, because a long case mostly waits.
const FIRST_INTERVAL: Duration = Duration::from_millis(50);

/// Longest sampling interval.
const MAX_INTERVAL: Duration = Duration::from_millis(250);

/// Shortest interval after a sample, as a multiple of the CPU time that the sample took. Sampling a
/// server with many processes must not load the CPUs.
const MIN_INTERVAL_FACTOR: u32 = 300;

/// Maximum number of samples of a case.
const MAX_SAMPLES: usize = 64;

/// Memory change that counts as noise of allocators and page tables, in bytes.
const MEMORY_NOISE: u64 = 64 * 1024;

/// Samples the descendants of `supervisor` before and during `experiment`.
///
/// Takes a last sample after the experiment if `needs_last_sample` returns true for its result.
pub(super) fn sample_during<T>(
    supervisor: Pid,
    experiment: impl FnOnce() -> T,
    needs_last_sample: impl FnOnce(&T) -> bool,
) -> (T, Vec<Sample>) {
    let began = Instant::now();
    let take_sample = move || sample(supervisor, began);
    let (first, cost) = with_cpu_time(take_sample);
    let (end_tx, end_rx) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // If the system cannot create a thread, the experiment runs without further samples.
        let sampler = thread::Builder::new()
            .spawn_scoped(scope, move || sample_until_end(first, cost, take_sample, &end_rx))
            .ok();
        let result = experiment();
        drop(end_tx);
        let mut samples =
            sampler.and_then(|thread| thread.join().ok()).unwrap_or_else(|| Vec::from_iter(first));
        if needs_last_sample(&result) {
            add_if_changed(&mut samples, take_sample());
        }
        (result, samples)
    })
}

/// Takes samples until the sender of `end_rx` is dropped.
fn sample_until_end(
    first: Option<Sample>,
    mut cost: Duration,
    take_sample: impl Fn() -> Option<Sample>,
    end_rx: &Receiver<()>,
) -> Vec<Sample> {
    let mut samples: Vec<Sample> = first.into_iter().collect();
    let mut interval = FIRST_INTERVAL;
    while end_rx.recv_timeout(interval.max(cost * MIN_INTERVAL_FACTOR))
        == Err(RecvTimeoutError::Timeout)
    {
        let sample;
        (sample, cost) = with_cpu_time(&take_sample);
        add_if_changed(&mut samples, sample);
        interval = (interval * 3 / 2).min(MAX_INTERVAL);
    }
    samples
}

/// Runs `work` and returns its result and its CPU time.
fn with_cpu_time<T>(work: impl Fn() -> T) -> (T, Duration) {
    let now = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from);
    let before = now();
    let result = work();
    (result, now().saturating_sub(before))
}

/// Adds a sample that differs from the last one. If the list is full, first drops every other
/// sample.
fn add_if_changed(samples: &mut Vec<Sample>, new: Option<Sample>) {
    let Some(new) = new else { return };
    if samples.last().is_some_and(|last| is_same_usage(last, &new)) {
        return;
    }
    if samples.len() == MAX_SAMPLES {
        let mut number = 0;
        samples.retain(|_| {
            number += 1;
            number % 2 == 1
        });
    }
    samples.push(new);
}

/// Takes a sample. Returns `None` if the server has no process, or all have exited.
fn sample(supervisor: Pid, began: Instant) -> Option<Sample> {
    let usage = proc::resource_usage(&proc::tree(supervisor)[1..]);
    let at_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    (usage.processes > usage.zombies).then_some(Sample {
        at_us,
        processes: usage.processes,
        threads: usage.threads,
        descriptors: usage.descriptors,
        anonymous_bytes: usage.anonymous_bytes,
    })
}

/// Returns whether two samples show the same resource usage, apart from [`MEMORY_NOISE`].
fn is_same_usage(last: &Sample, new: &Sample) -> bool {
    let counts = |sample: &Sample| (sample.processes, sample.threads, sample.descriptors);
    counts(last) == counts(new) && last.anonymous_bytes.abs_diff(new.anonymous_bytes) < MEMORY_NOISE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_descriptors(at_us: u64, descriptors: usize) -> Sample {
        Sample { at_us, processes: 1, threads: 1, descriptors, anonymous_bytes: 4096 }
    }

    #[test]
    fn only_changes_are_kept_up_to_a_maximum() {
        let mut samples = Vec::new();
        for number in 0..10 {
            add_if_changed(&mut samples, Some(with_descriptors(number, 7)));
        }
        let with_noise = Sample { anonymous_bytes: 8192, ..with_descriptors(10, 7) };
        add_if_changed(&mut samples, Some(with_noise));
        assert_eq!(samples, [with_descriptors(0, 7)]);
        for number in 0..1000 {
            add_if_changed(&mut samples, Some(with_descriptors(number, number as usize)));
            assert!(samples.len() <= MAX_SAMPLES);
        }
        assert_eq!(samples.last(), Some(&with_descriptors(999, 999)));
    }

    #[test]
    fn a_server_that_has_exited_is_not_sampled() {
        // The shell becomes a process that does not wait for its child.
        let mut supervisor = std::process::Command::new("sh")
            .args(["-c", "true & exec sleep 60"])
            .spawn()
            .expect("`sh` starts");
        let tree = || proc::tree(supervisor.id() as Pid);
        let deadline = Instant::now() + Duration::from_secs(20);
        while proc::resource_usage(&tree()).zombies == 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let zombies = proc::resource_usage(&tree()).zombies;
        let sample = sample(supervisor.id() as Pid, Instant::now());
        supervisor
            .kill()
            .and_then(|()| supervisor.wait())
            .expect("the supervisor exits on SIGKILL");
        assert_eq!((zombies, sample), (1, None));
    }

    #[test]
    fn a_child_process_that_exits_during_the_experiment_is_sampled() {
        let this = std::process::id() as Pid;
        let run_child = || {
            let mut child =
                std::process::Command::new("sleep").arg("60").spawn().expect("`sleep` starts");
            thread::sleep(FIRST_INTERVAL * 20);
            child.kill().and_then(|()| child.wait()).expect("the child exits on SIGKILL");
            7
        };
        let (result, samples) = sample_during(this, run_child, |_| false);
        assert_eq!(result, 7);
        assert!(samples.iter().any(|sample| sample.processes > 0), "{samples:?}");
    }
}
