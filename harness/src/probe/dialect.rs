//! Detects the arithmetic of a calculator server with sample expressions.

use std::collections::HashMap;

use servers::Service;

use super::protocol::{Protocol, Syntax, ask};
use super::reply::has_number;
use super::target::ProbeTarget;
use crate::contract::{Dialect, Division, Operators, Symbols};
use crate::text::{number, printable};

/// Each operator, with a sample expression and its value. The values differ, because some servers
/// repeat the previous reply.
const OPERATORS: &[(char, &str, &str)] = &[
    ('+', "41+1", "42"),
    ('-', "50-7", "43"),
    ('*', "4*11", "44"),
    ('/', "90/2", "45"),
    ('%', "146%50", "46"),
];

/// Characters that stand for the operators of calculators with letters, or with words of one
/// letter.
const SYMBOLS: &[(u8, &[u8])] = &[(b'-', b"Ss"), (b'*', b"Mmx"), (b'/', b"Dd:"), (b'%', b"Rr")];

/// Number of instances to launch in parallel if the server exits after each connection.
const PARALLEL_INSTANCES: usize = 4;

/// Detected dialect, with its description in lines.
pub(super) struct DetectedDialect {
    pub(super) dialect: Dialect,
    pub(super) lines: Vec<String>,
}

/// Sample expressions for syntax, division and overflow.
const OTHER_EXPRESSIONS: &[&str] = &[
    "41",
    "1+2+3",
    "(40+8)",
    "1.5+2",
    "-5+7",
    "7/2",
    "-7/2",
    "9223372036854775806+1",
    "9223372036854775807+1",
];

/// Detects the dialect: sends each sample expression on a new connection. If the server exits after
/// each connection, uses several instances in parallel.
pub(super) fn detect(target: &ProbeTarget, protocol: &Protocol) -> DetectedDialect {
    let mut dialect = Dialect::default();
    if protocol.service == Service::Echo {
        return DetectedDialect { dialect, lines: Vec::new() };
    }
    let syntax = Syntax { symbols: detect_symbols(target, protocol), ..protocol.syntax };
    dialect.symbols = syntax.symbols;
    let expressions: Vec<&str> = OPERATORS
        .iter()
        .map(|(_, expression, _)| *expression)
        .chain(OTHER_EXPRESSIONS.iter().copied())
        .collect();
    let instances = if target.exits_by_itself { PARALLEL_INSTANCES } else { 1 };
    let groups: Vec<&[&str]> = expressions.chunks(expressions.len().div_ceil(instances)).collect();
    let replies = target.each(&groups, |group| ask_all(target, protocol, syntax, group)).concat();
    let replies: HashMap<&str, Vec<u8>> = expressions
        .into_iter()
        .zip(replies)
        .filter_map(|(expression, reply)| Some((expression, reply?)))
        .collect();
    let reply = |expression: &str| replies.get(expression).cloned();
    let is = |expression: &str, value: &str| {
        reply(expression).is_some_and(|reply| has_number(&reply, value))
    };
    let operators: String = OPERATORS
        .iter()
        .filter(|(_, expression, value)| is(expression, value))
        .map(|(operator, ..)| *operator)
        .collect();
    dialect.two_operands = !is("41", "41") || !is("1+2+3", "6");
    dialect.parentheses = is("(40+8)", "48");
    dialect.negative = is("-5+7", "2");
    dialect.decimals = is("1.5+2", "3.5");
    if is("7/2", "3.5") {
        dialect.division = Some(Division::Exact);
    } else if is("7/2", "3") && (!dialect.negative || is("-7/2", "-3")) {
        dialect.division = Some(Division::Integer);
    }
    let is_exact = is("9223372036854775806+1", "9223372036854775807");
    let exceeds_64_bits = is("9223372036854775807+1", "9223372036854775808");
    let overflow = reply("9223372036854775807+1").unwrap_or_default();
    dialect.overflow_is_error =
        is_exact && !exceeds_64_bits && !overflow.is_empty() && number(&overflow).is_none();
    dialect.operators = Operators::try_from(operators.clone()).unwrap_or(dialect.operators);
    let division = match dialect.division {
        Some(Division::Exact) => "; 7/2 is 3.5",
        Some(Division::Integer) => "; 7/2 is 3",
        None => "",
    };
    let mut lines = vec![format!("operators: {operators}{division}")];
    let symbols = String::from(syntax.symbols);
    if !symbols.is_empty() {
        let symbols = printable(symbols.as_bytes());
        lines.push(format!(
            "characters that stand for the operators +-*/%, in this order: {symbols}"
        ));
    }
    let restrictions = [
        (dialect.two_operands, "only two numbers and an operator are accepted"),
        (!dialect.parentheses, "parentheses are not accepted"),
        (!dialect.negative, "negative numbers are not accepted"),
        (!dialect.decimals, "decimal fractions are not accepted"),
    ];
    let restrictions = restrictions.iter().filter(|(applies, _)| *applies);
    lines.extend(restrictions.map(|(_, text)| (*text).to_owned()));
    DetectedDialect { dialect, lines }
}

/// Detects the characters of the operators, if other characters than `+` stand for the addition.
fn detect_symbols(target: &ProbeTarget, protocol: &Protocol) -> Symbols {
    let mut symbols = protocol.syntax.symbols;
    if symbols == Symbols::default() || symbols.has(b' ') {
        return symbols;
    }
    for &(operator, candidates) in SYMBOLS {
        let sample = OPERATORS.iter().find(|(name, ..)| *name == char::from(operator));
        let Some((_, expression, value)) = sample else { continue };
        let has_value = |symbols: &Symbols| {
            let syntax = Syntax { symbols: *symbols, ..protocol.syntax };
            let replies = ask_all(target, protocol, syntax, &[expression]);
            replies[0].as_ref().is_some_and(|reply| has_number(reply, value))
        };
        let with = candidates.iter().filter_map(|&symbol| symbols.with(operator, symbol).ok());
        symbols = with.into_iter().find(has_value).unwrap_or(symbols);
    }
    symbols
}

/// Sends the expressions to one instance and returns the replies.
fn ask_all(
    target: &ProbeTarget,
    protocol: &Protocol,
    syntax: Syntax,
    expressions: &[&str],
) -> Vec<Option<Vec<u8>>> {
    let Ok(mut instance) = target.instance() else { return vec![None; expressions.len()] };
    let replies = expressions.iter().map(|expression| {
        let written = match protocol.wire.spaced {
            Some(spaced) => Syntax { spaced, ..syntax }.written(expression),
            None => syntax.symbols.replace_operators(expression.as_bytes()),
        };
        ask(&mut instance, protocol, &written)
    });
    replies.collect()
}
