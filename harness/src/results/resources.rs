//! Resource usage of a server during a case.

use serde::{Deserialize, Serialize};

/// Resource usage of a server at one moment of a case, summed over its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sample {
    /// Time since the start of the case, in microseconds.
    pub at_us: u64,
    /// Number of processes, including zombies.
    pub processes: usize,
    /// Number of threads.
    pub threads: usize,
    /// Number of open descriptors.
    pub descriptors: usize,
    /// Resident anonymous memory, in bytes.
    pub anonymous_bytes: u64,
}

/// Formats the changes of the resource usage during a case. Returns `None` without samples.
///
/// `2 → 62 → 3 descriptors` are the first value, the maximum and the last value of the samples.
pub fn format_changes(samples: &[Sample]) -> Option<String> {
    let (first, last) = (samples.first()?, samples.last()?);
    let format_one = |of: fn(&Sample) -> u64, unit: &str| {
        let maximum = samples.iter().map(of).max().unwrap_or(0);
        let mut values = vec![of(first), maximum, of(last)];
        values.dedup();
        let words: Vec<String> = values.iter().map(u64::to_string).collect();
        format!("{} {unit}", words.join(" → "))
    };
    let mut words = vec![
        format_one(|sample| sample.descriptors as u64, "descriptors"),
        format_one(|sample| sample.threads as u64, "threads"),
    ];
    if samples.iter().any(|sample| sample.processes > 1) {
        words.push(format_one(|sample| sample.processes as u64, "processes"));
    }
    words.push(format_one(|sample| sample.anonymous_bytes / 1024, "KiB"));
    Some(words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(at_us: u64, descriptors: usize) -> Sample {
        Sample { at_us, processes: 1, threads: 1, descriptors, anonymous_bytes: 4096 }
    }

    #[test]
    fn resource_usage_over_time_is_summarized_on_one_line() {
        let formatted = |counts: &[usize]| {
            format_changes(&counts.iter().map(|&count| descriptors(0, count)).collect::<Vec<_>>())
        };
        assert_eq!(formatted(&[]), None);
        for (counts, words) in
            [(&[2][..], "2"), (&[2, 62], "2 → 62"), (&[9, 2, 9], "9"), (&[2, 62, 3], "2 → 62 → 3")]
        {
            assert_eq!(formatted(counts), Some(format!("{words} descriptors, 1 threads, 4 KiB")));
        }
    }
}
