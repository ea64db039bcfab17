//! Order in which the servers are launched and loaded.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Order of the two servers in a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Index of the server that is launched first, 0 or 1.
    pub(super) launched: usize,
    /// Index of the server that is loaded first, 0 or 1.
    pub(super) loaded: usize,
}

/// Draws the orders of the launches from the seed, in blocks of four.
///
/// A block has each of the four orders once. In each half of a block, each server is launched first
/// once and loaded first once. So the advantage of being first cancels out, even in an interrupted
/// comparison.
pub(super) fn orders(seed: u64, launches: u32) -> Vec<Order> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut orders = Vec::new();
    while orders.len() < launches as usize {
        let mut halves = [false, true].map(|is_crossed| {
            let launched = random.random_range(0..2);
            let loaded = if is_crossed { 1 - launched } else { launched };
            [Order { launched, loaded }, Order { launched: 1 - launched, loaded: 1 - loaded }]
        });
        halves.shuffle(&mut random);
        orders.extend(halves.concat());
    }
    orders.truncate(launches as usize);
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_an_order_with_each_server_first_in_half_the_launches() {
        for seed in 0..200 {
            let all = orders(seed, 16);
            assert_eq!((all.len(), &all), (16, &orders(seed, 16)), "{seed}");
            // The orders are balanced even if the comparison is interrupted.
            for count in 1..=16 {
                let begun = &all[..count];
                let both = [
                    begun.iter().filter(|it| it.launched == 0).count(),
                    begun.iter().filter(|it| it.loaded == 0).count(),
                ];
                assert!(both.iter().all(|first| first.abs_diff(count - first) <= 1), "{begun:?}");
            }
            for block in all.chunks(4) {
                let of = |which: usize| block.iter().filter(move |it| it.launched == which);
                assert_eq!(of(0).filter(|it| it.loaded == 0).count(), 1, "{block:?}");
                assert_eq!(of(1).filter(|it| it.loaded == 0).count(), 1, "{block:?}");
            }
        }
    }

    #[test]
    fn every_order_can_come_first() {
        let firsts: Vec<Order> = (0..200).map(|seed| orders(seed, 4)[0]).collect();
        for launched in [0, 1] {
            for loaded in [0, 1] {
                let count = firsts.iter().filter(|it| **it == Order { launched, loaded }).count();
                assert!((25..=75).contains(&count), "{launched} {loaded}: {count} of 200");
            }
        }
    }
}
