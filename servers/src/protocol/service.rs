//! The services: one request line in, one reply line out.

use super::calc;

/// Computes the reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Replies with the value of an expression, or with a line that begins with `error: `.
    Calc,
    /// Replies with the request.
    Echo,
}

impl Service {
    /// All services.
    pub const ALL: &[Service] = &[Service::Calc, Service::Echo];

    /// Returns the name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Service::Calc => "calc",
            Service::Echo => "echo",
        }
    }

    /// Appends the reply to one request. Neither has a line end.
    pub fn answer(self, request: &[u8], reply: &mut Vec<u8>) {
        match self {
            Service::Calc => calc::answer(request, reply),
            Service::Echo => reply.extend_from_slice(request),
        }
    }
}
