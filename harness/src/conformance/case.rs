//! A case: one behaviour that is required of servers.

use super::context::TestContext;
use super::failure::Failure;
use super::precondition::Precondition;
use crate::contract::Contract;

/// One behaviour with a stable name.
#[derive(Debug)]
pub struct Case {
    /// `topic/name`.
    pub name: &'static str,
    /// What is required, in one sentence.
    pub requirement: &'static str,
    /// Where the requirement comes from: a standard, a manual page, a book, the contract.
    pub source: &'static str,
    /// What a server must declare for the case to apply.
    pub needs: &'static [Precondition],
    /// The experiment. It returns when the requirement is met.
    pub check: fn(&TestContext<'_>) -> Result<(), Failure>,
}

impl Case {
    /// Why the case does not apply to a server with that contract, if it does not.
    pub fn unmet_by(&self, contract: &Contract) -> Option<String> {
        self.needs.iter().find_map(|need| need.met_by(contract).err())
    }

    /// Which servers the case applies to, in words.
    pub fn applies_to(&self) -> String {
        let required =
            self.needs.iter().filter(|need| !matches!(need, Precondition::Preferably(_)));
        let needs: Vec<String> = required.map(|need| need.words()).collect();
        match needs.is_empty() {
            true => "every server; one client is enough".to_owned(),
            false => format!("servers that {}", needs.join(" and ")),
        }
    }

    /// Whether the case can try all that it is about on a server with that contract.
    pub fn suits(&self, contract: &Contract) -> bool {
        self.needs.iter().all(|need| match need {
            Precondition::Preferably(other) => other.met_by(contract).is_ok(),
            need => need.met_by(contract).is_ok(),
        })
    }
}
