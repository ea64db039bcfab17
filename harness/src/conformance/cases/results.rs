//! Cases for correct replies: the only topic that uses the oracle.

use std::cell::RefCell;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::conformance::case::Case;
use crate::conformance::context::TestContext;
use crate::conformance::failure::Failure;
use crate::conformance::oracle::{Expression, ReplyMatch, Value, expressions};
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::test_client::TestClient;
use crate::results::{Fault, Level};
use crate::text::{number, printable};
use crate::wire::ReplyFraming;

/// Number of random expressions in a case.
const EXPRESSIONS: u32 = 300;

/// Number of random lines sent to an echo server in a case.
const LINES: u32 = 200;

/// Number of identical requests that each of two clients sends.
const REPETITIONS: usize = 50;

/// Hint of a server whose results are wrong from 2147483648 on.
const SIZE_HINT: &str =
    "does the server use integers of 32 bits? numbers from 2147483648 on need 64 bits";

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "results/arithmetic",
        requirement: "random expressions are evaluated correctly",
        source: "the contract: service, division, overflow",
        preconditions: &[Precondition::Calc],
        level: Level::Required,
        check: |ctx| {
            let contract = ctx.contract;
            let other_format = RefCell::new(None);
            let max_length = contract.max_line.unwrap_or(usize::MAX);
            let expressions = expressions(contract.dialect)
                .prop_filter("too long for the server", move |it| {
                    contract.payload(it.to_string().as_bytes()).len() <= max_length
                });
            let holds = |client: &mut TestClient<'_>, expression: &Expression| {
                let value = expression.value(contract.dialect);
                let expected = format!("`{expression}` is {value}");
                let with_size_hint =
                    |failure: Failure| match expression.just_exceeds_32_bits(contract.dialect) {
                        true if failure.hint.is_none() => failure.hint(SIZE_HINT),
                        _ => failure,
                    };
                let reply = client
                    .ask(expression.to_string().as_bytes())
                    .map_err(|error| with_size_hint(Failure::client_error(&expected, &error)))?;
                match value.compare_reply(&reply, contract) {
                    ReplyMatch::Different => {
                        return Err(with_size_hint(wrong_value(ctx, expected, value, &reply)));
                    }
                    ReplyMatch::Equal => {}
                    ReplyMatch::OtherFormat => {
                        let text = format!("the reply to `{expression}` is {}", printable(&reply));
                        other_format.replace(Some(text));
                    }
                }
                ctx.evidence().record_verified();
                Ok(())
            };
            let prepare = || connect_and_learn(ctx);
            ctx.property(EXPRESSIONS, "expressions", expressions, prepare, holds)?;
            if let Some(text) = other_format.take() {
                ctx.evidence()
                    .warn(format!("the value is correct, but its format differs: {text}"));
            }
            Ok(())
        },
    },
    Case {
        name: "results/precedence",
        requirement: "precedence, associativity, parentheses and signs follow the rules of arithmetic",
        source: "the contract: service; ISO 80000-2 (order of operations)",
        preconditions: &[Precondition::Calc, Precondition::Supports("2+3*4")],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            // Compare the reply to each expression with the server's reply to the last step of its
            // evaluation. A server that adds wrongly may still have the right precedence.
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
                let reply = client.learn_reply(step.as_bytes())?;
                client.request(expression.as_bytes())?;
                client.expect(&reply).map_err(|failure| Failure {
                    expected: format!(
                        "the same reply to `{expression}` as to `{step}`: {}",
                        printable(&reply)
                    ),
                    ..failure
                })?;
            }
            Ok(())
        },
    },
    Case {
        name: "results/deterministic",
        requirement: "the same request always gets the same reply, on every connection",
        source: "the line protocol",
        preconditions: &[],
        level: Level::Required,
        check: |ctx| {
            let repeated = b"1234+41000";
            let reply = ctx.clients().connect()?.learn_reply(repeated)?;
            for number in 0..2 {
                let mut client = ctx.clients().connect_with_retry(&request(number))?;
                for _ in 0..ctx.repetitions(REPETITIONS, 2) {
                    client.request(repeated)?;
                    client.expect(&reply)?;
                }
            }
            Ok(())
        },
    },
    Case {
        name: "results/division-by-zero",
        requirement: "a division by zero gets an error reply, and the next request is answered",
        source: "the line protocol; CWE-369 (divide by zero)",
        preconditions: &[Precondition::Calc, Precondition::Supports("1/0")],
        level: Level::Required,
        check: |ctx| {
            expect_values(
                ctx,
                &[("1/0", Value::Error), ("5/(3-3)", Value::Error), ("8", Value::Whole(8))],
            )
        },
    },
    Case {
        name: "results/overflow",
        requirement: "a result that exceeds 64 bits gets an error reply instead of a wrong number",
        source: "the contract: overflow; CWE-190 (integer overflow or wraparound)",
        preconditions: &[Precondition::Calc, Precondition::Overflow],
        level: Level::Required,
        check: |ctx| {
            expect_values(
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
        requirement: "floats are computed and printed with double precision",
        source: "IEEE 754 (binary64)",
        preconditions: &[Precondition::Calc, Precondition::Supports("0.1*3")],
        level: Level::Required,
        check: |ctx| {
            expect_values(
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
        requirement: "an echo server returns each line byte for byte, or transformed as declared",
        source: "the line protocol; the contract: transform; RFC 862 (Echo Protocol)",
        preconditions: &[Precondition::Echo],
        level: Level::Required,
        check: |ctx| {
            let limit = ctx.contract.max_line.unwrap_or(1000).min(1000);
            // A transformation is defined for printable text.
            let bytes = match ctx.contract.transform {
                None => 0..=u8::MAX,
                Some(_) => b' '..=b'~',
            };
            let line = part_of_a_line(bytes, limit)
                .prop_filter("not a single line", |line| is_one_request_and_reply(ctx, line));
            // Half of the lines contain only printable bytes, which are rare in random lines.
            let text = part_of_a_line(b' '..b'~', limit);
            let text = text
                .prop_filter("not a single request", |text| is_one_request_and_reply(ctx, text));
            let lines = prop_oneof![line, text].prop_map(Line);
            let prepare = || {
                let mut client = connect_and_learn(ctx)?;
                // Lines that faulty servers often change.
                let often_changed =
                    [&b" x"[..], b"x ", b"\tx\t", b"a  b", b" ", b"", b"aBc xYz", b"%s\\n\"'"];
                for line in
                    often_changed.into_iter().filter(|line| is_one_request_and_reply(ctx, line))
                {
                    expect_echo(&mut client, line)?;
                }
                Ok(client)
            };
            ctx.property(LINES, "lines", lines, prepare, |client, line| {
                expect_echo(client, &line.0)
            })
        },
    },
];

/// Requires the value in each row whose expression belongs to the dialect.
fn expect_values(ctx: &TestContext<'_>, rows: &[(&str, Value)]) -> Result<(), Failure> {
    let mut client = ctx.clients().connect()?;
    client.learn_reply(&request(1))?;
    let dialect = ctx.contract.dialect;
    for (expression, value) in rows.iter().filter(|(expression, _)| dialect.reads(expression)) {
        let expected = format!("`{expression}` is {value}");
        let reply = client
            .ask(expression.as_bytes())
            .map_err(|error| Failure::client_error(&expected, &error))?;
        if value.compare_reply(&reply, ctx.contract) == ReplyMatch::Different {
            // The evidence has the bytes on the wire.
            let failure = wrong_value(ctx, expected, *value, &reply);
            let failure = Failure { observed: printable(client.raw_reply()), ..failure };
            return Err(failure.caused_by(&ctx.contract.payload(expression.as_bytes())));
        }
        ctx.evidence().record_verified();
    }
    Ok(())
}

/// Returns the failure of a server whose reply does not have the required value, or has it among
/// other text.
fn wrong_value(ctx: &TestContext<'_>, expected: String, value: Value, reply: &[u8]) -> Failure {
    let failure = Failure::fail(expected, printable(reply)).fault(Fault::WrongReply);
    let plain = request(1);
    let adds_text = ctx
        .learned_replies()
        .get(&plain)
        .is_some_and(|learned| learned != plain && numbers(&learned).any(|number| number == plain));
    // Without a declared error prefix, any text without a number is an error.
    let is_error = ctx
        .contract
        .is_error(reply)
        .unwrap_or_else(|| numbers(reply).next().is_none() && number(reply).is_none());
    let is_value =
        |number: &[u8]| value.compare_reply(number, ctx.contract) != ReplyMatch::Different;
    match value {
        Value::Error if numbers(reply).next().is_some() => failure.fault(Fault::NoErrorReply),
        Value::Whole(_) | Value::Double(_) if is_error => failure.fault(Fault::ErrorReply),
        Value::Whole(_) | Value::Double(_) if adds_text && numbers(reply).any(is_value) => {
            failure.fault(Fault::ReplyFormat).hint(
                "send only the value; or, if the text belongs to the protocol, declare which part \
                 of a reply is the value: `harness probe` detects it and writes `value = …` in the \
                 `[wire]` table of a manifest entry",
            )
        }
        _ => failure,
    }
}

/// Returns the words of a reply that are numbers.
fn numbers(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b".+-".contains(byte);
    reply
        .split(move |byte| !is_part(byte))
        .filter(|word| word.iter().any(u8::is_ascii_digit))
        .filter(|word| std::str::from_utf8(word).is_ok_and(|text| text.parse::<f64>().is_ok()))
}

/// Returns whether these bytes are exactly one request, and their echo is exactly one reply.
fn is_one_request_and_reply(ctx: &TestContext<'_>, line: &[u8]) -> bool {
    let wire = &ctx.contract.wire;
    let echo = ctx.contract.echo(line);
    let is_one_reply = match &wire.reply_end {
        ReplyFraming::Bytes(end) => end.find_end(&echo).is_none() && echo.last() != Some(&b'\r'),
        ReplyFraming::Size(size) => {
            line.len() <= *size && !echo.ends_with(b" ") && !echo.ends_with(b"\0")
        }
        ReplyFraming::Length(_) => true,
        ReplyFraming::Close | ReplyFraming::Quiet(_) => !echo.is_empty(),
    };
    is_one_reply
        && wire.request.after.iter().all(|byte| !line.contains(byte))
        && (wire.is_delimited() || !line.is_empty())
}

/// Generates a slice of random bytes. Shrinking can cut bytes off at both ends, and so isolate the
/// bytes that fail.
fn part_of_a_line(byte: impl Strategy<Value = u8>, limit: usize) -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(byte, 0..limit);
    (0..limit, 0..limit, bytes).prop_map(|(end, length, mut bytes)| {
        bytes.truncate(end);
        bytes.split_off(bytes.len().saturating_sub(length))
    })
}

/// Connects a client and learns the reply to a plain request.
fn connect_and_learn<'s>(ctx: &'s TestContext<'_>) -> Result<TestClient<'s>, Failure> {
    let mut client = ctx.clients().connect()?;
    client.learn_reply(&request(1))?;
    Ok(client)
}

/// Requires that the reply to a line is the line, transformed as declared.
fn expect_echo(client: &mut TestClient<'_>, line: &[u8]) -> Result<(), Failure> {
    let echo = client.ctx.contract.echo(line);
    let expected = format!("the reply {} to {}", printable(&echo), printable(line));
    let reply = client.ask(line).map_err(|error| Failure::client_error(&expected, &error))?;
    if reply != echo {
        return Err(Failure::wrong_reply(expected, &echo, &reply).with_utf8_fault(line));
    }
    client.ctx.evidence().record_verified();
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
