//! Cases for requests at the line limit, above it, and without an end.

use crate::conformance::case::Case;
use crate::conformance::context::request;
use crate::conformance::failure::Failure;
use crate::conformance::padding::{padded, reply_to_padded};
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::{GROWTH, QUIET};

/// Bytes sent without a line feed: far more than any server needs to buffer.
const ENDLESS: usize = 5 * 1024 * 1024;

/// Same, beside a client that sends requests at the same time.
const BESIDE: usize = 1024 * 1024;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "oversize/at-the-limit",
        requirement: "the longest request that is allowed is answered",
        source: "the contract: longest line; CWE-193 (off-by-one error)",
        needs: &[Precondition::MaxLine, Precondition::Delimited],
        check: |ctx| {
            let limit = ctx.contract.max_line.unwrap_or(0);
            let mut client = ctx.connect()?;
            let short = client.learn(&request(1))?;
            for size in [limit - 1, limit] {
                let line = padded(ctx, &request(1), size);
                client.request(&line)?;
                client.expect(&reply_to_padded(ctx, &short, &line))?;
            }
            Ok(())
        },
    },
    Case {
        name: "oversize/one-past",
        requirement: "a request one byte too long gets one error line, and the next is answered",
        source: "the contract: longest line, error prefix; CWE-193 (off-by-one error)",
        needs: &[Precondition::MaxLine, Precondition::ErrorPrefix, Precondition::Delimited],
        check: |ctx| {
            let limit = ctx.contract.max_line.unwrap_or(0);
            let mut client = ctx.connect()?;
            let short = client.learn(&request(1))?;
            for _ in 0..2 {
                client.request(&padded(ctx, &request(1), limit + 1))?;
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
        needs: &[
            Precondition::MaxLine,
            Precondition::ErrorPrefix,
            Precondition::Delimited,
            Precondition::Lasting,
            Precondition::Launched,
        ],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let short = client.learn(&request(1))?;
            ctx.let_it_rest();
            let before = ctx.peak_since_last();
            let piece = vec![b'1'; 64 * 1024];
            for _ in 0..ENDLESS / piece.len() {
                client.send(&piece)?;
            }
            client.send(&ctx.contract.wire.request.after)?;
            client.expect_error()?;
            // The server may send the error before it has read the rest.
            ctx.wait_until(
                || ctx.is_asleep(),
                || Failure::vacuous("the server does not come to rest after a long line"),
            )?;
            let grown = ctx.peak_since_last().saturating_sub(before);
            if grown > GROWTH {
                let expected = format!("at most {} KiB more memory", GROWTH / 1024);
                return Err(Failure::leak(expected, format!("{} KiB more", grown / 1024))
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
        needs: &[Precondition::Clients(2), Precondition::Delimited],
        check: |ctx| {
            let mut good = ctx.connect()?;
            let reply = good.learn(&request(1))?;
            let mut endless = ctx.connect()?;
            ctx.tells_apart(&mut good, &mut endless)?;
            // A server without a line limit may stop reading rather than buffer everything.
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
