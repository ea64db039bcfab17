//! Expected concurrency model of a server (`--expect MODEL`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A concurrency model that a server can be expected to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// One connection at a time.
    Iterative,
    /// One process per connection.
    Fork,
    /// Processes that are forked before the first connection.
    Prefork,
    /// One thread per connection.
    Threads,
    /// A pool of threads.
    ThreadPool,
    /// An event loop over select.
    Select,
    /// An event loop over poll.
    Poll,
    /// An event loop over epoll.
    Epoll,
    /// An event loop over io_uring.
    #[serde(rename = "io_uring")]
    IoUring,
    /// An asynchronous runtime, with or without threads of its own.
    Async,
    /// One thread that waits for several connections, with any system call.
    EventLoop,
    /// Several processes.
    Processes,
    /// Exactly one thread.
    SingleThread,
}

/// A word that names no concurrency model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no way to build a server: expect one of {}", words().join(", "))]
pub struct NoSuchWord {
    /// The given word.
    pub word: String,
}

fn words() -> Vec<&'static str> {
    Expected::ALL.iter().map(|expected| expected.name()).collect()
}

impl Expected {
    /// All models.
    pub const ALL: &[Expected] = &[
        Expected::Iterative,
        Expected::Fork,
        Expected::Prefork,
        Expected::Threads,
        Expected::ThreadPool,
        Expected::Select,
        Expected::Poll,
        Expected::Epoll,
        Expected::IoUring,
        Expected::Async,
        Expected::EventLoop,
        Expected::Processes,
        Expected::SingleThread,
    ];

    /// Returns its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Expected::Iterative => "iterative",
            Expected::Fork => "fork",
            Expected::Prefork => "prefork",
            Expected::Threads => "threads",
            Expected::ThreadPool => "thread-pool",
            Expected::Select => "select",
            Expected::Poll => "poll",
            Expected::Epoll => "epoll",
            Expected::IoUring => "io_uring",
            Expected::Async => "async",
            Expected::EventLoop => "event-loop",
            Expected::Processes => "processes",
            Expected::SingleThread => "single-thread",
        }
    }

    /// Returns the alternative names that flags accept.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            Expected::Threads => &["thread", "thread-per-connection"],
            Expected::ThreadPool => &["prethread"],
            Expected::IoUring => &["io-uring", "uring"],
            Expected::Async => &["async-runtime"],
            _ => &[],
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Expected {
    type Err = NoSuchWord;

    fn from_str(word: &str) -> Result<Expected, NoSuchWord> {
        let is_word = |name: &&str| name.eq_ignore_ascii_case(word.trim());
        let found = Expected::ALL
            .iter()
            .find(|expected| is_word(&expected.name()) || expected.aliases().iter().any(is_word));
        found.copied().ok_or_else(|| NoSuchWord { word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for &expected in Expected::ALL {
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
