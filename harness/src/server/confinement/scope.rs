//! Landlock scopes (landlock(7)): processes of a domain cannot send signals to other processes, or
//! connect to their abstract Unix sockets.

use std::io;

use landlock::{
    BitFlags, CompatLevel, Compatible, CreateRulesetError, RestrictSelfError, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

/// A Landlock domain that a process can enter.
#[derive(Debug)]
pub(in crate::server) struct Domain(RulesetCreated);

impl Domain {
    /// Creates a domain that restricts these scopes and nothing else.
    ///
    /// # Errors
    /// The kernel does not support all of the scopes.
    pub(super) fn new(scopes: impl Into<BitFlags<Scope>>) -> io::Result<Domain> {
        let ruleset = Ruleset::default()
            // By default, unsupported scopes would be ignored.
            .set_compatibility(CompatLevel::HardRequirement)
            .scope(scopes)
            .and_then(Ruleset::create)
            .map_err(os_error)?;
        // The caller decides on `no_new_privs`, because root can enter a domain without it.
        Ok(Domain(ruleset.no_new_privs(false)))
    }

    /// Moves this process permanently into the domain. The process must have a single thread. Does
    /// not allocate and takes no lock.
    ///
    /// # Errors
    /// The process has neither CAP_SYS_ADMIN nor `no_new_privs`.
    pub(in crate::server) fn enter(self) -> io::Result<()> {
        self.0.restrict_self().map(drop).map_err(os_error)
    }
}

/// Returns the error of the failed system call. Does not allocate.
fn os_error(error: RulesetError) -> io::Error {
    match error {
        RulesetError::CreateRuleset(CreateRulesetError::CreateRulesetCall { source, .. })
        | RulesetError::RestrictSelf(RestrictSelfError::RestrictSelfCall { source, .. }) => source,
        _ => io::ErrorKind::Unsupported.into(),
    }
}
