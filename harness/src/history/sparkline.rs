//! Sparklines: series of values as a line of block characters.

/// Blocks from the lowest to the highest value.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Character for a missing value.
const MISSING: char = '·';

/// Draws values between their minimum and maximum. Equal values are drawn at half height.
pub(super) fn sparkline(values: &[Option<f64>]) -> String {
    let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let low = known().fold(f64::INFINITY, f64::min);
    let high = known().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: &Option<f64>| match value {
        Some(value) if value.is_finite() => {
            let share = if high > low { (value - low) / (high - low) } else { 0.4 };
            BLOCKS[((share * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
        }
        _ => MISSING,
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_value_has_the_lowest_block_and_the_highest_the_highest() {
        let of = |values: &[f64]| sparkline(&values.iter().copied().map(Some).collect::<Vec<_>>());
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), "▁▂▃▄▅▆▇█");
        assert_eq!(of(&[5.0, 5.0]), "▄▄");
        assert_eq!(of(&[-1e300, 1e-300, 1e300]), "▁▅█");
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn a_missing_value_is_a_dot() {
        assert_eq!(sparkline(&[Some(1.0), None, Some(2.0), Some(f64::NAN)]), "▁·█·");
        assert_eq!(sparkline(&[None]), "·");
    }
}
