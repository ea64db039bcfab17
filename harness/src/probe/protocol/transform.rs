//! Detects what an echo server does to its requests.

use super::detected::{Echo, Protocol, ask};
use crate::contract::Transform;
use crate::probe::target::ProbeTarget;
use crate::text::printable;
use crate::wire::ReplyFraming;

/// Requests whose replies differ between all transformations.
const SAMPLES: &[&[u8]] = &[b"aBc Xyz", b"  Hello World 12", b"Hello World 12  "];

/// Detects the transformation of an echo server. `None` if inconclusive.
pub(crate) fn detect_transform(target: &ProbeTarget, protocol: &Protocol) -> Option<Echo> {
    let mut instance = target.instance().ok()?;
    let mut replies = Vec::new();
    for sample in SAMPLES {
        replies.push(ask(&mut instance, protocol, sample)?);
    }
    // A fixed size hides white space at the end.
    let hides_end = matches!(protocol.wire.reply_end, ReplyFraming::Size(_));
    let visible = |text: &[u8]| match hides_end {
        true => text.trim_ascii_end().to_vec(),
        false => text.to_vec(),
    };
    let gives_replies = |transform: &Option<Transform>| {
        SAMPLES.iter().zip(&replies).all(|(sample, reply)| {
            let echo = transform.map_or_else(|| sample.to_vec(), |it| it.apply(sample));
            visible(&echo) == visible(reply)
        })
    };
    let candidates = [None].into_iter().chain(Transform::all().into_iter().map(Some));
    Some(match candidates.into_iter().find(gives_replies) {
        Some(transform) => Echo::Transformed(transform),
        None => {
            let changed = SAMPLES.iter().zip(&replies).find(|(sample, reply)| **sample != **reply);
            let (sample, reply) = changed.unwrap_or((&SAMPLES[0], &replies[0]));
            Echo::Unknown(format!("the reply to {} is {}", printable(sample), printable(reply)))
        }
    })
}
