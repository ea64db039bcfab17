//! Random values for tests, determined by a seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use statrs::distribution::{ContinuousCDF, Normal};

pub(super) struct Noise(StdRng, Normal);

impl Noise {
    pub(super) fn seeded(seed: u64) -> Noise {
        Noise(StdRng::seed_from_u64(seed), Normal::standard())
    }

    /// Returns a value uniformly distributed from 0 to 1.
    pub(super) fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// Returns a normally distributed value, with mean 0 and standard deviation 1.
    pub(super) fn normal(&mut self) -> f64 {
        let uniform = self.uniform();
        self.1.inverse_cdf(uniform.max(f64::EPSILON))
    }

    /// Returns normally distributed values, each correlated with the previous value (AR(1)).
    pub(super) fn correlated(&mut self, correlation: f64, count: usize) -> Vec<f64> {
        let fresh = (1.0 - correlation * correlation).sqrt();
        let mut value = self.normal();
        (0..count)
            .map(|_| {
                value = correlation * value + fresh * self.normal();
                value
            })
            .collect()
    }
}
