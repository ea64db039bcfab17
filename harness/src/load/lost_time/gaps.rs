//! Gaps in the loop of a generator.

use crate::load::clock::thread_cpu_ns;

/// Minimum length of a gap, in nanoseconds. A wake-up with a full batch of events may take as long.
const MIN_GAP: u64 = 5_000_000;

/// Sampling interval of the thread's CPU time, in nanoseconds. CPU time is subtracted from a gap.
const SAMPLE_EVERY: u64 = 1_000_000;

/// Detects gaps in the loop of one generator: time in which the loop neither ran nor waited for an
/// event.
#[derive(Debug, Default)]
pub(in crate::load) struct Gaps {
    /// Start of the last iteration; 0 before the first.
    last_iteration: u64,
    /// Time of the last CPU sample, and CPU time at that sample.
    sampled_at: u64,
    cpu: u64,
    /// Sum of the lengths of all gaps.
    pub(super) total: u64,
    pub(super) longest: u64,
    /// End and length of the last gap.
    pub(super) last: (u64, u64),
}

impl Gaps {
    /// Starts an iteration of the loop at `now`, and returns the length of the gap since the last
    /// iteration; 0 for none. `waited` is the longest time that the loop may have waited in the
    /// kernel. The sums exclude time before `since`.
    pub(in crate::load) fn check(&mut self, now: u64, waited: u64, since: u64) -> u64 {
        self.check_with(now, waited, since, thread_cpu_ns)
    }

    fn check_with(&mut self, now: u64, waited: u64, since: u64, cpu: impl Fn() -> u64) -> u64 {
        let from = self.last_iteration;
        self.last_iteration = now;
        let mut lost = 0;
        if from > 0 && now.saturating_sub(from) > waited + MIN_GAP {
            // Work since the last sample is not a gap.
            let worked = cpu().saturating_sub(self.cpu);
            lost = (now - from).saturating_sub(waited).saturating_sub(worked);
        }
        if now.saturating_sub(self.sampled_at) > SAMPLE_EVERY || from == 0 {
            (self.sampled_at, self.cpu) = (now, cpu());
        }
        if lost < MIN_GAP {
            return 0;
        }
        let counted = lost.min(now.saturating_sub(since));
        if counted > 0 {
            self.total += counted;
            self.longest = self.longest.max(counted);
            self.last = (now, counted);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_gap_is_time_in_which_the_loop_neither_ran_nor_planned_to_wait() {
        let mut gaps = Gaps::default();
        // Time, wait and CPU time so far, and the expected gap, all in milliseconds.
        for (now, waited, cpu, gap) in [
            (10, 0, 1, 0),
            (12, 0, 2, 0),
            // Waited no longer than allowed.
            (34, 20, 3, 0),
            // Used the CPU.
            (64, 0, 33, 0),
            // Stopped, the second time during a wait.
            (2_064, 0, 33, 2_000),
            (3_084, 20, 33, 1_000),
            (3_088, 0, 33, 0),
        ] {
            let found = gaps.check_with(now * MS, waited * MS, 0, || cpu * MS);
            assert_eq!(found / MS, gap, "at {now} ms");
        }
        assert_eq!((gaps.total / MS, gaps.longest / MS), (3_000, 2_000));
        assert_eq!(gaps.last, (3_084 * MS, 1_000 * MS));
    }

    #[test]
    fn only_the_part_of_a_gap_after_the_recording_starts_counts() {
        let mut gaps = Gaps::default();
        gaps.check_with(1, 0, 5_000 * MS, || 0);
        assert_eq!(gaps.check_with(4_000 * MS, 0, 5_000 * MS, || 0) / MS, 3_999);
        assert_eq!(gaps.total, 0);
        gaps.check_with(6_000 * MS, 0, 5_000 * MS, || 0);
        assert_eq!(gaps.total, 1_000 * MS);
    }
}
