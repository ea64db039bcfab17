//! Launch request: one line of JSON on the supervisor's standard input. A command line has less
//! room, and every user of the machine can read it.

use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Confinement;

/// Maximum length of the line in bytes: the largest capacity of a pipe, so that writing never
/// blocks.
pub(super) const LONGEST: usize = 1024 * 1024;

/// Command to start and its limits, with all placeholders replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaunchRequest {
    /// Words of the command.
    pub(super) command: Vec<String>,
    /// Working directory, if not that of the supervisor.
    pub(super) folder: Option<PathBuf>,
    /// Variables added to the environment.
    pub(super) environment: Vec<(String, String)>,
    /// Text written to standard input.
    pub(super) input: Option<String>,
    /// CPUs to run on, by kernel number; `None` for all CPUs of the supervisor.
    pub(super) processors: Option<Vec<usize>>,
    /// Drop the capability to listen on privileged ports.
    pub(super) unprivileged: bool,
    /// Resource limits and isolation.
    pub(super) limits: Confinement,
}

impl LaunchRequest {
    /// Returns the request as a line.
    ///
    /// # Errors
    /// The line is too long, or the name of the folder is not UTF-8.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        if line.len() > LONGEST {
            return Err(io::Error::other("what the server is told is longer than a megabyte"));
        }
        Ok(line)
    }

    /// Reads the line. The harness writes nothing after it until the server has started.
    ///
    /// # Errors
    /// The input ends before the line does, because the harness has exited, or the line is invalid.
    pub(super) fn read(mut input: impl Read) -> io::Result<LaunchRequest> {
        let (mut line, mut piece) = (Vec::new(), [0; 4096]);
        while line.last() != Some(&b'\n') {
            match input.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => line.extend(&piece[..count]),
            }
            if line.len() > LONGEST {
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
    fn an_order_arrives_as_it_was_given() {
        let order = LaunchRequest {
            command: vec!["a b".to_owned(), "\n\0\u{fffd}".to_owned()],
            input: Some("x\n".repeat(30_000)),
            limits: Confinement::strict(),
            ..LaunchRequest::default()
        };
        let line = order.line().expect("it is short");
        assert_eq!(LaunchRequest::read(&line[..]).expect("a line"), order);
        let cut = &line[..line.len() - 1];
        assert_eq!(
            LaunchRequest::read(cut).expect_err("no end").kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn an_order_that_no_pipe_holds_is_refused() {
        let order = LaunchRequest { input: Some("x".repeat(LONGEST)), ..LaunchRequest::default() };
        assert!(order.line().is_err());
    }
}
