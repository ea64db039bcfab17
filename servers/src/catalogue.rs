//! Registry of servers: every pattern with every service.

use std::fmt;

use crate::config::Config;
use crate::limits::{Limits, LimitsError, MAX_LINE};
use crate::pattern::Pattern;
use crate::patterns::PATTERNS;
use crate::protocol::Service;

/// A pattern with a service, as `harness serve` runs it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Organises accepting, reading and answering.
    pub pattern: &'static Pattern,
    /// Computes the replies.
    pub service: Service,
}

/// The four original programs, by their names.
const ORIGINALS: &[(&str, &str, Service)] = &[
    ("server1", "iterative-refuse", Service::Calc),
    ("server2", "thread-per-connection", Service::Calc),
    ("server3", "select", Service::Calc),
    ("server4", "select", Service::Echo),
];

/// Returns every server: each pattern with each service.
pub fn servers() -> impl Iterator<Item = Server> {
    PATTERNS
        .iter()
        .flat_map(|pattern| Service::ALL.iter().map(move |&service| Server { pattern, service }))
}

/// Finds a server by name: `select-echo`, `select` (which means `calc`), or one of `server1` to
/// `server4`.
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
    /// Returns the canonical name, such as `select-echo`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.pattern.id, self.service.name())
    }

    /// Returns the name of the original program that this server replaces, if any.
    pub fn alias(&self) -> Option<&'static str> {
        ORIGINALS
            .iter()
            .find(|(_, id, service)| *id == self.pattern.id && *service == self.service)
            .map(|(alias, ..)| *alias)
    }

    /// Returns the configuration: the pattern's defaults with the user's overrides, checked.
    ///
    /// # Errors
    /// The pattern does not support a limit.
    pub fn config(&self, limits: &Limits) -> Result<Config, LimitsError> {
        let workers = self.pattern.workers(limits.workers)?;
        Ok(Config {
            service: self.service,
            max_line: limits.max_line.unwrap_or(MAX_LINE),
            max_connections: self.pattern.max_connections(limits.max_connections, workers)?,
            workers,
            idle_timeout: limits.idle_timeout,
        })
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
    fn every_server_is_found_by_its_name() {
        for server in servers() {
            let found = find(&server.name()).expect("a server with this name");
            assert_eq!(found.name(), server.name());
        }
    }

    #[test]
    fn the_four_originals_are_found() {
        for (alias, id, service) in ORIGINALS {
            let server = find(alias).expect("an original");
            assert_eq!((server.pattern.id, server.service), (*id, *service));
            assert_eq!(server.alias(), Some(*alias));
        }
    }

    #[test]
    fn a_pattern_name_means_its_calculator_and_wrong_names_are_not_found() {
        assert_eq!(find("select").map(|server| server.service), Some(Service::Calc));
        for wrong in ["", "selec", "select-", "select-calcs", "server5", "-calc", "calc"] {
            assert!(find(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_rejects_unsupported_limits() {
        let max_connections = |name: &str, clients| {
            let limits = Limits { max_connections: Some(clients), ..Limits::default() };
            find(name).expect("a server").config(&limits).map(|config| config.max_connections)
        };
        assert_eq!(max_connections("select", 64), Ok(64));
        assert!(matches!(max_connections("select", 0), Err(LimitsError::TooMany { .. })));
        assert!(matches!(max_connections("select", 1024), Err(LimitsError::TooMany { .. })));
        assert!(matches!(
            max_connections("iterative", 2),
            Err(LimitsError::ServesOne("iterative"))
        ));
    }
}
