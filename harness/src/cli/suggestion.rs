//! Suggestions for mistyped names.

/// Maximum number of inserted, deleted, replaced and swapped letters between a mistyped name and
/// the suggested name.
const MAX_EDITS: usize = 2;

/// Returns the most similar name, if it is similar enough to be meant.
pub(super) fn similar<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Two edits turn any name of two letters into another one.
    let limit = MAX_EDITS.min(typed.chars().count() / 2);
    let distances = names.map(|name| (strsim::osa_distance(typed, name), name));
    distances.filter(|(edits, _)| *edits <= limit).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_suggested_if_at_most_two_letters_differ() {
        let names = ["run", "check", "probe", "bench"];
        for (typed, expected) in [
            ("chekc", Some("check")),
            ("chck", Some("check")),
            ("prob", Some("probe")),
            ("benhc", Some("bench")),
            ("rnu", Some("run")),
            ("x", None),
            ("select", None),
        ] {
            assert_eq!(similar(typed, names.into_iter()), expected, "{typed}");
        }
    }
}
