//! The log of `harness load --histogram-log`.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::*;

pub(super) fn a_histogram_log_has_its_header_and_every_latency_in_its_interval() {
    let server = known("echo");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.hlog");
    let path = file.to_str().expect("plain words");
    for (flags, tags) in [(&[][..], &["sent"][..]), (&["--rate", "1000"], &["intended", "sent"])] {
        let one = loaded(server.address, &[flags, &["--histogram-log", path]].concat());
        let log = std::fs::read(&file).expect("a log");
        assert!(log.starts_with(b"#[Histogram log format version 1.3]\n"));
        let (mut lines, mut latencies) = (0, 0);
        for entry in IntervalLogIterator::new(&log) {
            if let LogEntry::Interval(line) = entry.expect("a line of the format") {
                assert!(tags.contains(&line.tag().expect("a tag").as_str()));
                lines += 1;
                latencies += histogram(line.encoded_histogram()).len();
            }
        }
        // Including the replies that arrive after the end.
        assert_eq!(latencies, tags.len() as u64 * all_answered(&one));
        // A busy machine may skip intervals. Replies after the end have one more.
        assert!((tags.len()..=11 * tags.len()).contains(&lines), "{lines} lines; {one}");
    }
}

/// Decodes a histogram from a log line: compressed, in Base64 (RFC 4648).
fn histogram(encoded: &str) -> Histogram<u64> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for letters in encoded.trim_end_matches('=').as_bytes().chunks(4) {
        let value = |letter: u8| LETTERS.iter().position(|it| *it == letter).expect("Base64");
        let bits = letters.iter().fold(0, |bits, &letter| bits << 6 | value(letter) as u32);
        let left = bits << (6 * (4 - letters.len()));
        bytes.extend_from_slice(&left.to_be_bytes()[1..letters.len()]);
    }
    Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram")
}
