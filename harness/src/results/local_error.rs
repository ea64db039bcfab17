//! Errors of this machine or of the network to the server. They are no outcome of the server.

use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Reason why this machine or the network could not open or keep a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LocalError {
    /// No local port is free (EADDRNOTAVAIL).
    NoLocalPort,
    /// This process or the machine has no descriptor left (EMFILE, ENFILE).
    NoDescriptor,
    /// The kernel has no memory for a socket or its events (ENOBUFS, ENOMEM, ENOSPC).
    NoMemory,
    /// No route leads to the server, or a router or firewall reports that the server cannot be
    /// reached (ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN; EINVAL for a blackhole route).
    Unreachable,
    /// A firewall or a security policy of this machine denies the connection (EACCES, EPERM).
    Denied,
}

impl LocalError {
    /// Returns the local error of a socket call; `None` if the server or another error may be the
    /// cause.
    pub fn of(error: &io::Error) -> Option<LocalError> {
        Some(match Errno::from_raw(error.raw_os_error()?) {
            Errno::EADDRNOTAVAIL => LocalError::NoLocalPort,
            Errno::EMFILE | Errno::ENFILE => LocalError::NoDescriptor,
            Errno::ENOBUFS | Errno::ENOMEM | Errno::ENOSPC => LocalError::NoMemory,
            Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN
            | Errno::EINVAL => LocalError::Unreachable,
            Errno::EACCES | Errno::EPERM => LocalError::Denied,
            _ => return None,
        })
    }

    /// Returns whether each further attempt to connect to the same server would fail too.
    pub fn is_lasting(self) -> bool {
        matches!(self, LocalError::Unreachable | LocalError::Denied)
    }

    /// Returns the name used in sentences.
    pub fn label(self) -> &'static str {
        match self {
            LocalError::NoLocalPort => "no free local port",
            LocalError::NoDescriptor => "no descriptor left",
            LocalError::NoMemory => "no kernel memory for a socket",
            LocalError::Unreachable => "network or host unreachable",
            LocalError::Denied => "denied by this machine",
        }
    }

    /// Returns what to do.
    pub fn advice(self) -> &'static str {
        match self {
            LocalError::NoLocalPort => {
                "ports of recent connections stay in TIME_WAIT for 1 min: wait, widen \
                 net.ipv4.ip_local_port_range, or open fewer connections; a server with an IPv6 \
                 address needs one on this machine too"
            }
            LocalError::NoDescriptor => {
                "raise the limit (ulimit -n, fs.file-max), or open fewer connections"
            }
            LocalError::NoMemory => {
                "open fewer connections, or raise net.ipv4.tcp_mem and fs.epoll.max_user_watches"
            }
            LocalError::Unreachable => {
                "check the address, the routes (ip route get ADDRESS) and the firewalls on the way"
            }
            LocalError::Denied => {
                "check the firewall (nft list ruleset) and the security policy of this machine"
            }
        }
    }

    /// Returns the label and the advice.
    pub fn text(self) -> String {
        format!("{}; {}", self.label(), self.advice())
    }
}

/// Number of occurrences of each local error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct LocalErrors(BTreeMap<LocalError, u64>);

impl LocalErrors {
    /// Counts occurrences.
    pub fn add_many(&mut self, error: LocalError, count: u64) {
        *self.0.entry(error).or_default() += count;
    }

    /// Adds the counts of `other`.
    pub fn add_all(&mut self, other: &LocalErrors) {
        other.0.iter().for_each(|(&error, &count)| self.add_many(error, count));
    }

    /// Returns whether no error occurred.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the errors that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (LocalError, u64)> {
        self.0.iter().map(|(&error, &count)| (error, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_this_machine_and_of_the_network_are_told_from_those_of_a_server() {
        for (errno, error) in [
            (Errno::EADDRNOTAVAIL, Some(LocalError::NoLocalPort)),
            (Errno::ENFILE, Some(LocalError::NoDescriptor)),
            (Errno::ENOBUFS, Some(LocalError::NoMemory)),
            (Errno::EHOSTUNREACH, Some(LocalError::Unreachable)),
            (Errno::EPERM, Some(LocalError::Denied)),
            (Errno::ECONNREFUSED, None),
            (Errno::ECONNRESET, None),
            (Errno::ETIMEDOUT, None),
        ] {
            assert_eq!(LocalError::of(&io::Error::from(errno)), error, "{errno}");
        }
    }
}
