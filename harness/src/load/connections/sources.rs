//! Local addresses from which a generator connects.

use std::net::Ipv4Addr;

/// Maximum number of local addresses to connect from. With Linux's default `ip_local_port_range`,
/// each address has 28,000 ports, and a used port stays in TIME_WAIT for a minute.
const MAX_SOURCES: u8 = 250;

/// Local addresses to connect from, to a server with an IPv4 loopback address: 127.0.0.1 to
/// 127.0.0.250.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Number of the current address; 0 lets the kernel choose.
    current: u8,
    /// Whether each connection uses the next address.
    rotates: bool,
    /// Whether no address had a free port at the latest attempt.
    is_exhausted: bool,
}

impl Sources {
    /// Lets each connection use the next address.
    pub(super) fn rotate(&mut self) {
        self.rotates = true;
    }

    /// Notes that an address had a free port.
    pub(super) fn note_free_port(&mut self) {
        self.is_exhausted = false;
    }

    /// Returns the address for the next connection; `None` lets the kernel choose.
    pub(super) fn next(&mut self) -> Option<Ipv4Addr> {
        if self.rotates {
            self.current = self.current % MAX_SOURCES + 1;
        }
        (self.current > 0).then(|| Ipv4Addr::new(127, 0, 0, self.current))
    }

    /// Changes to the next address, because the current one has no free port. Returns whether to
    /// try it, after this number of attempts.
    pub(super) fn advance(&mut self, attempts: u32) -> bool {
        if !self.rotates {
            // The kernel chooses 127.0.0.1.
            self.current = self.current.max(1) % MAX_SOURCES + 1;
        }
        let limit = if self.is_exhausted { 1 } else { u32::from(MAX_SOURCES) };
        self.is_exhausted |= attempts >= limit;
        attempts < limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_free_port_is_replaced_by_the_next_one() {
        let mut sources = Sources::default();
        assert_eq!(sources.next(), None);
        assert!(sources.advance(1));
        assert_eq!([sources.next(), sources.next()], [Some(Ipv4Addr::new(127, 0, 0, 2)); 2]);
    }

    #[test]
    fn each_address_is_tried_once_and_then_one_per_connection_until_a_port_is_free() {
        let mut sources = Sources::default();
        let attempts = |sources: &mut Sources| (1..).find(|&it| !sources.advance(it));
        assert_eq!(attempts(&mut sources), Some(MAX_SOURCES.into()));
        assert_eq!(attempts(&mut sources), Some(1));
        sources.note_free_port();
        assert_eq!(attempts(&mut sources), Some(MAX_SOURCES.into()));
    }
}
