//! Cases for correct replies: the only topic that uses the oracle.

use std::cell::RefCell;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::conformance::case::Case;
use crate::conformance::context::{TestContext, request};
use crate::conformance::failure::Failure;
use crate::conformance::oracle::{Expression, Said, Value, expressions};
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::TestClient;
use crate::text::printable;
use crate::wire::ReplyEnd;

/// Number of random expressions in a case.
const EXPRESSIONS: u32 = 300;

/// Number of random lines sent to an echo server in a case.
const LINES: u32 = 200;

/// Number of equal requests from each of two clients.
const REPEATED: usize = 50;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "results/arithmetic",
        requirement: "random expressions have the value that arithmetic gives them",
        source: "the contract: service, division, overflow",
        needs: &[Precondition::Calc],
        check: |ctx| {
            let contract = ctx.contract;
            let otherwise = RefCell::new(None);
            let longest = contract.max_line.unwrap_or(usize::MAX);
            let expressions = expressions(contract.dialect)
                .prop_filter("it is too long", move |it| it.to_string().len() <= longest);
            let holds = |client: &mut TestClient<'_>, expression: &Expression| {
                let value = expression.value(contract.dialect);
                let expected = format!("`{expression}` is {value}");
                let reply = client
                    .ask(expression.to_string().as_bytes())
                    .map_err(|trouble| Failure::trouble(&expected, &trouble))?;
                match value.is_said_by(&reply, contract) {
                    Said::No => return Err(Failure::fail(expected, printable(&reply))),
                    Said::Yes => {}
                    Said::Otherwise => {
                        let words = format!("`{expression}` is answered {}", printable(&reply));
                        otherwise.replace(Some(words));
                    }
                }
                ctx.was_met();
                Ok(())
            };
            let prepare = || served(ctx);
            ctx.property(EXPRESSIONS, "expressions", expressions, prepare, holds)?;
            if let Some(words) = otherwise.take() {
                ctx.loosely(format!("right, but written otherwise: {words}"));
            }
            Ok(())
        },
    },
    Case {
        name: "results/precedence",
        requirement: "products come before sums, equals from the left, parentheses first, and a sign belongs to its number",
        source: "the contract: service; ISO 80000-2 (order of operations)",
        needs: &[Precondition::Calc, Precondition::Reads("2+3*4")],
        check: |ctx| {
            let mut client = ctx.connect()?;
            // Each expression is compared with the server's reply to its last step. A server that
            // adds wrongly may still have the right precedence.
            for (expression, step) in [
                ("2+3*4", "2+12"),
                ("20-2*6", "20-12"),
                ("2*3-4", "6-4"),
                ("(5-2)*4", "3*4"),
                ("10-3-2", "7-2"),
                ("11-(5-3)", "11-2"),
                ("-2+5", "(0-2)+5"),
                ("2*-3", "2*(0-3)"),
                ("-(2+5)", "0-(2+5)"),
            ] {
                let dialect = ctx.contract.dialect;
                if !dialect.reads(expression) || !dialect.reads(step) {
                    continue;
                }
                let reply = client.learn(step.as_bytes())?;
                client.request(expression.as_bytes())?;
                client.expect(&reply).map_err(|finding| Failure {
                    expected: format!("`{expression}` like `{step}`: {}", printable(&reply)),
                    ..finding
                })?;
            }
            Ok(())
        },
    },
    Case {
        name: "results/deterministic",
        requirement: "the same request gets the same reply, however often and by whom it is asked",
        source: "the line protocol",
        needs: &[],
        check: |ctx| {
            let asked = b"1234+41000";
            let reply = ctx.connect()?.learn(asked)?;
            for number in 0..2 {
                let mut client = ctx.connect_soon(&request(number))?;
                for _ in 0..REPEATED {
                    client.request(asked)?;
                    client.expect(&reply)?;
                }
            }
            Ok(())
        },
    },
    Case {
        name: "results/division-by-zero",
        requirement: "division by zero gets an error line, and the next request is answered",
        source: "the line protocol; CWE-369 (divide by zero)",
        needs: &[Precondition::Calc, Precondition::Reads("1/0")],
        check: |ctx| {
            has_values(
                ctx,
                &[("1/0", Value::Error), ("5/(3-3)", Value::Error), ("8", Value::Whole(8))],
            )
        },
    },
    Case {
        name: "results/overflow",
        requirement: "a result beyond 64 bits gets an error line rather than a wrong number",
        source: "the contract: overflow; CWE-190 (integer overflow or wraparound)",
        needs: &[Precondition::Calc, Precondition::Overflow],
        check: |ctx| {
            has_values(
                ctx,
                &[
                    ("9223372036854775807", Value::Whole(i64::MAX)),
                    ("9223372036854775807+1", Value::Error),
                    ("-9223372036854775807-2", Value::Error),
                    ("4611686018427387904*2", Value::Error),
                    ("9223372036854775808", Value::Error),
                    ("8", Value::Whole(8)),
                ],
            )
        },
    },
    Case {
        name: "results/float-precision",
        requirement: "floats are computed and printed in double precision",
        source: "IEEE 754 (binary64)",
        needs: &[Precondition::Calc, Precondition::Reads("0.1*3")],
        check: |ctx| {
            has_values(
                ctx,
                &[
                    ("0.1*3", Value::Double(0.1 * 3.0)),
                    ("7/2.0", Value::Double(3.5)),
                    ("1.0/3", Value::Double(1.0 / 3.0)),
                    ("0.000001*0.000001", Value::Double(0.000001 * 0.000001)),
                    ("123456789.125*8", Value::Double(987_654_313.0)),
                ],
            )
        },
    },
    Case {
        name: "results/echo-is-identical",
        requirement: "an echo sends back the very bytes of each line",
        source: "the line protocol; RFC 862 (Echo Protocol)",
        needs: &[Precondition::Echo],
        check: |ctx| {
            let limit = ctx.contract.max_line.unwrap_or(1000).min(1000);
            let line = part_of_a_line(any::<u8>(), limit)
                .prop_filter("it is one line", |line| fits(ctx, line));
            // In half of the lines all bytes are printable; random bytes would make such lines
            // rare.
            let text = part_of_a_line(b' '..b'~', limit);
            let text = text.prop_filter("it is one request", |text| fits(ctx, text));
            let lines = prop_oneof![line, text].prop_map(Line);
            let prepare = || {
                let mut client = served(ctx)?;
                // Lines that servers tend to alter.
                let tempting = [&b" x"[..], b"x ", b"\tx\t", b"a  b", b" ", b"", b"X", b"%s\\n\"'"];
                for line in tempting.into_iter().filter(|line| fits(ctx, line)) {
                    is_echoed(&mut client, line)?;
                }
                Ok(client)
            };
            ctx.property(LINES, "lines", lines, prepare, |client, line| is_echoed(client, &line.0))
        },
    },
];

/// Requires the expected value of each expression that the dialect has.
fn has_values(ctx: &TestContext<'_>, rows: &[(&str, Value)]) -> Result<(), Failure> {
    let mut client = ctx.connect()?;
    client.learn(&request(1))?;
    let dialect = ctx.contract.dialect;
    for (expression, value) in rows.iter().filter(|(expression, _)| dialect.reads(expression)) {
        let expected = format!("`{expression}` is {value}");
        let reply = client
            .ask(expression.as_bytes())
            .map_err(|trouble| Failure::trouble(&expected, &trouble))?;
        if value.is_said_by(&reply, ctx.contract) == Said::No {
            return Err(Failure::fail(expected, printable(&reply)));
        }
        ctx.was_met();
    }
    Ok(())
}

/// Returns whether these bytes are one request, and their echo is one reply.
fn fits(ctx: &TestContext<'_>, line: &[u8]) -> bool {
    let wire = &ctx.contract.wire;
    let is_one_reply = match &wire.reply_end {
        ReplyEnd::Bytes(end) => end.find_end(line).is_none() && line.last() != Some(&b'\r'),
        ReplyEnd::Size(size) => {
            line.len() <= *size && !line.ends_with(b" ") && !line.ends_with(b"\0")
        }
        ReplyEnd::Length(_) => true,
        ReplyEnd::Close | ReplyEnd::Quiet(_) => !line.is_empty(),
    };
    is_one_reply
        && wire.request.after.iter().all(|byte| !line.contains(byte))
        && (wire.is_delimited() || !line.is_empty())
}

/// Draws a slice of random bytes, so that shrinking halves the bytes around a failing part.
fn part_of_a_line(byte: impl Strategy<Value = u8>, limit: usize) -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(byte, 0..limit);
    (0..limit, 0..limit, bytes).prop_map(|(end, length, mut bytes)| {
        bytes.truncate(end);
        bytes.split_off(bytes.len().saturating_sub(length))
    })
}

/// Connects a client and learns the reply to a plain request.
fn served<'s>(ctx: &'s TestContext<'_>) -> Result<TestClient<'s>, Failure> {
    let mut client = ctx.connect()?;
    client.learn(&request(1))?;
    Ok(client)
}

fn is_echoed(client: &mut TestClient<'_>, line: &[u8]) -> Result<(), Failure> {
    let expected = format!("the reply {}", printable(line));
    let reply = client.ask(line).map_err(|trouble| Failure::trouble(&expected, &trouble))?;
    if reply != line {
        return Err(Failure::fail(expected, printable(&reply)));
    }
    client.ctx.was_met();
    Ok(())
}

/// Bytes serialized as a string with one character per byte value (Latin-1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Line(Vec<u8>);

impl From<Line> for String {
    fn from(line: Line) -> String {
        line.0.into_iter().map(char::from).collect()
    }
}

impl TryFrom<String> for Line {
    type Error = std::char::TryFromCharError;

    fn try_from(text: String) -> Result<Line, Self::Error> {
        text.chars().map(u8::try_from).collect::<Result<_, _>>().map(Line)
    }
}
