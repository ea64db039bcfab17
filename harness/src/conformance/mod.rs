//! Judging a server: cases, verdicts, and the evidence behind them.
//!
//! A case knows an address and a contract, never a pattern: whom it judges it cannot know. Only
//! the cases of `results` ask the oracle. All others first learn what the server answers to a
//! plain request and compare with that, so that a server with one fault fails the cases that
//! name it and no others.

mod case;
mod cases;
mod catalogue;
mod connecting;
mod discovery;
mod finding;
mod judge;
pub(crate) mod known_failures;
mod need;
mod observe;
pub mod oracle;
mod padding;
mod party;
mod preflight;
mod property;
mod resources;
mod runner;
mod schedules;
mod subject;
mod verdict;

pub use case::Case;
pub(crate) use cases::contract::stable_prefix;
pub use catalogue::{TOPICS, cases};
pub use connecting::Incumbents;
pub use discovery::Discovery;
pub use finding::{FITTING, Finding};
pub use judge::Judge;
pub use known_failures::KnownFailures;
pub use need::Need;
pub use party::{Party, Stuffed};
pub use preflight::{Blame, Obstacle};
pub use resources::{Sample, held};
pub use runner::judge_all;
pub use subject::Subject;
pub use verdict::{Judgement, Kind, Known, KnownVerdict, State, Verdict};
