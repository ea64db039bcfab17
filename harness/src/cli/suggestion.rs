//! Suggestions for mistyped names.

/// Maximum number of edits between a mistyped name and the suggested name.
const MAX_EDITS: usize = 2;

/// Returns the most similar name, if it is similar enough to be meant.
pub(super) fn similar<'n>(typed: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Two edits turn any name of two letters into another one.
    let limit = MAX_EDITS.min(typed.chars().count() / 2);
    let distances = names.map(|name| (edits(typed, name), name));
    distances.filter(|(edits, _)| *edits <= limit).min().map(|(_, name)| name)
}

/// Returns the number of inserted, deleted, replaced and swapped letters between two words.
fn edits(one: &str, other: &str) -> usize {
    let [one, other] = [one, other].map(|word| word.chars().collect::<Vec<_>>());
    // Row `i` has the distances of the first `i` letters of `one` to each prefix of `other`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let is_same = one[i - 1] == other[j - 1];
            let changed = rows[i - 1][j - 1] + usize::from(!is_same);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
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
