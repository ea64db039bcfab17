//! CPU time of the whole machine during a run.

use std::fs;

/// CPU time of the whole machine since boot, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    /// Returns the current values (/proc/stat, proc_stat(5)).
    ///
    /// The sum is over user, nice, system, idle, iowait, irq, softirq and steal. Steal is time in
    /// which this virtual machine was runnable, but the hypervisor ran other guests.
    pub(super) fn now() -> Ticks {
        fs::read_to_string("/proc/stat").map(|text| Ticks::of(&text)).unwrap_or_default()
    }

    fn of(text: &str) -> Ticks {
        let line = text.lines().next().unwrap_or_default();
        let times: Vec<u64> =
            line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        Ticks { all: times.iter().sum(), stolen: times.get(7).copied().unwrap_or(0) }
    }

    /// Returns the stolen share of the machine's CPU time since `before`.
    pub(super) fn stolen_since(self, before: Ticks) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_share_of_all_cpu_time() {
        let before = Ticks::of("cpu  100 0 100 700 0 0 50 50 7 7\ncpu0 1 2 3\n");
        let after = Ticks::of("cpu  200 0 100 700 0 0 50 150 9 9\n");
        assert_eq!(before, Ticks { all: 1000, stolen: 50 });
        assert_eq!(after.stolen_since(before), 0.5);
        assert_eq!(Ticks::of(""), Ticks::default());
        assert!(Ticks::now().all > 0);
    }
}
