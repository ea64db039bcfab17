//! Requests at the limit, past it, and without an end.

use crate::conformance::case::Case;
use crate::conformance::finding::Finding;
use crate::conformance::need::Need;
use crate::conformance::padding::{padded, reply_to_padded};
use crate::conformance::party::{GROWTH, QUIET};
use crate::conformance::subject::request;

/// Sent without a line feed, in bytes: far more than any server needs to keep.
const ENDLESS: usize = 5 * 1024 * 1024;

/// The same beside a client that asks meanwhile.
const BESIDE: usize = 1024 * 1024;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "oversize/at-the-limit",
        requirement: "the longest request that is allowed is answered",
        source: "the contract: longest line; CWE-193 (off-by-one error)",
        needs: &[Need::MaxLine, Need::Delimited],
        check: |subject| {
            let limit = subject.contract.max_line.unwrap_or(0);
            let mut client = subject.connect()?;
            let short = client.learn(&request(1))?;
            for size in [limit - 1, limit] {
                let line = padded(subject, &request(1), size);
                client.request(&line)?;
                client.expect(&reply_to_padded(subject, &short, &line))?;
            }
            Ok(())
        },
    },
    Case {
        name: "oversize/one-past",
        requirement: "a request one byte too long gets one error line, and the next is answered",
        source: "the contract: longest line, error prefix; CWE-193 (off-by-one error)",
        needs: &[Need::MaxLine, Need::ErrorPrefix, Need::Delimited],
        check: |subject| {
            let limit = subject.contract.max_line.unwrap_or(0);
            let mut client = subject.connect()?;
            let short = client.learn(&request(1))?;
            for _ in 0..2 {
                client.request(&padded(subject, &request(1), limit + 1))?;
                client.expect_error()?;
                client.request(&request(1))?;
                client.expect(&short)?;
            }
            Ok(())
        },
    },
    Case {
        name: "oversize/endless-line",
        requirement: "a line without an end costs bounded memory and one error line, and the next request is answered",
        source: "the contract: longest line; CWE-770 (allocation of resources without limits)",
        needs: &[Need::MaxLine, Need::ErrorPrefix, Need::Delimited, Need::Lasting, Need::Launched],
        check: |subject| {
            let mut client = subject.connect()?;
            let short = client.learn(&request(1))?;
            subject.let_it_rest();
            let before = subject.peak_since_last();
            let piece = vec![b'1'; 64 * 1024];
            for _ in 0..ENDLESS / piece.len() {
                client.send(&piece)?;
            }
            client.send(&subject.contract.wire.request.after)?;
            client.expect_error()?;
            // The error may come before the rest has been read.
            subject.wait_until(
                || subject.is_asleep(),
                || Finding::vacuous("the server does not come to rest after a long line"),
            )?;
            let grown = subject.peak_since_last().saturating_sub(before);
            if grown > GROWTH {
                let expected = format!("at most {} KiB more memory", GROWTH / 1024);
                return Err(Finding::leak(expected, format!("{} KiB more", grown / 1024))
                    .hint("it keeps what it will never answer: throw the rest of a line away once it is too long"));
            }
            client.request(&request(1))?;
            client.expect(&short)
        },
    },
    Case {
        name: "oversize/endless-beside",
        requirement: "a client that sends a line without an end does not keep another from being served",
        source: "the contract: capacity; CWE-400 (uncontrolled resource consumption)",
        needs: &[Need::Clients(2), Need::Delimited],
        check: |subject| {
            let mut good = subject.connect()?;
            let reply = good.learn(&request(1))?;
            let mut endless = subject.connect()?;
            subject.tells_apart(&mut good, &mut endless)?;
            // A server without a limit may stop reading rather than keep it all.
            endless.client.set_patience(QUIET);
            let piece = vec![b'1'; 64 * 1024];
            for _ in 0..BESIDE / piece.len() {
                let _ = endless.client.send(&piece);
                good.request(&request(1))?;
                good.expect(&reply)?;
            }
            Ok(())
        },
    },
];
