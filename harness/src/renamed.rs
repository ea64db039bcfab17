//! Flags, keys, values and cases that were renamed. An error about an old name gives the new name.

/// Old and new names.
pub(crate) const RENAMED: &[(&str, &str)] = &[
    ("undecided", "inconclusive"),
    ("loose", "warn"),
    ("ending", "shutdown"),
    ("--ending", "--shutdown"),
    ("expect", "concurrency-model"),
    ("--expect", "--concurrency-model"),
    ("expected", "known-failure"),
    ("--expected", "--known-failures"),
    ("contract/ending", "contract/shutdown"),
    ("contract/mechanism", "contract/concurrency-model"),
    ("refusal/incumbent-unharmed", "refusal/connected-clients-unaffected"),
    ("refusal/place-freed-by-fin", "refusal/slot-freed-by-fin"),
    ("refusal/place-freed-by-rst", "refusal/slot-freed-by-rst"),
    ("refusal/place-freed-in-request", "refusal/slot-freed-in-request"),
    ("refusal/taken-in-is-served-later", "refusal/accepted-is-served-later"),
    ("exhaustion/newcomers", "exhaustion/new-connections"),
    ("exhaustion/old-clients", "exhaustion/connected-clients"),
    ("shutdown/reset-meanwhile", "shutdown/reset-while-draining"),
    ("exporters", "formats"),
    ("--replays", "--counterexamples"),
    ("limits", "confinement"),
    ("clients-per-life", "connections-before-exit"),
    ("binary", "two-operands"),
    ("wire/clients-per-life", "wire/connections-before-exit"),
    ("held", "idle-memory"),
];

/// Returns a message that gives the new name of `old`. `None` if this is not an old name, or if the
/// new name is not valid where the old one was used.
pub(crate) fn hint(old: &str, is_valid: impl Fn(&str) -> bool) -> Option<String> {
    let (_, new) = RENAMED.iter().find(|(name, new)| *name == old && is_valid(new))?;
    Some(format!("`{old}` is now `{new}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_new_name_is_renamed_again_and_a_hint_is_given_only_for_a_valid_new_name() {
        for (old, new) in RENAMED {
            assert_eq!(hint(new, |_| true), None, "{new} is renamed again");
            assert_eq!(hint(old, |name| name == *new), Some(format!("`{old}` is now `{new}`")));
            assert_eq!(hint(old, |name| name != *new), None, "{new} is not valid");
        }
    }
}
