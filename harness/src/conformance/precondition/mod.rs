//! Preconditions: what a contract must declare for a case to apply.
//!
//! Preconditions are checked before the case runs, so that a failure never becomes "not
//! applicable". One exception: if no connection limit is declared, a case with several clients
//! first tries whether they are served ([`Precondition::Clients`]).

mod text;

use servers::{OverloadPolicy, Service};

use super::requests::max_padded;
use crate::contract::{Contract, ShutdownPolicy};
use crate::wire::ReplyFraming;

/// Maximum number of connections that a case opens to reach a server's connection limit.
pub(super) const MAX_CLIENTS: usize = 256;

/// A declaration that a case needs in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The server is a calculator.
    Calc,
    /// The server is an echo server.
    Echo,
    /// Clients receive only the replies to their own requests: no broadcast is declared.
    OwnReplies,
    /// The server sends the messages of a client to other clients.
    Broadcast,
    /// The connection limit is declared.
    Capacity,
    /// The overload policy is declared.
    OverloadPolicy,
    /// The server serves at least this number of connections at a time. If the connection limit is
    /// undeclared, the case tries it and does not apply to a server that serves fewer.
    Clients(usize),
    /// The connection limit and the overload policy are declared, and a case can reach the limit.
    Full,
    /// The declared connection limit plus queue is at most `MAX_CLIENTS`.
    Fillable,
    /// The server accepts connections over the limit and lets them wait for a slot.
    Queue,
    /// The declared overload policy equals this policy.
    WhenFull(OverloadPolicy),
    /// The overload policy rejects connections over the limit rather than letting them wait.
    RejectsOverLimit,
    /// The longest permitted request is declared.
    MaxLine,
    /// The contract permits requests of this number of bytes.
    RequestsOf(usize),
    /// A valid request can be padded to this number of bytes.
    Padding(usize),
    /// A valid request can be padded to one byte more than the longest permitted request.
    PaddingOverLimit,
    /// Integers have 64 bits, and overflow is an error.
    Overflow,
    /// The prefix of error replies is declared.
    ErrorPrefix,
    /// The server closes idle connections.
    IdleTimeout,
    /// The behaviour on SIGTERM and SIGINT is declared.
    Shutdown,
    /// The server drains connections on SIGTERM.
    Drain,
    /// The server exits at once on SIGTERM.
    Abort,
    /// The host to listen on can be set.
    Host,
    /// The server can listen on ::1.
    Ipv6,
    /// Some requests must get an error reply.
    ErrorReplies,
    /// The calculator's dialect includes this expression.
    Supports(&'static str),
    /// Requests have a terminator, such as a line feed.
    DelimitedRequests,
    /// Requests are lines.
    Lines,
    /// A request may contain this byte.
    AcceptsByte(u8),
    /// Requests can be pipelined.
    Pipelining,
    /// Replies end with a fixed byte sequence.
    TerminatedReplies,
    /// The number of requests per connection is not limited.
    UnlimitedRequests,
    /// The server does not exit after a number of clients.
    NoExitAfterConnections,
    /// The harness launches the server.
    Launched,
    /// The port to listen on can be set.
    Port,
    /// The server sends a greeting or needs a handshake.
    Greeting,
    /// The server has a quit command.
    Quit,
    /// The number of requests per connection is limited.
    LimitedRequests,
    /// The server exits after a declared number of clients.
    ExitsAfterConnections,
    /// The case judges no reply: of a plain request, it only needs to know that the server serves
    /// it. So it can judge a server that answers plain requests in another way than declared. This
    /// restricts no contract.
    AnyReply,
    /// If this precondition holds, the case tests more. If not, the case still applies.
    Optional(&'static Precondition),
}

impl Precondition {
    /// Checks this precondition against a contract.
    ///
    /// # Errors
    /// Returns why the case does not apply.
    pub fn check_against(self, contract: &Contract) -> Result<(), String> {
        self.implied().iter().try_for_each(|implied| implied.check_against(contract))?;
        match self.holds(contract) {
            true => Ok(()),
            false => Err(self.reason(contract)),
        }
    }

    /// Returns whether this precondition restricts the servers to which a case applies.
    pub(super) fn is_restriction(&self) -> bool {
        !matches!(self, Precondition::AnyReply | Precondition::Optional(_))
    }

    /// Returns whether this precondition, or one that it implies, is
    /// [`OwnReplies`](Self::OwnReplies).
    pub(super) fn needs_own_replies(self) -> bool {
        self == Precondition::OwnReplies
            || self.implied().iter().any(|implied| implied.needs_own_replies())
    }

    /// Returns further preconditions that must also hold.
    fn implied(self) -> &'static [Precondition] {
        use Precondition::*;
        match self {
            Clients(_) => &[OwnReplies, UnlimitedRequests, NoExitAfterConnections],
            Full => &[
                OwnReplies,
                UnlimitedRequests,
                NoExitAfterConnections,
                Capacity,
                OverloadPolicy,
                Fillable,
            ],
            WhenFull(_) | RejectsOverLimit => &[OverloadPolicy],
            Shutdown | Host | Ipv6 => &[Launched],
            Drain | Abort => &[Shutdown],
            PaddingOverLimit => &[MaxLine],
            _ => &[],
        }
    }

    /// Returns whether the contract meets this precondition, without its implied preconditions.
    fn holds(self, contract: &Contract) -> bool {
        let (dialect, wire) = (contract.dialect, &contract.wire);
        match self {
            Precondition::Calc => contract.service == Service::Calc,
            Precondition::Echo => contract.service == Service::Echo,
            Precondition::OwnReplies => contract.broadcast.is_none(),
            Precondition::Broadcast => contract.broadcast.is_some(),
            Precondition::Capacity => contract.capacity.is_some(),
            Precondition::OverloadPolicy => contract.when_full.is_some(),
            Precondition::Clients(min) => contract.capacity.is_none_or(|limit| limit >= min),
            Precondition::Full | Precondition::AnyReply | Precondition::Optional(_) => true,
            Precondition::Fillable => accepted(contract).is_none_or(|number| number <= MAX_CLIENTS),
            Precondition::Queue => contract.queue.is_some_and(|length| length > 0),
            Precondition::WhenFull(policy) => contract.when_full == Some(policy),
            Precondition::RejectsOverLimit => contract.when_full != Some(OverloadPolicy::Wait),
            Precondition::MaxLine => contract.max_line.is_some(),
            Precondition::RequestsOf(bytes) => contract.max_line.is_none_or(|limit| limit >= bytes),
            Precondition::Padding(bytes) => max_padded(contract) >= bytes,
            Precondition::PaddingOverLimit => {
                contract.max_line.is_some_and(|limit| max_padded(contract) > limit)
            }
            Precondition::Overflow => dialect.overflow_is_error,
            Precondition::ErrorPrefix => contract.error_prefix.is_some(),
            Precondition::IdleTimeout => contract.idle_timeout.is_some(),
            Precondition::ErrorReplies => {
                contract.service != Service::Echo || contract.max_line.is_some()
            }
            Precondition::Shutdown => contract.shutdown.is_some(),
            Precondition::Drain => contract.shutdown == Some(ShutdownPolicy::Drain),
            Precondition::Abort => contract.shutdown == Some(ShutdownPolicy::Abort),
            Precondition::Host => contract.takes_host,
            Precondition::Ipv6 => contract.ipv6,
            Precondition::Port => contract.takes_port,
            Precondition::Launched => contract.is_launched,
            Precondition::Supports(expression) => dialect.reads(expression),
            Precondition::DelimitedRequests => wire.is_delimited(),
            Precondition::Lines => wire.has_lines(),
            Precondition::AcceptsByte(byte) => wire.can_contain(byte),
            Precondition::Pipelining => wire.is_pipelined(),
            Precondition::TerminatedReplies => matches!(wire.reply_end, ReplyFraming::Bytes(_)),
            Precondition::UnlimitedRequests => wire.requests().is_none(),
            Precondition::LimitedRequests => wire.requests().is_some(),
            Precondition::NoExitAfterConnections => wire.connections_before_exit.is_none(),
            Precondition::ExitsAfterConnections => wire.connections_before_exit.is_some(),
            Precondition::Greeting => wire.greeting.is_some() || !wire.handshake.is_empty(),
            Precondition::Quit => wire.quit.is_some(),
        }
    }
}

/// Returns the number of connections that a server accepts: the limit and the queue, if declared.
fn accepted(contract: &Contract) -> Option<usize> {
    contract.capacity.map(|limit| limit + contract.queue.unwrap_or(0))
}
