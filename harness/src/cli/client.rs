//! `harness client`.

use std::time::Duration;

use clap::Args;

use crate::units::duration;

const CLIENT_EXIT_CODES: &str = "\
Exit codes: 0 every request was answered; 2 bad usage; 3 this machine's input, output or network \
failed; 4 no server listens: the connection was refused, and no client on this machine is connected \
to the address; 5 the server is at its connection limit: it refused the connection while other \
clients on this machine were connected, it reset the connection, or it replied with a line that \
begins with `error: busy`; 6 the server did not reply in time; 7 the server closed the connection before a \
reply, or did not send one line per request.";

/// Arguments of `harness client`.
#[derive(Debug, Args)]
#[command(after_help = CLIENT_EXIT_CODES)]
pub struct Client {
    /// Address or host name of the server.
    pub host: String,
    /// Port of the server, from 1 to 65535.
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Timeout for the connection and for each reply.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
    /// Wait up to TIME until a server listens at the address (default: do not wait).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
}
