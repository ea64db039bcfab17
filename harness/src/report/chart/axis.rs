//! Axes: their range, their ticks, and the position of a value.

/// An axis of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Title with the unit.
    pub title: &'static str,
    /// Scale.
    pub scale: Scale,
    /// Formats a value.
    pub format: fn(f64) -> String,
    /// Whether the ticks are the values of the points. Otherwise they are round values.
    pub has_value_ticks: bool,
}

impl Axis {
    /// Returns an axis with round ticks.
    pub const fn new(title: &'static str, scale: Scale, format: fn(f64) -> String) -> Axis {
        Axis { title, scale, format, has_value_ticks: false }
    }
}

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0 to the largest value.
    Linear,
    /// Logarithmic, around the values.
    Logarithmic,
}

/// Maximum number of ticks of a linear axis.
const MAX_TICKS: f64 = 6.0;

/// An axis with the range of its values, on pixels from `start` to `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    scale: Scale,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Range {
    /// Returns the range around these values. Values that the scale cannot show do not count.
    pub(super) fn around(
        axis: Axis,
        values: impl Iterator<Item = f64>,
        (start, end): (f64, f64),
    ) -> Range {
        let scale = axis.scale;
        let shown = values.filter(|&value| is_shown(scale, value));
        let (low, high) =
            shown.fold((f64::MAX, 0.0_f64), |(low, high), it| (low.min(it), high.max(it)));
        let (low, high) = match scale {
            _ if low > high => (1.0, 10.0),
            Scale::Linear => (0.0, high.max(1e-9)),
            // A single value is in the middle.
            Scale::Logarithmic if high / low < 1.5 => (low / 2.0, high * 2.0),
            Scale::Logarithmic => (low, high),
        };
        Range { scale, low, high, start, end }
    }

    /// Returns the pixel of a value; none if the scale cannot show it.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        is_shown(self.scale, value).then(|| {
            let share = match self.scale {
                Scale::Linear => value / self.high,
                Scale::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
            };
            self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
        })
    }

    /// Returns the values of the ticks.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let rough = self.high / MAX_TICKS;
                let unit = 10f64.powf(rough.log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit);
                let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
                (0..=(self.high / step) as usize).map(|number| number as f64 * step).collect()
            }
            Scale::Logarithmic => {
                let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
                let is_wide = self.high / self.low > 1e3;
                let factors: &[f64] = if is_wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let all =
                    powers.flat_map(|power| factors.iter().map(move |it| it * 10f64.powi(power)));
                all.filter(|it| (self.low * 0.999..=self.high * 1.001).contains(it)).collect()
            }
        }
    }
}

fn is_shown(scale: Scale, value: f64) -> bool {
    value.is_finite() && (value > 0.0 || scale == Scale::Linear && value == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(scale: Scale, values: &[f64]) -> Range {
        let axis = Axis::new("", scale, |value| value.to_string());
        Range::around(axis, values.iter().copied(), (0.0, 100.0))
    }

    #[test]
    fn values_lie_between_the_ends_of_their_axis() {
        let linear = range(Scale::Linear, &[20.0, 40.0]);
        assert_eq!([0.0, 20.0, 40.0].map(|it| linear.at(it)), [Some(0.0), Some(50.0), Some(100.0)]);
        let log = range(Scale::Logarithmic, &[1.0, 100.0]);
        assert_eq!(
            [1.0, 10.0, 100.0, 0.0].map(|it| log.at(it)),
            [Some(0.0), Some(50.0), Some(100.0), None]
        );
    }

    #[test]
    fn ticks_are_round_values_within_the_axis() {
        assert_eq!(range(Scale::Linear, &[95.0]).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(range(Scale::Logarithmic, &[3.0, 40.0]).ticks(), [5.0, 10.0, 20.0]);
        assert_eq!(range(Scale::Logarithmic, &[1.0, 8192.0]).ticks(), [1.0, 10.0, 100.0, 1000.0]);
    }

    #[test]
    fn values_that_no_scale_can_show_leave_an_empty_axis() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let empty = range(scale, &[f64::NAN, f64::INFINITY, -1.0]);
            assert!(empty.ticks().len() > 1 && empty.at(f64::NAN).is_none(), "{scale:?}");
        }
    }
}
