//! A case: one required behaviour and the experiment that tests it.

use super::context::TestContext;
use super::failure::Failure;
use super::precondition::Precondition;
use crate::contract::{Broadcast, Contract};
use crate::results::Level;

/// A required behaviour with a stable name.
#[derive(Debug)]
pub struct Case {
    /// `topic/name`.
    pub name: &'static str,
    /// The requirement, in one sentence.
    pub requirement: &'static str,
    /// Source of the requirement: a standard, a manual page, a book, or the contract.
    pub source: &'static str,
    /// What a server must declare for the case to apply.
    pub preconditions: &'static [Precondition],
    /// The level of the requirement.
    pub level: Level,
    /// The experiment. Returns `Ok` if the server meets the requirement.
    pub check: fn(&TestContext<'_>) -> Result<(), Failure>,
}

impl Case {
    /// Returns why the case does not apply to a server with this contract, or `None` if it applies.
    pub fn unmet_precondition(&self, contract: &Contract) -> Option<String> {
        let needs_reply = !self.preconditions.contains(&Precondition::Broadcast);
        if contract.broadcast == Some(Broadcast::Others) && needs_reply {
            let reason = "the sender of a message gets no reply (--broadcast others)";
            return Some(reason.to_owned());
        }
        self.preconditions
            .iter()
            .find_map(|precondition| precondition.check_against(contract).err())
    }

    /// Returns whether the case assumes that clients receive only the replies to their own
    /// requests, so that it cannot judge a server that broadcasts.
    pub(super) fn needs_own_replies(&self) -> bool {
        self.preconditions.iter().any(|precondition| precondition.needs_own_replies())
    }

    /// Returns whether the case judges replies, so that it cannot judge a server that answers plain
    /// requests in another way than declared.
    pub(super) fn judges_replies(&self) -> bool {
        !self.preconditions.contains(&Precondition::AnyReply)
    }

    /// Returns the number of clients that must be served at a time, if the contract does not
    /// declare whether they are.
    pub fn clients_to_try(&self, contract: &Contract) -> Option<usize> {
        let clients = self.preconditions.iter().filter_map(|precondition| match precondition {
            Precondition::Clients(number) => Some(*number),
            _ => None,
        });
        clients.max().filter(|_| contract.capacity.is_none())
    }

    /// Describes the servers that the case applies to.
    pub fn applies_to(&self) -> String {
        let restrictions = self.preconditions.iter().filter(|it| it.is_restriction());
        let descriptions: Vec<String> =
            restrictions.map(|precondition| precondition.description()).collect();
        match descriptions.split_last() {
            None => "every server".to_owned(),
            Some((only, [])) => format!("servers that {only}"),
            Some((last, others)) => format!("servers that {} and {last}", others.join(", ")),
        }
    }

    /// Returns whether the case can test its whole requirement on a server with this contract.
    pub fn suits(&self, contract: &Contract) -> bool {
        self.preconditions.iter().all(|precondition| match precondition {
            Precondition::Optional(preferred) => preferred.check_against(contract).is_ok(),
            required => required.check_against(contract).is_ok(),
        })
    }
}
