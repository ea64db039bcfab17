use std::thread;

use proptest::prelude::*;

use super::dialect::{
    Message, NOT_AN_EXPRESSION, TOO_DEEP, TOO_LONG, TOO_MANY_OPERATORS, TOO_MANY_PREFIXES,
};
use super::*;

fn reply_to(line: impl AsRef<[u8]>) -> String {
    let mut reply = Vec::new();
    answer(line.as_ref(), &mut reply);
    String::from_utf8(reply).expect("a reply is ASCII")
}

/// Evaluates in a thread with a small stack; a stack overflow aborts the whole test run.
fn reply_on_small_stack(line: &[u8]) -> String {
    let line = line.to_vec();
    let small = thread::Builder::new().stack_size(128 * 1024);
    let thread = small.spawn(move || reply_to(line)).expect("a thread starts");
    thread.join().expect("no line panics")
}

fn assert_replies(table: &[(&str, &str)]) {
    for (line, reply) in table {
        assert_eq!(reply_to(line), *reply, "to {line:?}");
    }
}

#[test]
fn arithmetic_follows_the_dialect() {
    assert_replies(&[
        ("1+2", "3"),
        (" \t1 +\t2 ", "3"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("2-3-4", "-5"),
        ("7/2", "3"),
        ("-7/2", "-3"),
        ("7/2.0", "3.5"),
        ("7%3", "1"),
        ("-7%3", "-1"),
        ("7%-3", "1"),
        ("5.5%2", "1.5"),
        ("2^3", "8"),
        ("2^3^2", "64"),
        ("-2^2", "-4"),
        ("2^-1", "0.5"),
        ("1--1", "2"),
        ("-(1+2)", "-3"),
        ("007", "7"),
        ("1.0", "1"),
        (".5+1.", "1.5"),
        ("1e3", "1000"),
        ("1E-3-3", "-2.999"),
        ("0.1+0.2", "0.30000000000000004"),
        ("1e21", "1000000000000000000000"),
        ("-0", "0"),
        ("-0.0", "-0"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775807-1", "-9223372036854775808"),
    ]);
}

#[test]
fn comparisons_and_truth_values_follow_the_dialect() {
    assert_replies(&[
        ("true", "true"),
        ("!true", "false"),
        ("1 < 2", "true"),
        ("2 <= 1", "false"),
        ("2 > 1.5", "true"),
        ("2 >= 3", "false"),
        ("1+1 == 2", "true"),
        ("1 != 2", "true"),
        ("1 == 1.0", "false"),
        ("1 <= 1.0", "true"),
        ("2^3 == 8", "false"),
        ("1 == true", "false"),
        ("true || false && false", "true"),
        ("!(1 < 2) || 3 > 2", "true"),
        ("1 < 2 < 3", "error: wrong type"),
        ("false && 1/0 == 1", "error: division by zero"),
        ("1 + true", "error: wrong type"),
        ("true / 0", "error: wrong type"),
        ("true < false", "error: wrong type"),
        ("!1", "error: wrong type"),
        ("-true", "error: wrong type"),
        ("1 && true", "error: wrong type"),
    ]);
}

#[test]
fn functions_follow_the_dialect() {
    assert_replies(&[
        ("min(3, 1, 2)", "1"),
        ("max (3,1.5)", "3"),
        ("max(1, 2.5) * 2", "5"),
        ("min(1e19, 1e20)", "10000000000000000000"),
        ("max(-1e20, -1e19)", "-10000000000000000000"),
        ("max(9007199254740992, 9007199254740993)", "9007199254740993"),
        ("floor(2.7)", "2"),
        ("ceil(-2.7)", "-2"),
        ("round(2.5)", "3"),
        ("floor(7) / 2", "3.5"),
        ("math::sqrt(16)", "4"),
        ("math::pow(2, 10)", "1024"),
        ("math::log(8, 2)", "3"),
        ("-min(1, 2)^2", "-1"),
        ("min(max(1, 2), (3))", "2"),
        ("min()", "error: wrong number of arguments"),
        ("min(1)", "error: wrong number of arguments"),
        ("floor(1, 2)", "error: wrong number of arguments"),
        ("math::pow(1)", "error: wrong number of arguments"),
        ("min(1, true)", "error: wrong type"),
        ("min(true, 1)", "error: wrong type"),
        ("floor(true)", "error: wrong type"),
        ("math::sqrt(-1)", "error: not a finite number"),
        ("math::ln(0)", "error: not a finite number"),
    ]);
}

#[test]
fn every_listed_function_can_be_called() {
    for (name, arity) in FUNCTIONS {
        let arguments = vec!["1"; *arity.start()].join(",");
        let reply = reply_to(format!("{name}({arguments})"));
        // The inverse hyperbolic tangent of one and the logarithm to base one are not finite.
        let infinite = ["math::atanh", "math::log"].contains(name);
        assert_eq!(infinite, reply == "error: not a finite number", "{name}: {reply}");
        assert_eq!(infinite, reply.parse::<f64>().is_err(), "{name}: {reply}");
    }
}

#[test]
fn an_out_of_range_value_is_an_error_anywhere_in_an_expression() {
    assert_replies(&[
        ("9223372036854775808", "error: overflow"),
        ("-9223372036854775808", "error: overflow"),
        ("9223372036854775807+1", "error: overflow"),
        ("-9223372036854775807-2", "error: overflow"),
        ("-(-9223372036854775807-1)", "error: overflow"),
        ("(-9223372036854775807-1)/-1", "error: overflow"),
        ("(-9223372036854775807-1)%-1", "error: overflow"),
        ("4294967296*4294967296", "error: overflow"),
        ("1/0", "error: division by zero"),
        ("1%0", "error: division by zero"),
        ("1.0/0", "error: division by zero"),
        ("1/-0.0", "error: division by zero"),
        ("0.0%0", "error: division by zero"),
        ("1/(1.0/0)", "error: division by zero"),
        ("0.0/0 == 1", "error: division by zero"),
        ("1e309", "error: not a finite number"),
        ("1e308*10", "error: not a finite number"),
        ("1/(1e308*10)", "error: not a finite number"),
        ("1e308*10 > 1", "error: not a finite number"),
        ("0^-1", "error: not a finite number"),
        ("(-8)^0.5", "error: not a finite number"),
    ]);
}

#[test]
fn input_that_evalexpr_would_silently_accept_is_rejected() {
    assert_replies(&[
        ("7//2", "error: not an expression"),
        ("7/*2*/", "error: not an expression"),
        ("/*7*/2", "error: not an expression"),
        ("()", "error: not an expression"),
        ("1+()", "error: not an expression"),
        ("+ 1 2", "error: not an expression"),
        ("1 + * 2 3", "error: not an expression"),
        ("+1", "error: not an expression"),
        ("1,2", "error: not an expression"),
        ("(1,2)", "error: not an expression"),
        ("min((1,2),3)", "error: not an expression"),
        ("floor 2.5", "error: not an expression"),
        ("0x1F", "error: not an expression"),
        ("0xe-5", "error: not an expression"),
        ("1;2", "error: unexpected character"),
        ("\"a\"+\"b\"", "error: unexpected character"),
        ("str::substring(\"\u{fc}\",1)", "error: unexpected character"),
        ("a=1", "error: unknown name"),
        ("inf", "error: unknown name"),
        ("nan", "error: unknown name"),
        ("x", "error: unknown name"),
        ("if(true, 1, 2)", "error: unknown name"),
        ("typeof(1)", "error: unknown name"),
        ("shl(1,64)", "error: unknown name"),
        ("math::abs(-9223372036854775807-1)", "error: unknown name"),
        ("random()", "error: unknown name"),
    ]);
}

#[test]
fn other_input_is_rejected_with_fixed_messages() {
    assert_replies(&[
        ("", "error: empty request"),
        (" \t ", "error: empty request"),
        ("1+", "error: not an expression"),
        ("*1", "error: not an expression"),
        ("1 2", "error: not an expression"),
        ("2(3)", "error: not an expression"),
        ("(2)(3)", "error: not an expression"),
        ("2**3", "error: not an expression"),
        ("1<<2", "error: not an expression"),
        ("1 = 1", "error: not an expression"),
        ("1 = = 1", "error: not an expression"),
        ("1 === 1", "error: not an expression"),
        ("1 & 2", "error: not an expression"),
        ("1.2.3", "error: not an expression"),
        (".", "error: not an expression"),
        ("1e", "error: not an expression"),
        ("1e -3", "error: not an expression"),
        ("1e-3.5", "error: not an expression"),
        ("1n", "error: not an expression"),
        ("min(,1)", "error: not an expression"),
        ("min(1,)", "error: not an expression"),
        ("min(-)", "error: not an expression"),
        ("min", "error: not an expression"),
        ("(1", "error: unbalanced parentheses"),
        ("1)", "error: unbalanced parentheses"),
        ("1_000", "error: not an expression"),
        ("1\r", "error: unexpected character"),
        ("1\0", "error: unexpected character"),
        ("\u{1b}[31m", "error: unexpected character"),
        ("1\u{a0}+\u{a0}1", "error: unexpected character"),
        ("\u{661}", "error: unexpected character"),
        ("True", "error: unknown name"),
    ]);
    assert_eq!(reply_to(b"\xff\xfe"), "error: unexpected character");
}

#[test]
fn the_value_is_appended_to_the_existing_reply() {
    let mut reply = b"3\n".to_vec();
    answer(b"2+2", &mut reply);
    assert_eq!(reply, b"3\n4");
}

#[test]
fn each_limit_matches_its_message() {
    type Line = fn(usize) -> String;
    let limits: [(Line, usize, Message); 5] = [
        (|n| format!("{}1", "-".repeat(n)), MAX_PREFIXES, TOO_MANY_PREFIXES),
        (|n| format!("{}1{}", "(".repeat(n), ")".repeat(n)), MAX_DEPTH, TOO_DEEP),
        (|n| format!("1{}", "+1".repeat(n)), MAX_OPERATORS, TOO_MANY_OPERATORS),
        (|n| format!("max(1{})", ",1".repeat(n - 1)), MAX_OPERATORS, TOO_MANY_OPERATORS),
        (|n| format!("{:n$}", 1), MAX_LENGTH, TOO_LONG),
    ];
    for (line, limit, message) in limits {
        assert!(message.contains(&format!("limit {limit}")), "{message}");
        let at_limit = reply_to(line(limit));
        assert!(!at_limit.starts_with("error"), "{message}: {at_limit}");
        assert_eq!(reply_to(line(limit + 1)), format!("error: {message}"));
    }
}

#[test]
fn nonconsecutive_signs_are_counted_separately() {
    let line = format!("1{}", "--1".repeat(MAX_PREFIXES + 1));
    assert_eq!(reply_to(line), "18");
}

#[test]
fn every_kind_of_repetition_is_answered_on_a_small_stack() {
    let units = [
        "(", ")", "-", "!", "1+", "1^", "-(", "!(", "floor(", "min(1,", "1,", "((1,", "1+(",
        "(1)+", "--(", "1^-", "1*-", "true&&!", "1e", "9", ".", "::", "a", "=", "//", "/*", "\0",
        "\u{fc}",
    ];
    for unit in units {
        for times in [15, 16, 60, 64, 120, 255, 256, 1_000, 4_096, 50_000] {
            let head = unit.repeat(times);
            let close = ")".repeat(unit.matches('(').count() * times);
            for line in [head.clone(), format!("{head}1"), format!("{head}1{close}")] {
                assert_is_one_line(&reply_on_small_stack(line.as_bytes()));
            }
        }
    }
}

fn assert_is_one_line(reply: &str) {
    let printable = reply.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    assert!(printable, "{reply:?}");
    assert!(!reply.is_empty() && reply.len() < 400, "a reply of {} bytes", reply.len());
}

/// Generates tokens of the dialect, extreme numbers, and some tokens that are not in the dialect.
fn token() -> impl Strategy<Value = String> {
    let fixed = [
        "0",
        "1",
        "2",
        "7",
        "9223372036854775807",
        "9223372036854775808",
        "0.0",
        "1.5",
        ".5",
        "2.",
        "1e308",
        "5e-324",
        "1e309",
        "1e-3",
        "9007199254740993",
        "true",
        "false",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "(",
        ")",
        ",",
        "<",
        "<=",
        ">",
        ">=",
        "==",
        "!=",
        "&&",
        "||",
        "!",
        " ",
        "\t",
        "=",
        "x",
        "math::abs(",
        "\"",
        ";",
        "e",
        ":",
    ];
    let calls: Vec<String> = FUNCTIONS.iter().map(|(name, _)| format!("{name}(")).collect();
    prop_oneof![
        4 => prop::sample::select(fixed.map(String::from).to_vec()),
        1 => prop::sample::select(calls),
    ]
}

/// Generates well-formed expressions of every kind; most of them have a value.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i8>().prop_map(|n| format!("{}", n.unsigned_abs())),
        (0..=i64::MAX).prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("a literal", |f| f.is_finite()).prop_map(|f| {
            let float = f.abs();
            format!("{float:e}")
        }),
        prop::sample::select(vec!["0.0", "1.5", "1E+3", "true", "false"]).prop_map(String::from),
    ];
    let operators =
        vec!["+", "-", "*", "/", "%", "^", "<", "<=", ">", ">=", "==", "!=", "&&", "||"];
    leaf.prop_recursive(8, 64, 3, move |inner| {
        let binary = prop::sample::select(operators.clone());
        let function = prop::sample::select(FUNCTIONS.to_vec());
        prop_oneof![
            4 => (inner.clone(), binary, inner.clone()).prop_map(|(a, o, b)| format!("{a}{o}{b}")),
            1 => inner.clone().prop_map(|a| format!(" ( {a}\t)")),
            1 => inner.clone().prop_map(|a| format!("-{a}")),
            1 => inner.clone().prop_map(|a| format!("!{a}")),
            1 => (function, prop::collection::vec(inner, 2)).prop_map(|((name, arity), some)| {
                format!("{name}({})", some[..*arity.start()].join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_do_not_overflow_a_small_stack(line in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_is_one_line(&reply_on_small_stack(&line));
    }

    #[test]
    fn arbitrary_tokens_do_not_overflow_a_small_stack(tokens in prop::collection::vec(token(), 0..400)) {
        let line = tokens.concat();
        assert_is_one_line(&reply_on_small_stack(line.as_bytes()));
    }

    #[test]
    fn short_token_sequences_get_a_one_line_reply(tokens in prop::collection::vec(token(), 0..9)) {
        assert_is_one_line(&reply_to(tokens.concat()));
    }

    #[test]
    fn accepted_lines_parse_into_small_trees(line in expression()) {
        let reply = reply_on_small_stack(line.as_bytes());
        assert_is_one_line(&reply);
        prop_assert_ne!(&reply, &format!("error: {NOT_AN_EXPRESSION}"));
        if let Ok(text) = guard::check(line.as_bytes()) {
            let tree = evalexpr::build_operator_tree(text);
            let nodes = tree.expect("evalexpr parses the line").iter().count();
            // Each operator adds at most three nodes: itself and two values, or the two roots of a
            // comma.
            prop_assert!(nodes <= 1 + 3 * MAX_OPERATORS + text.matches('(').count());
        }
    }

    #[test]
    fn values_match_an_independent_oracle(
        tree in tree(),
        blank in prop::sample::select(vec!["", " ", "\t "]),
    ) {
        let expected = match tree.value() {
            Ok(value) => value.to_string(),
            Err(message) => format!("error: {message}"),
        };
        let line = tree.format(blank);
        prop_assert_eq!(reply_to(&line), expected, "to {}", line);
    }
}

/// An integer expression that computes its value; it shares no code with the evaluator.
#[derive(Clone, Debug)]
enum Tree {
    Number(i64),
    Negated(Box<Tree>),
    Binary(Box<Tree>, char, Box<Tree>),
    Extreme(&'static str, Vec<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let number = prop_oneof![
        4 => 0..=20_i64,
        1 => 0..=i64::MAX,
        1 => prop::sample::select(vec![i64::MAX, i64::MAX - 1, 1 << 32, 3_037_000_500]),
    ];
    number.prop_map(Tree::Number).prop_recursive(6, 48, 3, |inner| {
        let operator = prop::sample::select(vec!['+', '-', '*', '/', '%']);
        let name = prop::sample::select(vec!["min", "max"]);
        prop_oneof![
            1 => inner.clone().prop_map(|tree| Tree::Negated(Box::new(tree))),
            6 => (inner.clone(), operator, inner.clone())
                .prop_map(|(a, operator, b)| Tree::Binary(Box::new(a), operator, Box::new(b))),
            1 => (name, prop::collection::vec(inner, 2..4))
                .prop_map(|(name, trees)| Tree::Extreme(name, trees)),
        ]
    })
}

impl Tree {
    fn value(&self) -> Result<i64, &'static str> {
        let exact = match self {
            Tree::Number(number) => i128::from(*number),
            Tree::Negated(tree) => -i128::from(tree.value()?),
            Tree::Binary(a, operator, b) => {
                let (a, b) = (i128::from(a.value()?), i128::from(b.value()?));
                match operator {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ if b == 0 => return Err("division by zero"),
                    // The remainder is computed with the quotient, which overflows.
                    '%' if a / b > i128::from(i64::MAX) => return Err("overflow"),
                    '%' => a % b,
                    _ => a / b,
                }
            }
            Tree::Extreme(name, trees) => {
                let values: Vec<i64> = trees.iter().map(Tree::value).collect::<Result<_, _>>()?;
                let extreme =
                    if *name == "min" { values.iter().min() } else { values.iter().max() };
                return Ok(*extreme.expect("there are arguments"));
            }
        };
        i64::try_from(exact).map_err(|_| "overflow")
    }

    /// Formats the tree with as few parentheses as precedence allows.
    fn format(&self, blank: &str) -> String {
        let operand = |tree: &Tree, min_tightness: u8| {
            let text = tree.format(blank);
            if tree.tightness() < min_tightness { format!("({text})") } else { text }
        };
        match self {
            Tree::Number(number) => number.to_string(),
            Tree::Negated(tree) => format!("-{blank}{}", operand(tree, 3)),
            Tree::Binary(a, operator, b) => {
                let tightness = self.tightness();
                let (a, b) = (operand(a, tightness), operand(b, tightness + 1));
                format!("{a}{blank}{operator}{blank}{b}")
            }
            Tree::Extreme(name, trees) => {
                let arguments: Vec<String> = trees.iter().map(|tree| operand(tree, 0)).collect();
                format!("{name}({})", arguments.join(&format!("{blank},")))
            }
        }
    }

    fn tightness(&self) -> u8 {
        match self {
            Tree::Number(_) | Tree::Extreme(..) => 4,
            Tree::Negated(_) => 3,
            Tree::Binary(_, '+' | '-', _) => 1,
            Tree::Binary(..) => 2,
        }
    }
}
