//! Required concurrency model of a server (`--concurrency-model MODEL`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Required concurrency model of a server: one model, or a class of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequiredModel {
    /// One connection at a time.
    Iterative,
    /// One process per connection.
    Fork,
    /// Worker processes, forked before the first connection.
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
    /// An asynchronous runtime, with any number of threads.
    #[serde(alias = "async")]
    AsyncRuntime,
    /// One thread that waits for several connections, with any system call.
    EventLoop,
    /// Fork or prefork.
    Processes,
    /// One process with one thread. Helper threads of a runtime that runs programs on one thread,
    /// such as Node.js, do not count.
    SingleThread,
}

/// Error for the name of an unknown concurrency model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown concurrency model `{name}`; expected one of {}", names().join(", "))]
pub struct UnknownModel {
    /// The unknown name.
    pub name: String,
}

fn names() -> Vec<&'static str> {
    RequiredModel::ALL.iter().map(|model| model.name()).collect()
}

impl RequiredModel {
    /// All models.
    pub const ALL: &[RequiredModel] = &[
        RequiredModel::Iterative,
        RequiredModel::Fork,
        RequiredModel::Prefork,
        RequiredModel::Threads,
        RequiredModel::ThreadPool,
        RequiredModel::Select,
        RequiredModel::Poll,
        RequiredModel::Epoll,
        RequiredModel::IoUring,
        RequiredModel::AsyncRuntime,
        RequiredModel::EventLoop,
        RequiredModel::Processes,
        RequiredModel::SingleThread,
    ];

    /// Returns the model's name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            RequiredModel::Iterative => "iterative",
            RequiredModel::Fork => "fork",
            RequiredModel::Prefork => "prefork",
            RequiredModel::Threads => "threads",
            RequiredModel::ThreadPool => "thread-pool",
            RequiredModel::Select => "select",
            RequiredModel::Poll => "poll",
            RequiredModel::Epoll => "epoll",
            RequiredModel::IoUring => "io_uring",
            RequiredModel::AsyncRuntime => "async-runtime",
            RequiredModel::EventLoop => "event-loop",
            RequiredModel::Processes => "processes",
            RequiredModel::SingleThread => "single-thread",
        }
    }

    /// Returns the alternative names that `--concurrency-model` accepts.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            RequiredModel::Threads => &["thread", "thread-per-connection"],
            RequiredModel::ThreadPool => &["prethread"],
            RequiredModel::IoUring => &["io-uring", "uring"],
            RequiredModel::AsyncRuntime => &["async"],
            _ => &[],
        }
    }
}

impl fmt::Display for RequiredModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for RequiredModel {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<RequiredModel, UnknownModel> {
        let matches = |known: &&str| known.eq_ignore_ascii_case(name.trim());
        let model = RequiredModel::ALL
            .iter()
            .find(|model| matches(&model.name()) || model.aliases().iter().any(matches));
        model.copied().ok_or_else(|| UnknownModel { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_round_trips() {
        for &model in RequiredModel::ALL {
            assert_eq!(model.to_string().parse(), Ok(model));
            let json = serde_json::to_string(&model).expect("a JSON string");
            assert_eq!(json, format!("\"{model}\""));
        }
        assert_eq!("IO-Uring".parse(), Ok(RequiredModel::IoUring));
        assert_eq!("async".parse(), Ok(RequiredModel::AsyncRuntime));
        assert_eq!(serde_json::from_str("\"async\"").ok(), Some(RequiredModel::AsyncRuntime));
    }

    #[test]
    fn the_error_for_an_unknown_name_lists_the_valid_ones() {
        let error =
            "kqueue".parse::<RequiredModel>().expect_err("not a model on Linux").to_string();
        assert!(error.contains("`kqueue`") && error.contains("select, poll, epoll"), "{error}");
    }
}
