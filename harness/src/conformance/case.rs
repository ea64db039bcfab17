//! A case: one required behaviour and the experiment that tests it.

use super::context::TestContext;
use super::failure::Failure;
use super::precondition::Precondition;
use crate::contract::Contract;

/// A required behaviour with a stable name.
#[derive(Debug)]
pub struct Case {
    /// `topic/name`.
    pub name: &'static str,
    /// The requirement, in one sentence.
    pub requirement: &'static str,
    /// Source of the requirement: a standard, a manual page, a book, or the contract.
    pub source: &'static str,
    /// Preconditions: what a server must declare for the case to apply.
    pub needs: &'static [Precondition],
    /// The experiment. Returns `Ok` if the server meets the requirement.
    pub check: fn(&TestContext<'_>) -> Result<(), Failure>,
}

impl Case {
    /// Returns why the case does not apply to a server with this contract.
    pub fn unmet_by(&self, contract: &Contract) -> Option<String> {
        self.needs.iter().find_map(|need| need.met_by(contract).err())
    }

    /// Describes the servers that the case applies to.
    pub fn applies_to(&self) -> String {
        let required =
            self.needs.iter().filter(|need| !matches!(need, Precondition::Preferably(_)));
        let needs: Vec<String> = required.map(|need| need.words()).collect();
        match needs.is_empty() {
            true => "every server; one client is enough".to_owned(),
            false => format!("servers that {}", needs.join(" and ")),
        }
    }

    /// Returns whether the case can test its whole requirement on a server with this contract.
    pub fn suits(&self, contract: &Contract) -> bool {
        self.needs.iter().all(|need| match need {
            Precondition::Preferably(other) => other.met_by(contract).is_ok(),
            need => need.met_by(contract).is_ok(),
        })
    }
}
