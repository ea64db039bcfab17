//! A latency histogram as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Significant digits of the values. More would double the size of a report.
const DIGITS: u8 = 2;

/// A histogram of latencies in nanoseconds: HdrHistogram's compressed format V2 in Base64, as in an
/// interval log (hdrhistogram.github.io/HdrHistogram). Values have two significant digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct LatencyHistogram(String);

impl LatencyHistogram {
    /// Encodes a histogram. Returns `None` for an empty one.
    pub fn of(histogram: &Histogram<u64>) -> Option<LatencyHistogram> {
        if histogram.is_empty() {
            return None;
        }
        let mut coarse = Histogram::<u64>::new(DIGITS).ok()?;
        for value in histogram.iter_recorded() {
            coarse.record_n(value.value_iterated_to(), value.count_at_value()).ok()?;
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&coarse, &mut bytes).ok()?;
        Some(LatencyHistogram(STANDARD.encode(bytes)))
    }

    /// Decodes the histogram. Returns `None` if the text is not a histogram, as in an edited file.
    pub fn decode(&self) -> Option<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.0).ok()?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_round_trips_with_two_digits() {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits");
        (1..=100_000).for_each(|value| histogram.record(value * 10).expect("in range"));
        let encoded = LatencyHistogram::of(&histogram).expect("values");
        let decoded = encoded.decode().expect("a histogram");
        assert_eq!(decoded.len(), 100_000);
        for quantile in [0.5, 0.99, 1.0] {
            let [old, new] = [&histogram, &decoded].map(|it| it.value_at_quantile(quantile) as f64);
            assert!((new / old - 1.0).abs() < 0.01, "{quantile}: {old} became {new}");
        }
        assert_eq!(LatencyHistogram::of(&Histogram::new(3).expect("three digits")), None);
        assert_eq!(LatencyHistogram("no histogram".to_owned()).decode(), None);
    }
}
