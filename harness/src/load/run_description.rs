//! Description of a run.

use super::placement::Placement;

/// Description of a run, with the facts that [`RunResult`](super::RunResult) does not record.
#[derive(Clone, Debug)]
pub struct RunDescription {
    /// Name of the workload.
    pub workload: String,
    /// Number of connections requested.
    pub clients: usize,
    /// Offered rate of an open loop, in requests per second.
    pub offered_per_s: Option<f64>,
    /// Whether the server is expected to reject the background clients.
    pub expects_rejections: bool,
    /// Whether clients connect again when their connection closes.
    pub reconnects: bool,
    /// CPUs of the server and the generator.
    pub placement: Placement,
    /// Requested precision of the p99, if any: half-width of its confidence interval, relative to
    /// the p99.
    pub precision: Option<f64>,
}
