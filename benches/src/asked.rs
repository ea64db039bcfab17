//! What the command line asks of a bench that is not Criterion's, by the flags that cargo and
//! Criterion's users know.

/// What a bench is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: another one is meant, or a list was.
    Nothing,
    /// To run once and shortly, without a verdict: whether it works at all.
    Try,
    /// To measure.
    Measure,
}

impl Asked {
    /// What the command line of this program says to the bench of this name.
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
            // Cargo says --bench to benches unless they are to be tested.
            Asked::Try
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
