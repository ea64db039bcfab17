//! The cases, one module per topic.

pub(super) mod back_pressure;
pub(super) mod contract;
pub(super) mod disconnects;
pub(super) mod exhaustion;
pub(super) mod fairness;
pub(super) mod framing;
pub(super) mod idle;
pub(super) mod isolation;
pub(super) mod leaks;
pub(super) mod malformed;
pub(super) mod oversize;
pub(super) mod refusal;
pub(super) mod results;
pub(super) mod shutdown;
pub(super) mod startup;
pub(super) mod timeouts;
pub(super) mod wire;
