//! Earlier names, until the harness uses the new ones.
#![allow(missing_docs, reason = "the new names are documented")]

use std::net::SocketAddr;

use crate::config::Config;
use crate::pattern::{Capacity, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

impl Pattern {
    pub fn places(&self, config: &Config) -> (usize, usize) {
        self.connection_slots(config)
    }
}

impl Workers {
    pub fn words(self, asked: Option<usize>) -> String {
        self.description(asked)
    }
}

impl Capacity {
    pub fn words(self) -> String {
        self.description()
    }
}

impl OverloadPolicy {
    pub fn words(self) -> &'static str {
        self.description()
    }
}

impl Listener {
    pub fn announced_by(self, announce: impl FnOnce(SocketAddr) + Send + 'static) -> Listener {
        self.on_listening(announce)
    }
}
