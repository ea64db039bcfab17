//! Behaviours of a known-answer server, and their syntax on the command line.

use std::str::FromStr;
use std::time::Duration;

use crate::units::{duration, positive};

/// Behaviour of a known-answer server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Echoes bytes unchanged.
    Echo,
    /// Answers each line this long after it was read.
    Delay(Duration),
    /// Delays one line in `every` of a connection by another time.
    TwoHumps {
        /// Delay of most lines.
        usual: Duration,
        /// Delay of the other line.
        rare: Duration,
        /// Period of the other delay, in lines, from 1.
        every: usize,
    },
    /// Freezes periodically: does nothing for a while.
    Freeze {
        /// Duration of a freeze.
        frozen: Duration,
        /// Time from the start of one freeze to the start of the next.
        period: Duration,
    },
    /// Serves this many connections, and resets later ones.
    First(usize),
    /// Answers one line in this many wrongly.
    Wrong(usize),
    /// Leaves one line in this many unanswered.
    Lost(usize),
    /// Minimum time between the answers to two lines.
    Rate(Duration),
    /// Uses this share of CPU time in addition.
    Slower(f64),
}

/// Maximum slowdown of a server, in percent.
const SLOWEST: f64 = 1000.0;

struct Row {
    name: &'static str,
    /// Default parameters.
    usual: &'static str,
    what: &'static str,
}

const ROWS: &[Row] = &[
    Row { name: "echo", usual: "", what: "bytes are written back as they come, as fast as it can" },
    Row { name: "delay", usual: "20ms", what: "each line is answered so long after it was read" },
    Row {
        name: "two-humps",
        usual: "5ms,50ms,10",
        what: "so is each line, but every 10th of a connection after the second time",
    },
    Row {
        name: "freeze",
        usual: "1s,4s",
        what: "an echo that does nothing for 1s in every 4s, first when it is 1s old",
    },
    Row { name: "some", usual: "5", what: "the first 5 connections are served, later ones reset" },
    Row { name: "wrong", usual: "1000", what: "every 1000th line is answered by as many x" },
    Row { name: "lost", usual: "1000", what: "every 1000th line is not answered" },
    Row { name: "rate", usual: "2000", what: "2000 lines a second at most, evenly spaced" },
    Row {
        name: "slower",
        usual: "3",
        what: "works 10us on a line, and needs 3 % more processor time than slower:0",
    },
];

impl Answer {
    /// Returns the help text: one line for each behaviour, with its default parameters.
    pub fn help() -> String {
        let line = |row: &Row| {
            let colon = if row.usual.is_empty() { "" } else { ":" };
            let example = format!("{}{colon}{}", row.name, row.usual);
            format!("  {example:22} {}", row.what)
        };
        let lines: Vec<String> = ROWS.iter().map(line).collect();
        format!("Answers, with the parameters that they have by default:\n{}", lines.join("\n"))
    }
}

impl FromStr for Answer {
    type Err = String;

    /// Parses `delay`, or `delay:20ms`.
    fn from_str(text: &str) -> Result<Answer, String> {
        let (name, given) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
        let row = ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
            let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            format!("there is no such answer; choose {}", names.join(", "))
        })?;
        let parameters: Vec<&str> = given.unwrap_or(row.usual).split(',').collect();
        read(name, &parameters).map_err(|words| match row.usual {
            "" => words,
            usual => format!("{words}, as in {name}:{usual}"),
        })
    }
}

fn read(name: &str, parameters: &[&str]) -> Result<Answer, String> {
    Ok(match (name, parameters) {
        ("echo", [""]) => Answer::Echo,
        ("delay", [time]) => Answer::Delay(duration(time)?),
        ("two-humps", [usual, rare, every]) => Answer::TwoHumps {
            usual: duration(usual)?,
            rare: duration(rare)?,
            every: positive(every)?,
        },
        ("freeze", [frozen, period]) => {
            let (frozen, period) = (duration(frozen)?, duration(period)?);
            if frozen >= period {
                return Err("a freeze must be shorter than the time between two".to_owned());
            }
            Answer::Freeze { frozen, period }
        }
        ("some", [count]) => Answer::First(positive(count)?),
        ("wrong", [every]) => Answer::Wrong(positive(every)?),
        ("lost", [every]) => Answer::Lost(positive(every)?),
        ("rate", [lines]) => Answer::Rate(Duration::from_secs_f64(1.0 / positive(lines)? as f64)),
        ("slower", [percent]) => Answer::Slower(part(percent)?),
        ("echo", _) => return Err("echo has no parameters".to_owned()),
        _ => return Err(format!("{} parameters are too few or too many", parameters.len())),
    })
}

fn part(percent: &str) -> Result<f64, String> {
    match percent.parse() {
        Ok(percent @ 0.0..=SLOWEST) => Ok(percent / 100.0),
        _ => Err(format!("write a percentage from 0 to {SLOWEST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_usual_parameters_unless_others_are_given() {
        let ms = Duration::from_millis;
        let two_humps = Answer::TwoHumps { usual: ms(5), rare: ms(50), every: 10 };
        for (text, answer) in [
            ("echo", Answer::Echo),
            ("delay", Answer::Delay(ms(20))),
            ("delay:1s 5ms", Answer::Delay(ms(1005))),
            ("two-humps", two_humps),
            ("freeze:1s,2s", Answer::Freeze { frozen: ms(1000), period: ms(2000) }),
            ("some:7", Answer::First(7)),
            ("wrong", Answer::Wrong(1000)),
            ("lost:2", Answer::Lost(2)),
            ("rate", Answer::Rate(Duration::from_micros(500))),
            ("slower:0", Answer::Slower(0.0)),
            ("slower:2.5", Answer::Slower(0.025)),
        ] {
            assert_eq!(text.parse(), Ok(answer), "{text}");
        }
        for row in ROWS {
            let spelt = format!("{}:{}", row.name, row.usual);
            assert_eq!(row.name.parse::<Answer>(), spelt.parse(), "{spelt}");
            assert!(row.name.parse::<Answer>().is_ok() && Answer::help().contains(row.what));
        }
    }

    #[test]
    fn what_is_no_answer_is_told_with_one_that_is() {
        for (text, word) in [
            ("", "two-humps"),
            ("delays", "two-humps"),
            ("echo:1", "no parameters"),
            ("delay:", "delay:20ms"),
            ("delay:20", "delay:20ms"),
            ("delay:1s,2s", "delay:20ms"),
            ("two-humps:5ms,50ms", "two-humps:5ms,50ms,10"),
            ("freeze:4s,4s", "shorter"),
            ("some:0", "some:5"),
            ("rate:-1", "rate:2000"),
            ("slower:-1", "from 0"),
            ("slower:NaN", "from 0"),
        ] {
            let error = text.parse::<Answer>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
