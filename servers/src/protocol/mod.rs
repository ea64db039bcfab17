//! The line protocol: bytes in, replies out, without I/O.

pub mod calc;
mod replies;
mod service;
mod session;

pub use replies::BUSY;
pub use service::Service;
pub use session::{OUTPUT_BOUND, Session};
