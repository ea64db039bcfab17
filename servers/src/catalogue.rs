//! What servers there are: the words to describe a pattern, and the names to find one by.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::{Config, Listener, PATTERNS, Service};

/// The longest request by default, in bytes.
pub const MAX_LINE: usize = 4096;

/// A way to organise accepting, reading and answering.
#[derive(Debug)]
pub struct Pattern {
    /// Its stable name.
    pub id: &'static str,
    /// How it works, in a line.
    pub summary: &'static str,
    /// How many clients it serves at once.
    pub capacity: Capacity,
    /// What a client meets when the capacity is used up.
    pub when_full: WhenFull,
    /// The length of the accept queue that it asks for, where the user asks for none.
    pub backlog: u32,
    /// Serves until asked to stop, then drains.
    pub serve: fn(Listener, &Config) -> io::Result<()>,
}

/// How many clients a pattern serves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// One, by construction.
    One,
    /// As many as the user sets.
    Limited {
        /// Unless the user sets another.
        default: usize,
        /// What the pattern could serve at most.
        most: usize,
        /// What sets that maximum.
        because: &'static str,
    },
}

/// What a client meets when a server is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in the backlog and is served later.
    Wait,
    /// Its connection is refused: ECONNREFUSED.
    Refuse,
    /// It is connected, then reset.
    Reset,
    /// It is connected, told in a line beginning with `error: busy`, and sees a clean end.
    Busy,
}

impl WhenFull {
    /// All of them.
    pub const ALL: &[WhenFull] =
        &[WhenFull::Wait, WhenFull::Refuse, WhenFull::Reset, WhenFull::Busy];

    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            WhenFull::Wait => "wait",
            WhenFull::Refuse => "refuse",
            WhenFull::Reset => "reset",
            WhenFull::Busy => "busy",
        }
    }
}

/// A pattern with a service: what `harness serve` runs.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// How it serves.
    pub pattern: &'static Pattern,
    /// What it answers.
    pub service: Service,
}

/// What a user may limit. `None` leaves it to the pattern.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The most clients served at once.
    pub max_connections: Option<usize>,
    /// The length of the accept queue to ask for.
    pub backlog: Option<u32>,
    /// How long a client may be silent.
    pub idle_timeout: Option<Duration>,
    /// The longest request in bytes.
    pub max_line: Option<usize>,
}

/// A limit that a pattern cannot keep.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// More or fewer clients were asked of a pattern that serves one.
    #[error("{0} serves one client at a time: leave out the limit on connections")]
    ServesOne(&'static str),
    /// More clients than the pattern could serve.
    #[error("{id} serves at most {most} clients at once ({because}): ask for 1 to {most}")]
    TooMany {
        /// The pattern.
        id: &'static str,
        /// Its maximum.
        most: usize,
        /// What sets it.
        because: &'static str,
    },
}

/// The original four programs, by the names they had.
const ORIGINALS: &[(&str, &str, Service)] = &[
    ("server1", "iterative-refuse", Service::Calc),
    ("server2", "thread-per-connection", Service::Calc),
    ("server3", "select", Service::Calc),
    ("server4", "select", Service::Echo),
];

/// Every server: each pattern with each service.
pub fn servers() -> impl Iterator<Item = Server> {
    PATTERNS
        .iter()
        .flat_map(|pattern| Service::ALL.iter().map(move |&service| Server { pattern, service }))
}

/// Finds a server by name: `select-echo`, `select` (with calc), or one of `server1` to `server4`.
pub fn find(name: &str) -> Option<Server> {
    let original = ORIGINALS.iter().find(|(alias, ..)| *alias == name);
    let (id, service) = match original {
        Some(&(_, id, service)) => (id, service),
        None => Service::ALL
            .iter()
            .find_map(|&service| {
                let id = name.strip_suffix(service.name())?.strip_suffix('-')?;
                Some((id, service))
            })
            .unwrap_or((name, Service::Calc)),
    };
    let pattern = PATTERNS.iter().find(|pattern| pattern.id == id)?;
    Some(Server { pattern, service })
}

impl Server {
    /// Its one name, such as `select-echo`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.pattern.id, self.service.name())
    }

    /// Which of the original four programs it is, if any.
    pub fn original(&self) -> Option<&'static str> {
        ORIGINALS
            .iter()
            .find(|(_, id, service)| *id == self.pattern.id && *service == self.service)
            .map(|(alias, ..)| *alias)
    }

    /// Decides every limit.
    ///
    /// # Errors
    /// A limit that the pattern cannot keep.
    pub fn config(&self, limits: &Limits) -> Result<Config, LimitsError> {
        Ok(Config {
            service: self.service,
            max_line: limits.max_line.unwrap_or(MAX_LINE),
            max_connections: self.pattern.clients_at_once(limits.max_connections)?,
            idle_timeout: limits.idle_timeout,
        })
    }
}

impl Pattern {
    fn clients_at_once(&self, asked: Option<usize>) -> Result<usize, LimitsError> {
        match (self.capacity, asked) {
            (Capacity::One, None | Some(1)) => Ok(1),
            (Capacity::One, Some(_)) => Err(LimitsError::ServesOne(self.id)),
            (Capacity::Limited { default, .. }, None) => Ok(default),
            (Capacity::Limited { most, because, .. }, Some(asked)) => {
                if (1..=most).contains(&asked) {
                    Ok(asked)
                } else {
                    Err(LimitsError::TooMany { id: self.id, most, because })
                }
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_found_by_its_own_name() {
        for server in servers() {
            let found = find(&server.name()).expect("its own name");
            assert_eq!(found.name(), server.name());
        }
    }

    #[test]
    fn the_original_four_are_found_and_know_it() {
        for (alias, id, service) in ORIGINALS {
            let server = find(alias).expect("an original");
            assert_eq!((server.pattern.id, server.service), (*id, *service));
            assert_eq!(server.original(), Some(*alias));
        }
    }

    #[test]
    fn a_bare_pattern_is_a_calculator_and_a_wrong_name_is_nothing() {
        assert_eq!(find("select").map(|server| server.service), Some(Service::Calc));
        for wrong in ["", "selec", "select-", "select-calcs", "server5", "-calc", "calc"] {
            assert!(find(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_refuses_limits_that_it_cannot_keep() {
        let asked = |name: &str, clients| {
            let limits = Limits { max_connections: Some(clients), ..Limits::default() };
            find(name).expect("a server").config(&limits).map(|config| config.max_connections)
        };
        assert_eq!(asked("select", 64), Ok(64));
        assert!(matches!(asked("select", 0), Err(LimitsError::TooMany { .. })));
        assert!(matches!(asked("select", 1024), Err(LimitsError::TooMany { .. })));
        assert!(matches!(asked("iterative", 2), Err(LimitsError::ServesOne("iterative"))));
    }
}
