//! The line protocol: bytes in, replies out. Nothing here reads, writes or waits.

pub mod calc;
mod replies;
mod service;
mod session;

pub use replies::BUSY;
pub use service::Service;
pub use session::{OUTPUT_BOUND, Session};
