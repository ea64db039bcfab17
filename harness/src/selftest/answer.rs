//! Behaviours of a known-answer server, and their syntax on the command line.

use std::str::FromStr;
use std::time::Duration;

use crate::units::{duration, positive};

/// Behaviour of a known-answer server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// Echoes bytes unchanged.
    Echo,
    /// Answers each line after this delay.
    Delay(Duration),
    /// Answers each line after one of two delays.
    Bimodal {
        /// Delay of most lines.
        usual: Duration,
        /// Delay of every `every`th line of a connection.
        rare: Duration,
        /// Period of the rare delay, in lines, from 1.
        every: usize,
    },
    /// Freezes periodically: does nothing for some time.
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
    /// Answers lines at a limited rate, with at least this time between two answers.
    Rate(Duration),
    /// Uses additional CPU time: this fraction of what its work takes.
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
    Row { name: "echo", usual: "", what: "echoes bytes at once" },
    Row { name: "delay", usual: "20ms", what: "answers each line after this delay" },
    Row {
        name: "bimodal",
        usual: "5ms,50ms,10",
        what: "answers after the first delay; every 10th line of a connection after the second",
    },
    Row {
        name: "freeze",
        usual: "1s,4s",
        what: "echoes, but freezes for 1s in every 4s; the first freeze begins 1s after the start",
    },
    Row { name: "some", usual: "5", what: "serves the first 5 connections, resets later ones" },
    Row {
        name: "wrong",
        usual: "1000",
        what: "answers every 1000th line with x in place of each byte",
    },
    Row { name: "lost", usual: "1000", what: "does not answer every 1000th line" },
    Row {
        name: "rate",
        usual: "2000",
        what: "answers at most 2000 lines per second, at equal intervals",
    },
    Row {
        name: "slower",
        usual: "3",
        what: "works 10us on each line, and uses 3 % more CPU time than slower:0",
    },
];

impl Behaviour {
    /// Returns the help text: one line for each behaviour, with its default parameters.
    pub fn help() -> String {
        let line = |row: &Row| {
            let colon = if row.usual.is_empty() { "" } else { ":" };
            let example = format!("{}{colon}{}", row.name, row.usual);
            format!("  {example:22} {}", row.what)
        };
        let lines: Vec<String> = ROWS.iter().map(line).collect();
        format!("Behaviours, with their default parameters:\n{}", lines.join("\n"))
    }
}

impl FromStr for Behaviour {
    type Err = String;

    /// Parses a name with optional parameters, such as `delay` or `delay:20ms`.
    fn from_str(text: &str) -> Result<Behaviour, String> {
        let (name, given) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
        let row = ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
            let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            format!("unknown behaviour; choose {}", names.join(", "))
        })?;
        let parameters: Vec<&str> = given.unwrap_or(row.usual).split(',').collect();
        read(name, &parameters).map_err(|error| match row.usual {
            "" => error,
            usual => format!("{error}, as in {name}:{usual}"),
        })
    }
}

fn read(name: &str, parameters: &[&str]) -> Result<Behaviour, String> {
    Ok(match (name, parameters) {
        ("echo", [""]) => Behaviour::Echo,
        ("delay", [time]) => Behaviour::Delay(duration(time)?),
        ("bimodal", [usual, rare, every]) => Behaviour::Bimodal {
            usual: duration(usual)?,
            rare: duration(rare)?,
            every: positive(every)?,
        },
        ("freeze", [frozen, period]) => {
            let (frozen, period) = (duration(frozen)?, duration(period)?);
            if frozen >= period {
                return Err("the freeze must be shorter than the period".to_owned());
            }
            Behaviour::Freeze { frozen, period }
        }
        ("some", [count]) => Behaviour::First(positive(count)?),
        ("wrong", [every]) => Behaviour::Wrong(positive(every)?),
        ("lost", [every]) => Behaviour::Lost(positive(every)?),
        ("rate", [lines]) => {
            Behaviour::Rate(Duration::from_secs_f64(1.0 / positive(lines)? as f64))
        }
        ("slower", [percent]) => Behaviour::Slower(share(percent)?),
        ("echo", _) => return Err("echo has no parameters".to_owned()),
        _ => return Err("expected another number of parameters".to_owned()),
    })
}

fn share(percent: &str) -> Result<f64, String> {
    match percent.parse() {
        Ok(percent @ 0.0..=SLOWEST) => Ok(percent / 100.0),
        _ => Err(format!("write a percentage from 0 to {SLOWEST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_behaviour_without_parameters_has_the_default_parameters() {
        let ms = Duration::from_millis;
        let bimodal = Behaviour::Bimodal { usual: ms(5), rare: ms(50), every: 10 };
        for (text, behaviour) in [
            ("echo", Behaviour::Echo),
            ("delay", Behaviour::Delay(ms(20))),
            ("delay:1s 5ms", Behaviour::Delay(ms(1005))),
            ("bimodal", bimodal),
            ("freeze:1s,2s", Behaviour::Freeze { frozen: ms(1000), period: ms(2000) }),
            ("some:7", Behaviour::First(7)),
            ("wrong", Behaviour::Wrong(1000)),
            ("lost:2", Behaviour::Lost(2)),
            ("rate", Behaviour::Rate(Duration::from_micros(500))),
            ("slower:0", Behaviour::Slower(0.0)),
            ("slower:2.5", Behaviour::Slower(0.025)),
        ] {
            assert_eq!(text.parse(), Ok(behaviour), "{text}");
        }
        for row in ROWS {
            let explicit = format!("{}:{}", row.name, row.usual);
            assert_eq!(row.name.parse::<Behaviour>(), explicit.parse(), "{explicit}");
            assert!(row.name.parse::<Behaviour>().is_ok() && Behaviour::help().contains(row.what));
        }
    }

    #[test]
    fn the_error_for_an_invalid_behaviour_describes_valid_behaviours() {
        for (text, word) in [
            ("", "bimodal"),
            ("delays", "bimodal"),
            ("echo:1", "no parameters"),
            ("delay:", "delay:20ms"),
            ("delay:20", "delay:20ms"),
            ("delay:1s,2s", "delay:20ms"),
            ("bimodal:5ms,50ms", "bimodal:5ms,50ms,10"),
            ("freeze:4s,4s", "shorter"),
            ("some:0", "some:5"),
            ("rate:-1", "rate:2000"),
            ("slower:-1", "from 0"),
            ("slower:NaN", "from 0"),
        ] {
            let error = text.parse::<Behaviour>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
