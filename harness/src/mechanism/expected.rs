//! What a server is expected to be built like (`--expect WORD`), and whether it is.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Mechanism, Seen};

/// A word for how a server is to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// One client at a time.
    Iterative,
    /// A process for each connection.
    Fork,
    /// Processes that are there before the clients.
    Prefork,
    /// A thread for each connection.
    #[value(alias = "thread", alias = "thread-per-connection")]
    Threads,
    /// A pool of threads.
    #[value(alias = "prethread")]
    ThreadPool,
    /// An event loop over select.
    Select,
    /// An event loop over poll.
    Poll,
    /// An event loop over epoll.
    Epoll,
    /// An event loop over io_uring.
    #[value(name = "io_uring", alias = "io-uring", alias = "uring")]
    #[serde(rename = "io_uring")]
    IoUring,
    /// An asynchronous runtime, with threads of its own or none.
    #[value(alias = "async-runtime")]
    Async,
    /// One thread waits for several clients, by whatever call.
    EventLoop,
    /// Several processes.
    Processes,
    /// One thread and no more.
    SingleThread,
}

/// A word that expects nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no way to build a server: expect one of {}", words().join(", "))]
pub struct NoSuchWord {
    /// What was given.
    pub word: String,
}

fn words() -> Vec<String> {
    Expected::value_variants().iter().map(ToString::to_string).collect()
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("none is skipped");
        formatter.write_str(value.get_name())
    }
}

impl FromStr for Expected {
    type Err = NoSuchWord;

    fn from_str(word: &str) -> Result<Expected, NoSuchWord> {
        <Expected as ValueEnum>::from_str(word.trim(), true)
            .map_err(|_| NoSuchWord { word: word.to_owned() })
    }
}

impl Expected {
    /// Whether the server is built so.
    ///
    /// # Errors
    /// In words: what was expected, and what was seen.
    pub fn met_by(self, seen: &Seen) -> Result<(), String> {
        if self.fits(seen) {
            return Ok(());
        }
        Err(format!("expected {self}, and found {}: {}", seen.mechanism, seen.words))
    }

    fn fits(self, seen: &Seen) -> bool {
        match self {
            Expected::Iterative => seen.is(Mechanism::Iterative),
            Expected::Fork => seen.is(Mechanism::Fork),
            Expected::Prefork => seen.is(Mechanism::Prefork),
            Expected::Threads => seen.is(Mechanism::Threads),
            Expected::ThreadPool => seen.is(Mechanism::ThreadPool),
            Expected::Select => seen.is(Mechanism::Select),
            Expected::Poll => seen.is(Mechanism::Poll),
            Expected::Epoll => seen.is(Mechanism::Epoll),
            Expected::IoUring => seen.is(Mechanism::IoUring),
            Expected::Async => seen.is(Mechanism::AsyncRuntime),
            Expected::EventLoop => seen.serves_several,
            Expected::Processes => seen.is(Mechanism::Fork) || seen.is(Mechanism::Prefork),
            Expected::SingleThread => seen.is_single_thread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for &expected in Expected::value_variants() {
            assert_eq!(expected.to_string().parse(), Ok(expected));
            let json = serde_json::to_string(&expected).expect("a word");
            assert_eq!(json, format!("\"{expected}\""));
        }
        assert_eq!("IO-Uring".parse(), Ok(Expected::IoUring));
    }

    #[test]
    fn a_wrong_word_is_told_the_right_ones() {
        let error = "kqueue".parse::<Expected>().expect_err("it is another system's").to_string();
        assert!(error.contains("`kqueue`") && error.contains("select, poll, epoll"), "{error}");
    }
}
