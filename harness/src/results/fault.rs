//! Faults: the ways in which a server can fail a case.

use serde::{Deserialize, Serialize};

/// The way in which a server failed a case. The title and the severity in reports follow from the
/// fault and the case.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The server does not meet the requirement of the case, in a way that only this case tests.
    #[default]
    Requirement,

    // The launch of the server under test.
    /// The command cannot be executed.
    NotRun,
    /// The server exits before it listens.
    LaunchExits,
    /// The server exceeds a limit before it listens.
    LaunchKilled,
    /// The server does not listen in time.
    LaunchSilent,
    /// The server listens, but does not print in time that it is ready.
    LaunchNotReady,
    /// The server listens on another port.
    LaunchElsewhere,

    /// The server provides another service than it declares.
    OtherService,

    // The process of the server.
    /// The server exits although no client may make it exit.
    Exits,
    /// The server creates more threads and processes than its limit.
    TaskLimit,
    /// The server used the CPUs without pause, and was killed.
    SpinLimit,
    /// No client is served any more.
    Blocks,

    // Connections.
    /// A connection is refused.
    Refuses,
    /// A connection is not established in time.
    DoesNotAccept,
    /// A client gets the busy line, or is rejected until its timeout, although a connection slot is
    /// free.
    Rejects,
    /// The server resets the connection.
    Resets,
    /// The server closes the connection before a reply.
    ClosesBeforeReply,
    /// The server closes the connection after a part of a reply.
    ClosesInReply,
    /// The server closes the connection after the reply, before the next request.
    ClosesAfterReply,
    /// The server closes the connection earlier than it may.
    ClosesEarly,
    /// The server does not close the connection.
    StaysOpen,

    // Replies.
    /// The server sends no reply, and keeps the connection open.
    NoReply,
    /// A client gets no reply while other clients are connected.
    Starves,
    /// The server sends a part of a reply, and keeps the connection open.
    PartialReply,
    /// A reply ends with another line end than the declared one.
    OtherEnd,
    /// The server sends no reply to the request that follows the tested one.
    NoNextReply,
    /// The server stops reading.
    DoesNotRead,
    /// A reply does not end.
    EndlessReply,
    /// A reply is an empty line.
    EmptyReply,
    /// A reply has no terminator.
    UnterminatedReply,
    /// A reply differs from the required one.
    WrongReply,
    /// The reply to the request that follows the tested one differs from the required one.
    WrongNextReply,
    /// A reply belongs to another request.
    OtherReply,
    /// A valid request gets an error reply.
    ErrorReply,
    /// An invalid request gets a reply that is no error.
    NoErrorReply,
    /// An echo server changes bytes that are not valid UTF-8.
    ChangesInvalidUtf8,
    /// A reply has the required value, and undeclared text around it.
    ReplyFormat,
    /// The server sends bytes that belong to no request.
    ExtraBytes,

    // Further instances, and the end of a server.
    /// An instance of the server exits before it listens.
    ExitsBeforeListening,
    /// An instance of the server does not listen.
    DoesNotListen,
    /// An instance of the server listens on another port.
    ListensElsewhere,
    /// An instance of the server listens, although it must report an error.
    Listens,
    /// A server that must report an error exits with status 0.
    ExitsWithSuccess,
    /// A server that must report an error exits without a message.
    ExitsSilently,
    /// A signal kills a server that must exit by itself.
    Killed,
    /// The server does not exit.
    DoesNotExit,
    /// The server exits with another status than the required one.
    ExitStatus,
    /// Processes of the server run after its exit.
    ProcessesRemain,
    /// Child processes that have exited are not waited for.
    Zombies,

    // Declared limits.
    /// More than declared: connections, waiting connections, bytes of a request.
    MoreThanDeclared,
    /// Less than declared.
    LessThanDeclared,
    /// A connection over the limit is not rejected.
    DoesNotReject,
    /// The required outcome, too late.
    TooLate,

    // Execution of code.
    /// A request created a file on the server's host.
    FileCreated,
    /// A request evaluated attributes of objects.
    AttributesEvaluated,
}

impl Fault {
    /// All faults.
    pub const ALL: &[Fault] = &[
        Fault::Requirement,
        Fault::NotRun,
        Fault::LaunchExits,
        Fault::LaunchKilled,
        Fault::LaunchSilent,
        Fault::LaunchNotReady,
        Fault::LaunchElsewhere,
        Fault::OtherService,
        Fault::Exits,
        Fault::TaskLimit,
        Fault::SpinLimit,
        Fault::Blocks,
        Fault::Refuses,
        Fault::DoesNotAccept,
        Fault::Rejects,
        Fault::Resets,
        Fault::ClosesBeforeReply,
        Fault::ClosesInReply,
        Fault::ClosesAfterReply,
        Fault::ClosesEarly,
        Fault::StaysOpen,
        Fault::NoReply,
        Fault::Starves,
        Fault::PartialReply,
        Fault::OtherEnd,
        Fault::NoNextReply,
        Fault::DoesNotRead,
        Fault::EndlessReply,
        Fault::EmptyReply,
        Fault::UnterminatedReply,
        Fault::WrongReply,
        Fault::WrongNextReply,
        Fault::OtherReply,
        Fault::ErrorReply,
        Fault::NoErrorReply,
        Fault::ChangesInvalidUtf8,
        Fault::ReplyFormat,
        Fault::ExtraBytes,
        Fault::ExitsBeforeListening,
        Fault::DoesNotListen,
        Fault::ListensElsewhere,
        Fault::Listens,
        Fault::ExitsWithSuccess,
        Fault::ExitsSilently,
        Fault::Killed,
        Fault::DoesNotExit,
        Fault::ExitStatus,
        Fault::ProcessesRemain,
        Fault::Zombies,
        Fault::MoreThanDeclared,
        Fault::LessThanDeclared,
        Fault::DoesNotReject,
        Fault::TooLate,
        Fault::FileCreated,
        Fault::AttributesEvaluated,
    ];

    /// Returns whether only the failed case tests for the fault.
    pub(super) fn is_requirement(&self) -> bool {
        *self == Fault::Requirement
    }

    /// Returns whether the server under test could not be launched, so that no case ran.
    pub fn is_launch(self) -> bool {
        matches!(
            self,
            Fault::NotRun
                | Fault::LaunchExits
                | Fault::LaunchKilled
                | Fault::LaunchSilent
                | Fault::LaunchNotReady
                | Fault::LaunchElsewhere
        )
    }

    /// Returns whether a client waited in vain: for a connection, a reply, or room to send.
    pub fn is_hang(self) -> bool {
        matches!(
            self,
            Fault::DoesNotAccept
                | Fault::NoReply
                | Fault::Starves
                | Fault::NoNextReply
                | Fault::PartialReply
                | Fault::DoesNotRead
        )
    }

    /// Returns whether a reply has unexpected content, or bytes arrive that are no reply.
    pub fn is_content(self) -> bool {
        matches!(
            self,
            Fault::WrongReply
                | Fault::WrongNextReply
                | Fault::OtherReply
                | Fault::ErrorReply
                | Fault::NoErrorReply
                | Fault::ExtraBytes
        )
    }

    /// Returns the fault of a server that behaves in this way on the request that follows the
    /// tested one.
    #[must_use]
    pub fn on_next_request(self) -> Fault {
        match self {
            Fault::ClosesBeforeReply | Fault::ClosesInReply | Fault::Resets => {
                Fault::ClosesAfterReply
            }
            Fault::NoReply | Fault::PartialReply | Fault::DoesNotRead => Fault::NoNextReply,
            fault if fault.is_content() => Fault::WrongNextReply,
            fault => fault,
        }
    }
}
