//! Cases for requests at the line limit, above it, and without an end.

use crate::conformance::assumptions::SLEEP;
use crate::conformance::case::Case;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{padded, reply_to_padded, request};
use crate::conformance::test_client::{MAX_MEMORY_GROWTH, QUIET};
use crate::results::Level;

/// Numbers of bytes sent without a line feed: far more than any server needs to buffer. If memory
/// grows with the first line, it must not grow with the second: a garbage collector may use more
/// memory once, but a buffer grows with the line.
const ENDLESS_LINES: [usize; 2] = [5 * 1024 * 1024, 20 * 1024 * 1024];

/// Number of bytes sent without a line feed while a second client sends requests.
const ENDLESS_LINE_WITH_OTHER_CLIENT: usize = 1024 * 1024;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "oversize/at-the-limit",
        requirement: "a request of exactly the longest permitted length is answered",
        source: "the contract: longest request; CWE-193 (off-by-one error)",
        preconditions: &[
            Precondition::MaxLine,
            Precondition::PaddingOverLimit,
            Precondition::DelimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            let limit = ctx.contract.max_line.unwrap_or(0);
            let mut client = ctx.clients().connect()?;
            let short = client.learn_reply(&request(1))?;
            for size in [limit - 1, limit] {
                let line = padded(ctx.contract, &request(1), size);
                client.raw_request(&line)?;
                client.expect(&reply_to_padded(ctx.contract, &short, &line))?;
            }
            Ok(())
        },
    },
    Case {
        name: "oversize/one-past",
        requirement: "a request that is one byte too long gets one error reply, and the next request is answered",
        source: "the contract: longest request, error prefix; CWE-193 (off-by-one error)",
        preconditions: &[
            Precondition::MaxLine,
            Precondition::PaddingOverLimit,
            Precondition::ErrorPrefix,
            Precondition::DelimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            let limit = ctx.contract.max_line.unwrap_or(0);
            let mut client = ctx.clients().connect()?;
            let short = client.learn_reply(&request(1))?;
            for _ in 0..2 {
                client.raw_request(&padded(ctx.contract, &request(1), limit + 1))?;
                client.expect_error()?;
                let answered = client.request(&request(1)).and_then(|()| client.expect(&short));
                answered.map_err(Failure::on_next_request)?;
            }
            Ok(())
        },
    },
    Case {
        name: "oversize/endless-line",
        requirement: "a line far over the limit uses bounded memory and gets one error reply, and the next request is answered",
        source: "the contract: longest request; CWE-770 (allocation of resources without limits)",
        preconditions: &[
            Precondition::MaxLine,
            Precondition::ErrorPrefix,
            Precondition::DelimitedRequests,
            Precondition::UnlimitedRequests,
            Precondition::Launched,
        ],
        level: Level::Hardening,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let short = client.learn_reply(&request(1))?;
            ctx.process().wait_until_asleep();
            let mut before = ctx.resources().peak_memory_since_last();
            let piece = vec![b'1'; 64 * 1024];
            let mut result = Ok(());
            for length in ENDLESS_LINES {
                for _ in 0..length / piece.len() {
                    client.send(&piece)?;
                }
                client.send(&ctx.contract.wire.request.after)?;
                client.expect_error()?;
                // The server may send the error reply before it has read the rest of the line.
                ctx.wait_until(
                    || ctx.process().is_asleep(),
                    || {
                        let seen = "the server does not become idle after a long line";
                        Failure::assumption_failed(SLEEP, seen)
                    },
                )?;
                let peak = ctx.resources().peak_memory_since_last();
                let growth = peak.saturating_sub(before);
                if growth <= MAX_MEMORY_GROWTH {
                    result = Ok(());
                    break;
                }
                before = peak;
                let expected = format!("memory grows by at most {} KiB", MAX_MEMORY_GROWTH / 1024);
                let seen =
                    format!("memory grew by {} KiB for a line of {length} bytes", growth / 1024);
                result = Err(Failure::leak(expected, seen)
                    .hint("the server buffers a request that it cannot answer: discard the rest of a line once it is too long"));
            }
            result?;
            let answered = client.request(&request(1)).and_then(|()| client.expect(&short));
            answered.map_err(Failure::on_next_request)
        },
    },
    Case {
        name: "oversize/endless-beside",
        requirement: "a client that sends a line without an end does not block other clients",
        source: "the contract: connection limit; CWE-400 (uncontrolled resource consumption)",
        preconditions: &[Precondition::Clients(2), Precondition::DelimitedRequests],
        level: Level::Hardening,
        check: |ctx| {
            let mut good = ctx.clients().connect()?;
            let reply = good.learn_reply(&request(1))?;
            let mut endless = ctx.clients().connect()?;
            ctx.clients().check_isolation(&mut good, &mut endless)?;
            // A server without a line limit may stop reading, so a send must not block for long.
            endless.client.set_timeout(QUIET);
            let piece = vec![b'1'; 64 * 1024];
            for _ in 0..ENDLESS_LINE_WITH_OTHER_CLIENT / piece.len() {
                let _ = endless.client.send(&piece);
                good.request(&request(1))?;
                good.expect(&reply)?;
            }
            Ok(())
        },
    },
];
