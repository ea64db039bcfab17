//! Samples a server's resource usage during a case.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use serde::Serialize;

use crate::server::proc::{self, Pid};

/// First and longest sampling interval. It grows, as a long case mostly waits.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Least interval after a sample, as a multiple of its CPU time. Sampling a server with many
/// processes must not load the CPUs.
const REST: u32 = 300;

/// Most samples kept.
const KEPT: usize = 64;

/// Changes of memory below this are noise of allocators and page tables, in bytes.
const SAME_MEMORY: u64 = 64 * 1024;

/// Resource usage of a server at one moment of a case, summed over its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Time since the start of the case, in microseconds.
    pub at_us: u64,
    /// Number of processes, with zombies.
    pub processes: usize,
    /// Number of threads.
    pub threads: usize,
    /// Number of open descriptors.
    pub descriptors: usize,
    /// Resident anonymous memory, in bytes.
    pub anonymous_bytes: u64,
}

/// Samples the descendants of `supervisor` before and during `meanwhile`.
///
/// Takes another sample at the end if `is_wanted` returns true, as after a failure.
pub(super) fn watched<T>(
    supervisor: Pid,
    meanwhile: impl FnOnce() -> T,
    is_wanted: impl FnOnce(&T) -> bool,
) -> (T, Vec<Sample>) {
    let began = Instant::now();
    let look = move || sample(supervisor, began);
    let (first, cost) = costed(look);
    let (over, is_over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // If the system cannot create a thread, only the first sample is taken.
        let watching = thread::Builder::new()
            .spawn_scoped(scope, move || watch(first, cost, look, &is_over))
            .ok();
        let done = meanwhile();
        drop(over);
        let mut samples =
            watching.and_then(|it| it.join().ok()).unwrap_or_else(|| Vec::from_iter(first));
        if is_wanted(&done) {
            keep(&mut samples, look());
        }
        (done, samples)
    })
}

fn watch(
    first: Option<Sample>,
    mut cost: Duration,
    look: impl Fn() -> Option<Sample>,
    is_over: &Receiver<()>,
) -> Vec<Sample> {
    let mut samples: Vec<Sample> = first.into_iter().collect();
    let mut pause = FIRST_PAUSE;
    while is_over.recv_timeout(pause.max(cost * REST)) == Err(RecvTimeoutError::Timeout) {
        let sample;
        (sample, cost) = costed(&look);
        keep(&mut samples, sample);
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
    samples
}

/// Returns the result of `look` and the CPU time that it took.
fn costed<T>(look: impl Fn() -> T) -> (T, Duration) {
    let now = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from);
    let before = now();
    let seen = look();
    (seen, now().saturating_sub(before))
}

/// Keeps a sample that differs from the last one. If there are too many, drops every other one.
fn keep(samples: &mut Vec<Sample>, new: Option<Sample>) {
    let Some(new) = new else { return };
    if samples.last().is_some_and(|last| last.is_like(&new)) {
        return;
    }
    if samples.len() == KEPT {
        let mut number = 0;
        samples.retain(|_| {
            number += 1;
            number % 2 == 1
        });
    }
    samples.push(new);
}

/// Takes a sample. Returns `None` if the server has no process.
fn sample(supervisor: Pid, began: Instant) -> Option<Sample> {
    let held = proc::holdings(&proc::tree(supervisor)[1..]);
    let at_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    (held.processes > 0).then_some(Sample {
        at_us,
        processes: held.processes,
        threads: held.threads,
        descriptors: held.descriptors,
        anonymous_bytes: held.anonymous_bytes,
    })
}

impl Sample {
    fn is_like(&self, other: &Sample) -> bool {
        let counts = |sample: &Sample| (sample.processes, sample.threads, sample.descriptors);
        counts(self) == counts(other)
            && self.anonymous_bytes.abs_diff(other.anonymous_bytes) < SAME_MEMORY
    }
}

/// Formats the course of the resource usage, or returns `None` without samples.
///
/// `2 → 62 → 3 descriptors` has the first value, the maximum and the last value.
pub fn held(samples: &[Sample]) -> Option<String> {
    let (first, last) = (samples.first()?, samples.last()?);
    let course = |of: fn(&Sample) -> u64, unit: &str| {
        let most = samples.iter().map(of).max().unwrap_or(0);
        let mut course = vec![of(first), most, of(last)];
        course.dedup();
        let words: Vec<String> = course.iter().map(u64::to_string).collect();
        format!("{} {unit}", words.join(" → "))
    };
    let mut words = vec![
        course(|sample| sample.descriptors as u64, "descriptors"),
        course(|sample| sample.threads as u64, "threads"),
    ];
    if samples.iter().any(|sample| sample.processes > 1) {
        words.push(course(|sample| sample.processes as u64, "processes"));
    }
    words.push(course(|sample| sample.anonymous_bytes / 1024, "KiB"));
    Some(words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(at_us: u64, descriptors: usize) -> Sample {
        Sample { at_us, processes: 1, threads: 1, descriptors, anonymous_bytes: 4096 }
    }

    #[test]
    fn only_changes_are_kept_and_not_without_end() {
        let mut samples = Vec::new();
        for number in 0..10 {
            keep(&mut samples, Some(descriptors(number, 7)));
        }
        keep(&mut samples, Some(Sample { anonymous_bytes: 8192, ..descriptors(10, 7) }));
        assert_eq!(samples, [descriptors(0, 7)]);
        for number in 0..1000 {
            keep(&mut samples, Some(descriptors(number, number as usize)));
            assert!(samples.len() <= KEPT);
        }
        assert_eq!(samples.last(), Some(&descriptors(999, 999)));
    }

    #[test]
    fn the_course_is_told_in_a_line() {
        let told = |counts: &[usize]| {
            held(&counts.iter().map(|&count| descriptors(0, count)).collect::<Vec<_>>())
        };
        assert_eq!(told(&[]), None);
        for (counts, words) in
            [(&[2][..], "2"), (&[2, 62], "2 → 62"), (&[9, 2, 9], "9"), (&[2, 62, 3], "2 → 62 → 3")]
        {
            assert_eq!(told(counts), Some(format!("{words} descriptors, 1 threads, 4 KiB")));
        }
    }

    #[test]
    fn what_is_held_in_between_is_seen() {
        let this = std::process::id() as Pid;
        let with_a_child = || {
            let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it");
            thread::sleep(FIRST_PAUSE * 20);
            child.kill().and_then(|()| child.wait()).expect("it ends");
            7
        };
        let (done, samples) = watched(this, with_a_child, |_| false);
        assert_eq!(done, 7);
        assert!(samples.iter().any(|sample| sample.processes > 0), "{samples:?}");
    }
}
