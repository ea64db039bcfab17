//! Results of the discovery experiments (cases of the topic `contract`), which find properties that
//! the server does not declare.

use serde::{Deserialize, Serialize};
use shlex::try_join;

use super::concurrency_model::ConcurrencyModel;
use crate::contract::Declared;
use crate::wire::Bytes;

/// A detected property of the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Discovery {
    /// The observation, as a sentence.
    pub observed: String,
    /// The properties to declare according to the observation; may be empty.
    pub declares: Declared,
    /// An error reply received during the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reply: Option<Bytes>,
    /// The concurrency model, if the experiment detected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_model: Option<ConcurrencyModel>,
}

impl Discovery {
    /// Returns the observation, with the flags that declare the property.
    pub(crate) fn sentence(&self) -> String {
        let observed = &self.observed;
        let flags = self.declares.flags();
        match try_join(flags.iter().map(String::as_str)) {
            Ok(flags) if !flags.is_empty() => format!("{observed}; declare it with {flags}"),
            // A command-line argument cannot contain NUL.
            _ => observed.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use servers::OverloadPolicy;

    use super::*;

    fn discovery(observed: &str, declares: Declared) -> Discovery {
        Discovery { observed: observed.to_owned(), declares, ..Discovery::default() }
    }

    #[test]
    fn the_flags_of_a_discovery_are_quoted_for_a_shell() {
        let declares = Declared {
            capacity: Some(4),
            when_full: Some(OverloadPolicy::Busy),
            busy_prefix: Some("-no 'room'".to_owned()),
            ..Declared::default()
        };
        let sentence = discovery("serves 4 at once", declares).sentence();
        let flags = sentence.strip_prefix("serves 4 at once; declare it with ").expect(&sentence);
        let words = shlex::split(flags).expect(flags);
        assert_eq!(words, ["--capacity", "4", "--when-full", "busy", "--busy-prefix=-no 'room'"]);
        let with_nul = Declared { error_prefix: Some("\0".to_owned()), ..Declared::default() };
        assert_eq!(discovery("errors", with_nul).sentence(), "errors");
        assert_eq!(discovery("nothing", Declared::default()).sentence(), "nothing");
    }
}
