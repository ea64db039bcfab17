//! The server's replies to plain requests, which are the reference for later replies.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Minimum length of a reply that shows which request it answers, in bytes.
const MIN_DISTINCT_LENGTH: usize = 4;

/// The replies to the plain requests of a case, by request.
#[derive(Default)]
pub(in crate::conformance) struct LearnedReplies {
    replies: RefCell<HashMap<Vec<u8>, Vec<u8>>>,
    /// Whether a plain request got a reply without its value.
    has_other_values: Cell<bool>,
}

impl LearnedReplies {
    /// Returns whether any plain request was answered. If not, a client error makes the case
    /// inconclusive.
    pub(in crate::conformance) fn has_replies(&self) -> bool {
        !self.replies.borrow().is_empty()
    }

    pub(in crate::conformance) fn get(&self, request: &[u8]) -> Option<Vec<u8>> {
        self.replies.borrow().get(request).cloned()
    }

    /// Returns `preferred`, or another plain request if only the reply to that is known. So an
    /// unexpected reply is recognised.
    pub(in crate::conformance) fn known_request(&self, preferred: Vec<u8>) -> Vec<u8> {
        let replies = self.replies.borrow();
        let is_plain = |request: &&Vec<u8>| request.iter().all(u8::is_ascii_digit);
        match replies.contains_key(&preferred) {
            true => preferred,
            false => replies.keys().filter(is_plain).min().cloned().unwrap_or(preferred),
        }
    }

    pub(in crate::conformance) fn insert(&self, request: &[u8], reply: Vec<u8>) {
        self.replies.borrow_mut().insert(request.to_vec(), reply);
    }

    /// Records that a reply to a plain request has not its value, and is no rejection either.
    pub(in crate::conformance) fn record_other_value(&self) {
        self.has_other_values.set(true);
    }

    /// Returns whether plain requests get replies without their values.
    pub(in crate::conformance) fn has_other_values(&self) -> bool {
        self.has_other_values.get()
    }

    /// Returns whether any reply begins with this prefix.
    pub(in crate::conformance) fn has_prefix(&self, prefix: &[u8]) -> bool {
        self.replies.borrow().values().any(|learned| learned.starts_with(prefix))
    }

    /// Returns whether this is the reply to any of the requests.
    pub(in crate::conformance) fn contains_reply(&self, reply: &[u8]) -> bool {
        self.replies.borrow().values().any(|learned| learned == reply)
    }

    /// Returns whether these bytes begin with the reply to any of the requests.
    pub(in crate::conformance) fn begins_with_reply(&self, bytes: &[u8]) -> bool {
        let replies = self.replies.borrow();
        replies.values().any(|it| it.len() >= MIN_DISTINCT_LENGTH && bytes.starts_with(it))
    }

    /// Returns whether `received` is not the required reply, but the reply to another request. A
    /// short reply may be equal by chance.
    pub(super) fn is_other_reply(&self, required: &[u8], received: &[u8]) -> bool {
        received != required
            && received.len() >= MIN_DISTINCT_LENGTH
            && self.contains_reply(received)
    }

    /// Returns whether this is the reply to a request other than `request`.
    pub(in crate::conformance) fn is_reply_to_other(&self, request: &[u8], reply: &[u8]) -> bool {
        let replies = self.replies.borrow();
        replies.iter().any(|(other, learned)| other != request && learned == reply)
    }
}
