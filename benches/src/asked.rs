//! Command line of benchmarks that do not use Criterion, with the flags that users of cargo and
//! Criterion know.

/// Task of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No run: the command line selects another benchmark, or a list.
    Nothing,
    /// A short run without a verdict, to check that the benchmark works.
    Try,
    /// A measurement.
    Measure,
}

impl Asked {
    /// Returns the task of the benchmark with this name, from the command line of this process.
    pub fn of(name: &str) -> Asked {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let asked = Asked::by(&arguments, name);
        if asked == Asked::Nothing && arguments.iter().any(|it| it == "--list") {
            println!("{name}: benchmark");
        }
        asked
    }

    fn by(arguments: &[String], name: &str) -> Asked {
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let is_other = |argument: &String| !argument.starts_with('-') && !name.contains(argument);
        if has("--list") || arguments.iter().any(is_other) {
            Asked::Nothing
        } else if has("--bench") && !has("--test") {
            Asked::Measure
        } else {
            // Cargo passes --bench to benchmarks unless it tests them.
            Asked::Try
        }
    }
}

/// Environment variable that requests long studies.
const FULL: &str = "BENCH_FULL";

/// Returns whether `BENCH_FULL` requests a long study instead of the default, which takes a minute
/// or two. A value other than 0 or 1 ends the program with exit code 2.
pub fn is_full() -> bool {
    variable(FULL, is_switched_on).unwrap_or(false)
}

fn is_switched_on(value: &str) -> Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" | "" => Ok(false),
        _ => Err("write 1 for long studies, 0 for the default".to_owned()),
    }
}

/// Returns the number of trials from this environment variable, if it is set. A value that is not a
/// number from 1 to 10,000 ends the program with exit code 2.
pub fn trials(name: &str) -> Option<u64> {
    variable(name, number_of_trials)
}

fn number_of_trials(value: &str) -> Result<u64, String> {
    match value.parse() {
        Ok(trials @ 1..=10_000) => Ok(trials),
        _ => Err("write a whole number from 1 to 10000".to_owned()),
    }
}

fn variable<T>(name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let value = std::env::var_os(name)?;
    match read(&value.to_string_lossy()) {
        Ok(value) => Some(value),
        Err(words) => {
            eprintln!("{name}={}: {words}", value.to_string_lossy());
            std::process::exit(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_and_bad_values_are_told_with_what_is_right() {
        assert_eq!(["1", "0", ""].map(is_switched_on), [Ok(true), Ok(false), Ok(false)]);
        assert_eq!((number_of_trials("1"), number_of_trials("100")), (Ok(1), Ok(100)));
        for wrong in ["yes", "2", "-1"] {
            assert!(is_switched_on(wrong).is_err_and(|words| words.contains("write 1")), "{wrong}");
        }
        for wrong in ["", "0", "-1", "ten", "1e2", "10001"] {
            assert!(
                number_of_trials(wrong).is_err_and(|words| words.contains("from 1")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_bench_measures_only_where_it_is_meant_and_not_tested() {
        for (line, asked) in [
            ("--bench", Asked::Measure),
            ("late --bench", Asked::Measure),
            ("latency/select --bench", Asked::Nothing),
            ("--list --bench", Asked::Nothing),
            ("--test --bench", Asked::Try),
            ("", Asked::Try),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(Asked::by(&arguments, "lateness"), asked, "{line}");
        }
    }
}
