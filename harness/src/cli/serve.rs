//! `harness serve`, and the internal commands that run as server or supervisor processes.

use std::time::Duration;

use clap::Args;
use servers::{Limits, Server, Service};

use super::server_name::server;
use crate::contract::service;
use crate::selftest::answer::Behaviour;
use crate::units::{duration, positive, size};

/// Arguments of `harness serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Built-in server: PATTERN-echo, PATTERN-calc, PATTERN (with the service of --service), or an
    /// alias from server1 to server4; see `harness list servers`.
    #[arg(value_parser = named_server)]
    pub server: NamedServer,
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 selects a free port.
    pub port: u16,
    /// Service to run, if SERVER is the name of a pattern (default: calc).
    #[arg(long, value_parser = service, value_name = "calc|echo")]
    pub service: Option<Service>,
    /// Number of worker threads or processes, if the pattern has a fixed number of workers
    /// (default: set by the pattern).
    #[arg(long, value_name = "N", value_parser = positive)]
    pub workers: Option<usize>,
    /// Maximum number of connections, including those that wait for a worker (default: set by the
    /// pattern).
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_connections: Option<usize>,
    /// Length of the accept queue; the kernel caps it at net.core.somaxconn (default: set by the
    /// pattern).
    #[arg(long, value_name = "N")]
    pub backlog: Option<u32>,
    /// Close connections idle for longer than TIME (default: never).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Option<Duration>,
    /// Maximum length of a request, such as 4096 or 64KiB, without its line end (default: 4KiB).
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub max_line: Option<usize>,
}

impl Serve {
    /// Returns the limits that the user set.
    pub fn limits(&self) -> Limits {
        Limits {
            workers: self.workers,
            max_connections: self.max_connections,
            backlog: self.backlog,
            idle_timeout: self.idle_timeout,
            max_line: self.max_line,
        }
    }
}

/// A built-in server, with the name given on the command line.
#[derive(Clone, Debug)]
pub struct NamedServer {
    /// Name given on the command line.
    pub name: String,
    /// Server with that name.
    pub server: Server,
}

fn named_server(name: &str) -> Result<NamedServer, String> {
    server(name).map(|server| NamedServer { name: name.to_owned(), server })
}

/// Arguments of `harness supervise`: none; the launch request is read from standard input.
#[derive(Debug, Args)]
pub struct Supervise {}

/// Arguments of `harness known`.
#[derive(Debug, Args)]
#[command(after_help = Behaviour::help())]
pub struct KnownAnswer {
    /// Behaviour: a name, optionally followed by a colon and parameters.
    pub answer: Behaviour,
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 selects a free port.
    pub port: u16,
}
