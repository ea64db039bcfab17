//! Results of the discovery experiments (`contract/`): properties that a server does not declare.

use shlex::try_join;

use crate::concurrency::Mechanism;
use crate::contract::Declared;

/// A detected property, from which the report's sentence and flags are made.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// The observation, as a sentence.
    pub seen: String,
    /// The declaration that follows from the observation; empty if none does.
    pub declares: Declared,
    /// An error reply received during the experiment.
    pub error: Option<Vec<u8>>,
    /// The concurrency model, if the experiment detected it.
    pub mechanism: Option<Mechanism>,
}

impl Discovery {
    /// Returns the observation, with the flags that declare it.
    pub(super) fn sentence(&self) -> String {
        let seen = &self.seen;
        let flags = self.declares.flags();
        match try_join(flags.iter().map(String::as_str)) {
            Ok(flags) if !flags.is_empty() => format!("{seen}; declare it with {flags}"),
            // A command-line argument cannot contain NUL.
            _ => seen.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use servers::OverloadPolicy;

    use super::*;

    fn discovery(seen: &str, declares: Declared) -> Discovery {
        Discovery { seen: seen.to_owned(), declares, ..Discovery::default() }
    }

    #[test]
    fn the_flags_of_a_discovery_are_words_of_a_command_line() {
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
        let nul = Declared { error_prefix: Some("\0".to_owned()), ..Declared::default() };
        assert_eq!(discovery("errors", nul).sentence(), "errors");
        assert_eq!(discovery("nothing", Declared::default()).sentence(), "nothing");
    }
}
