//! Detects the arithmetic of a calculator server with sample expressions.

use std::collections::HashMap;

use servers::Service;

use super::instance::Origin;
use super::reply::has_number;
use super::speech::{Speech, ask};
use crate::contract::{Dialect, Division, Operators};
use crate::wire::respaced;

/// A sample expression and its value for each operator.
const OPERATORS: &[(char, &str, &str)] = &[
    ('+', "41+1", "42"),
    ('-', "50-8", "42"),
    ('*', "6*7", "42"),
    ('/', "84/2", "42"),
    ('%', "142%50", "42"),
];

/// Number of instances of a server that exits with its connection.
const MORTALS: usize = 4;

/// Detected dialect and its description.
pub(super) struct Found {
    pub(super) dialect: Dialect,
    pub(super) words: Vec<String>,
}

/// Further sample expressions.
const OTHERS: &[&str] = &[
    "41",
    "1+2+3",
    "(40+2)",
    "-5+7",
    "1.5+2",
    "7/2",
    "-7/2",
    "9223372036854775807",
    "9223372036854775807+1",
];

/// Sends each expression on a new connection. Uses several instances of a server that exits with
/// its connection.
pub(super) fn find_out(origin: &Origin, speech: &Speech) -> Found {
    let mut dialect = Dialect::default();
    if speech.service == Service::Echo {
        return Found { dialect, words: Vec::new() };
    }
    let expressions: Vec<&str> = OPERATORS
        .iter()
        .map(|(_, expression, _)| *expression)
        .chain(OTHERS.iter().copied())
        .collect();
    let at_once = if origin.is_mortal { MORTALS } else { 1 };
    let groups: Vec<&[&str]> = expressions.chunks(expressions.len().div_ceil(at_once)).collect();
    let replies = origin.each(&groups, |group| asked(origin, speech, group)).concat();
    let replies: HashMap<&str, Vec<u8>> = expressions
        .into_iter()
        .zip(replies)
        .filter_map(|(expression, reply)| Some((expression, reply?)))
        .collect();
    let reply = |expression: &str| replies.get(expression).cloned();
    let is = |expression: &str, value: &str| {
        reply(expression).is_some_and(|reply| has_number(&reply, value))
    };
    let there: String = OPERATORS
        .iter()
        .filter(|(_, expression, value)| is(expression, value))
        .map(|(operator, ..)| *operator)
        .collect();
    dialect.is_binary = !is("41", "41") || !is("1+2+3", "6");
    dialect.parentheses = is("(40+2)", "42");
    dialect.negative = is("-5+7", "2");
    dialect.decimals = is("1.5+2", "3.5");
    if is("7/2", "3.5") {
        dialect.division = Some(Division::Exact);
    } else if is("7/2", "3") && (!dialect.negative || is("-7/2", "-3")) {
        dialect.division = Some(Division::Integer);
    }
    let is_exact = is("9223372036854775807", "9223372036854775807");
    let goes_on =
        reply("9223372036854775807+1").is_some_and(|it| has_number(&it, "9223372036854775808"));
    let words = reply("9223372036854775807+1").unwrap_or_default();
    let is_number = String::from_utf8_lossy(&words).trim().parse::<f64>().is_ok();
    dialect.overflow_is_error = is_exact && !goes_on && !words.is_empty() && !is_number;
    dialect.operators = Operators::try_from(there.clone()).unwrap_or(dialect.operators);
    let division = match dialect.division {
        Some(Division::Exact) => ", and 7/2 is 3.5",
        Some(Division::Integer) => ", and 7/2 is 3",
        None => "",
    };
    let mut words = vec![format!("it calculates with {there}{division}")];
    let without = [
        (dialect.is_binary, "it takes two numbers and an operator, and no more"),
        (!dialect.parentheses, "it takes no parentheses"),
        (!dialect.negative, "it takes no negative numbers"),
        (!dialect.decimals, "it takes no decimals"),
    ];
    words.extend(without.iter().filter(|(is_so, _)| *is_so).map(|(_, text)| (*text).to_owned()));
    Found { dialect, words }
}

/// Returns one instance's replies to these expressions.
fn asked(origin: &Origin, speech: &Speech, expressions: &[&str]) -> Vec<Option<Vec<u8>>> {
    let Ok(mut instance) = origin.instance() else { return vec![None; expressions.len()] };
    let spaced = |expression: &&str| match speech.wire.spaced {
        Some(spaced) => respaced(expression.as_bytes(), spaced),
        None => expression.as_bytes().to_vec(),
    };
    let replies = expressions.iter().map(|it| ask(&mut instance, speech, &spaced(it)));
    replies.collect()
}
