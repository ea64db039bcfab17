//! Command line and environment variables of benchmarks that do not use Criterion. The flags are
//! the same as those of cargo and Criterion.

/// Mode of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchMode {
    /// No run: the command line selects another benchmark, or a list.
    Skip,
    /// A short run without a verdict, to check that the benchmark works.
    Test,
    /// A measurement.
    Measure,
}

impl BenchMode {
    /// Returns the mode of the benchmark with this name, from the command line of this process. If
    /// the command line requests a list, prints the name.
    pub fn of(name: &str) -> BenchMode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let mode = BenchMode::from_arguments(&arguments, name);
        if mode == BenchMode::Skip && arguments.iter().any(|it| it == "--list") {
            println!("{name}: benchmark");
        }
        mode
    }

    fn from_arguments(arguments: &[String], name: &str) -> BenchMode {
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        let is_other = |argument: &String| !argument.starts_with('-') && !name.contains(argument);
        if has("--list") || arguments.iter().any(is_other) {
            BenchMode::Skip
        } else if has("--bench") && !has("--test") {
            BenchMode::Measure
        } else {
            // `cargo bench` passes --bench, `cargo test` does not.
            BenchMode::Test
        }
    }
}

/// Environment variable that selects long studies.
const FULL: &str = "BENCH_FULL";

/// Returns whether `BENCH_FULL` selects a long study. Without it, a benchmark takes a minute or
/// two. A value other than 0 and 1 ends the program with exit code 2.
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

/// Returns the number of trials from this environment variable, if the variable is set. A value
/// that is not a number from 1 to 10,000 ends the program with exit code 2.
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
        Err(error) => {
            eprintln!("{name}={}: {error}", value.to_string_lossy());
            std::process::exit(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_variables_are_parsed_and_errors_explain_valid_values() {
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
    fn a_bench_measures_only_if_its_name_is_selected_and_not_in_test_mode() {
        for (line, mode) in [
            ("--bench", BenchMode::Measure),
            ("late --bench", BenchMode::Measure),
            ("latency/select --bench", BenchMode::Skip),
            ("--list --bench", BenchMode::Skip),
            ("--test --bench", BenchMode::Test),
            ("", BenchMode::Test),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(BenchMode::from_arguments(&arguments, "lateness"), mode, "{line}");
        }
    }
}
