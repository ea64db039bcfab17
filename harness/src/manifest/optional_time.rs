//! Serialization of an optional duration, in the syntax of the command line.

use std::time::Duration;

use serde::{Deserializer, Serializer};

use crate::wire::humantime_text;

#[expect(clippy::ref_option, reason = "serde passes a reference")]
pub(super) fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => humantime_text::serialize(time, to),
        None => to.serialize_none(),
    }
}

pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Duration>, D::Error> {
    humantime_text::deserialize(from).map(Some)
}
