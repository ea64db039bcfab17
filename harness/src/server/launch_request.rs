//! What a supervisor is told to do, in one line of JSON on its standard input: the command line has
//! room for less, and everybody can read it.

use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Confinement;

/// The longest line, in bytes: what a pipe can be made to hold, so that nobody waits for a reader.
pub(super) const LONGEST: usize = 1024 * 1024;

/// What to start, and how to look after it. All is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaunchRequest {
    /// The command, word by word.
    pub(super) command: Vec<String>,
    /// Where it runs, if not where the supervisor does.
    pub(super) folder: Option<PathBuf>,
    /// What is added to its environment.
    pub(super) environment: Vec<(String, String)>,
    /// What it is given on standard input.
    pub(super) input: Option<String>,
    /// The processors that it may run on, by the kernel's numbers, if not all that the supervisor may.
    pub(super) processors: Option<Vec<usize>>,
    /// Without the privilege to listen on ports of the system's.
    pub(super) unprivileged: bool,
    /// What it may not do and have.
    pub(super) limits: Confinement,
}

impl LaunchRequest {
    /// The order as a line.
    ///
    /// # Errors
    /// It is too long, or the folder's name is no text.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        if line.len() > LONGEST {
            return Err(io::Error::other("what the server is told is longer than a megabyte"));
        }
        Ok(line)
    }

    /// Reads the line. Nothing follows it until the server is said to be started.
    ///
    /// # Errors
    /// There is none: the harness is gone.
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
