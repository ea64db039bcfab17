//! Conformance tests: cases, case results, and the evidence for each failure.
//!
//! A case knows the address and the contract of a server, but not its pattern, so no case can
//! favour a pattern. Only the cases of `results` use the oracle. All others first learn the
//! server's reply to a plain request and compare later replies with it. So a server with one fault
//! fails the cases that test for this fault, and no others.

mod assumptions;
mod case;
mod cases;
mod catalogue;
mod causes;
mod clients;
mod context;
mod experiments;
mod failure;
pub(crate) mod known_failures;
pub mod oracle;
mod precondition;
mod preflight;
mod property;
mod provocations;
mod requests;
mod resources;
mod round_trip;
mod run_case;
mod runner;
mod schedules;
mod server_result;
mod settings;
mod test_client;
mod threads;

pub use case::Case;
pub use catalogue::{TOPICS, cases};
pub use clients::{Clients, FilledSlots};
pub use context::{Evidence, Resources, ServerProcess, TestContext};
pub(crate) use experiments::stable_prefix;
pub use failure::{Detail, Failure};
pub use known_failures::KnownFailures;
pub use precondition::Precondition;
pub use preflight::{Blame, Blocks, PreflightFailure};
pub use round_trip::RoundTrip;
pub use settings::{OnCaseStart, Runner};
pub use test_client::{OverfillOutcome, TestClient};
