//! What a server answers, apart from how it serves: one line in, one line out.

use super::calc;

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The value of an expression, or a line that begins with `error: `.
    Calc,
    /// The request itself.
    Echo,
}

impl Service {
    /// All of them.
    pub const ALL: &[Service] = &[Service::Calc, Service::Echo];

    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Service::Calc => "calc",
            Service::Echo => "echo",
        }
    }

    /// Appends the reply to one request. Neither has its line end.
    pub fn answer(self, request: &[u8], reply: &mut Vec<u8>) {
        match self {
            Service::Calc => calc::answer(request, reply),
            Service::Echo => reply.extend_from_slice(request),
        }
    }
}
