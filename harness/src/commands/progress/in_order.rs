//! Output of parallel steps in the order of the steps.

use std::collections::BTreeMap;

/// Values with a place, which are released in the order of the places.
#[derive(Debug)]
pub(crate) struct InOrder<T> {
    next: usize,
    held: BTreeMap<usize, Vec<T>>,
}

impl<T> Default for InOrder<T> {
    fn default() -> InOrder<T> {
        InOrder { next: 0, held: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    /// Adds the values of a place, and returns all values that are now in order.
    pub(crate) fn put(&mut self, place: usize, values: Vec<T>) -> Vec<T> {
        self.held.insert(place, values);
        let mut released = Vec::new();
        while let Some(values) = self.held.remove(&self.next) {
            released.extend(values);
            self.next += 1;
        }
        released
    }

    /// Returns all held values in order, although the values of some places are missing.
    pub(crate) fn release_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.held).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_released_in_the_order_of_their_places() {
        let mut in_order = InOrder::default();
        assert!(in_order.put(1, vec!["b", "c"]).is_empty());
        assert!(in_order.put(3, vec!["e"]).is_empty());
        assert_eq!(in_order.put(0, vec!["a"]), ["a", "b", "c"]);
        assert!(in_order.put(2, vec![]).iter().eq(&["e"]));
        assert!(in_order.put(6, vec!["g"]).is_empty());
        assert!(in_order.put(5, vec!["f"]).is_empty());
        assert_eq!(in_order.release_all(), ["f", "g"]);
    }
}
