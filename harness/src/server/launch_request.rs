//! Launch request: one line of JSON on the supervisor's standard input. Command-line arguments
//! would be too short, and every user of the machine could read them.

use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Confinement;

/// Maximum length of the line, in bytes. It is the largest capacity of a pipe, so that writing
/// never blocks.
pub(super) const MAX_REQUEST_LENGTH: usize = 1024 * 1024;

/// Byte that the harness writes in place of a signal number, if the server's first process has
/// exited with 0: the supervisor then treats another process of the server as its first.
pub(super) const REPLACE: u8 = u8::MAX;

/// Byte that the harness writes when the server listens.
pub(super) const LISTENS: u8 = u8::MAX - 1;

/// Command to start, with all placeholders replaced, and its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaunchRequest {
    /// Words of the command.
    pub(super) command: Vec<String>,
    /// Working directory; `None` for the working directory of the supervisor.
    pub(super) folder: Option<PathBuf>,
    /// Environment variables to set.
    pub(super) environment: Vec<(String, String)>,
    /// Text for standard input.
    pub(super) input: Option<String>,
    /// CPUs to run on, by kernel number; `None` for all CPUs of the supervisor.
    pub(super) processors: Option<Vec<usize>>,
    /// Whether to drop the capability to listen on privileged ports.
    pub(super) unprivileged: bool,
    /// Resource limits and isolation.
    pub(super) confinement: Confinement,
    /// Whether a server that uses the CPUs without pause is killed.
    pub(super) limits_spinning: bool,
}

impl LaunchRequest {
    /// Formats the request as a line.
    ///
    /// # Errors
    /// The line is too long, or the path of the folder is not UTF-8.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        if line.len() > MAX_REQUEST_LENGTH {
            return Err(io::Error::other(
                "the command, environment and input of the server are longer than 1 MiB",
            ));
        }
        Ok(line)
    }

    /// Reads a request. The harness writes nothing after the line until the server has started.
    ///
    /// # Errors
    /// The input ends in the line, because the harness has exited, or the line is invalid.
    pub(super) fn read(mut input: impl Read) -> io::Result<LaunchRequest> {
        let (mut line, mut chunk) = (Vec::new(), [0; 4096]);
        while line.last() != Some(&b'\n') {
            match input.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => line.extend(&chunk[..count]),
            }
            if line.len() > MAX_REQUEST_LENGTH {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_request_round_trips_and_a_truncated_line_is_an_error() {
        let request = LaunchRequest {
            command: vec!["a b".to_owned(), "\n\0\u{fffd}".to_owned()],
            input: Some("x\n".repeat(30_000)),
            confinement: Confinement::strict(),
            ..LaunchRequest::default()
        };
        let line = request.line().expect("less than 1 MiB");
        assert_eq!(LaunchRequest::read(&line[..]).expect("a valid line"), request);
        let truncated = &line[..line.len() - 1];
        assert_eq!(
            LaunchRequest::read(truncated).expect_err("a truncated line").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_launch_request_too_long_for_a_pipe_is_rejected() {
        let request = LaunchRequest {
            input: Some("x".repeat(MAX_REQUEST_LENGTH)),
            ..LaunchRequest::default()
        };
        assert!(request.line().is_err());
    }
}
