//! Severities of faults.

use serde::Serialize;

/// Severity of a fault for the users of the server. The variants are ordered, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A client receives the data of other clients.
    Disclosure,
    /// The server does not run or does not reply, so that nothing else can be tested.
    NoReply,
    /// The server returns wrong results.
    WrongResults,
    /// A client can run code on the server's host, and so can cause all faults below.
    CodeExecution,
    /// One client can crash or block the server for all clients.
    Outage,
    /// A client gets no reply, or the reply to another client's request.
    LostReplies,
    /// One client degrades the service for others.
    AffectsOthers,
    /// The server violates its declared contract.
    ContractViolation,
    /// The server leaks resources, so that it cannot run for long.
    ResourceLeak,
    /// A fault at startup or shutdown, which affects the operator of the server.
    StartupOrShutdown,
    /// A fault that only a lack of descriptors shows.
    Exhaustion,
    /// Minor faults.
    Minor,
}

impl Severity {
    /// Returns the name of this severity in reports.
    pub fn label(self) -> &'static str {
        match self {
            Severity::Disclosure => "a client receives the data of other clients",
            Severity::NoReply => "the server does not run or does not reply",
            Severity::WrongResults => "wrong results",
            Severity::CodeExecution => "a client can run code on the host",
            Severity::Outage => "one client can crash or block the server",
            Severity::LostReplies => "replies are lost or mixed up",
            Severity::AffectsOthers => "one client affects others",
            Severity::ContractViolation => "the contract is violated",
            Severity::ResourceLeak => "resource leak",
            Severity::StartupOrShutdown => "startup and shutdown",
            Severity::Exhaustion => "behaviour without free descriptors",
            Severity::Minor => "minor fault",
        }
    }
}
