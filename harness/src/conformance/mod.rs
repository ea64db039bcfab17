//! Judging a server: cases, verdicts, and the evidence behind them.
//!
//! A case knows an address and a contract, never a pattern: whom it judges it cannot know. Only
//! the cases of `results` ask the oracle. All others first learn what the server answers to a
//! plain request and compare with that, so that a server with one fault fails the cases that
//! name it and no others.

mod case;
mod case_result;
mod cases;
mod catalogue;
mod connecting;
mod context;
mod discovery;
mod experiments;
mod failure;
pub(crate) mod known_failures;
pub mod oracle;
mod padding;
mod precondition;
mod preflight;
mod property;
mod resources;
mod runner;
mod schedules;
mod settings;
mod test_client;

pub use case::Case;
pub use case_result::{CaseResult, Kind, Known, KnownVerdict, State, Verdict};
pub(crate) use cases::contract::stable_prefix;
pub use catalogue::{TOPICS, cases};
pub use connecting::Incumbents;
pub use context::TestContext;
pub use discovery::Discovery;
pub use failure::{FITTING, Failure};
pub use known_failures::KnownFailures;
pub use precondition::Precondition;
pub use preflight::{Blame, Obstacle};
pub use resources::{Sample, held};
pub use runner::judge_all;
pub use settings::Runner;
pub use test_client::{Stuffed, TestClient};
