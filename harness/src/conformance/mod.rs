//! Conformance tests: cases, case results, and the evidence for each failure.
//!
//! A case knows the address and the contract of a server, but not its pattern, so it cannot favour
//! one. Only the cases of `results` use the oracle. All others first learn the server's reply to a
//! plain request and compare later replies with it. So a server with one fault fails the cases that
//! test for this fault, and no others.

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
mod quoted;
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
pub use failure::{Detail, FITTING, Failure};
pub use known_failures::KnownFailures;
pub use precondition::Precondition;
pub use preflight::{Blame, Obstacle};
pub use quoted::Quoted;
pub use resources::{Sample, held};
pub use runner::judge_all;
pub use settings::Runner;
pub use test_client::{Stuffed, TestClient};
