//! Rules of the architecture: modules import only from lower layers, files have no import cycles,
//! only some modules use clap, and no module parses a message of another. Run these tests with
//! `cargo test layers::`.

mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::tests;

use imports::{Sources, code_of, every_form_of_import_is_found, without_tests};

/// The layers of this crate, from the bottom up. Modules of one layer do not import each other.
const HARNESS: &[&[&str]] = &[
    &[
        "environment",
        "exit",
        "figures",
        "init",
        "interrupt",
        "renamed",
        "stats",
        "text",
        "units",
        "usage_error",
        "workflow_commands",
    ],
    &["config_source", "stdio", "wire"],
    &["contract"],
    &["results"],
    &["server"],
    &["client", "concurrency", "manifest"],
    &["comparison", "conformance", "load"],
    &["counterexamples", "history", "probe", "report", "selftest", "thresholds"],
    &["calibrate", "cli", "known_failures"],
    &["commands"],
    &["testing"],
];

/// Modules that may use clap.
const CLAP_MODULES: &[&str] = &["cli", "commands"];

/// Modules that parse text from other sources: files in /proc and the output of other programs.
const PARSER_MODULES: &[&str] = &["server", "concurrency", "calibrate"];

/// Literals that any module may search for. `panicked at` is part of the panic message of a Rust
/// program. ` bytes)` ends a truncated text and gives
/// its original size, which a second truncation must preserve.
const ALLOWED_LITERALS: &[&str] = &["panicked at", " bytes)"];

/// Beginnings of calls that parse or search a text with a literal.
const PARSE_METHODS: &[&str] = &[
    ".split_once(\"",
    ".rsplit_once(\"",
    ".split(\"",
    ".strip_prefix(\"",
    ".strip_suffix(\"",
    ".starts_with(\"",
    ".ends_with(\"",
    ".contains(\"",
    ".find(\"",
    "== \"",
];

/// Fields with text of another stage. Searching them is parsing, whatever the search is for.
const TEXT_FIELDS: &[&str] = &["hint", "observed", "message", "reason", "requirement"];

tests![
    modules_of_harness_import_only_from_lower_layers,
    modules_of_servers_import_only_from_earlier_modules,
    files_of_harness_have_no_import_cycle,
    files_of_servers_have_no_import_cycle,
    only_the_command_line_modules_use_clap,
    no_module_parses_a_message_of_another,
    every_form_of_import_is_found,
];

/// Returns the source directory of a package.
fn source_of(krate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("src")
}

fn modules_of_harness_import_only_from_lower_layers() {
    let layer = |name: &str| {
        let found = HARNESS.iter().position(|layer| layer.contains(&name));
        found.unwrap_or_else(|| panic!("`{name}` is in no layer of tests/layers.rs"))
    };
    imports_only_from_below("harness", layer);
}

/// `lib.rs` declares the modules in the order of their layers, from the bottom up.
fn modules_of_servers_import_only_from_earlier_modules() {
    let text = fs::read_to_string(source_of("servers").join("lib.rs")).expect("a readable file");
    let modules: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod "))
        .filter_map(|line| line.strip_suffix(';'))
        .collect();
    assert!(modules.len() > 5, "{modules:?}");
    let layer = |name: &str| {
        let found = modules.iter().position(|module| *module == name);
        found.unwrap_or_else(|| panic!("`{name}` is not in lib.rs of servers"))
    };
    imports_only_from_below("servers", layer);
}

fn imports_only_from_below(krate: &str, layer: impl Fn(&str) -> usize) {
    let sources = Sources::read(&source_of(krate));
    let mut violations = Vec::new();
    for (module, targets) in &sources.imports() {
        for (target, path) in targets {
            let (Some(from), Some(to)) = (module.first(), target.first()) else { continue };
            if from != to && layer(to) >= layer(from) {
                violations
                    .push(format!("{} imports `{path}`, which is not below", sources.file(module)));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

fn files_of_harness_have_no_import_cycle() {
    let cycles = Sources::read(&source_of("harness")).cycles();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

fn files_of_servers_have_no_import_cycle() {
    let cycles = Sources::read(&source_of("servers")).cycles();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

fn only_the_command_line_modules_use_clap() {
    for (module, (file, text)) in &Sources::read(&source_of("harness")).modules {
        let may_use = module.first().is_some_and(|name| CLAP_MODULES.contains(&name.as_str()));
        assert!(may_use || !text.contains("clap"), "{} uses clap", file.display());
    }
}

/// Data between modules is typed, so that rewording a message cannot change a verdict.
fn no_module_parses_a_message_of_another() {
    let root = source_of("harness");
    let mut violations = Vec::new();
    for (module, (file, code)) in &Sources::read(&root).modules {
        let is_test = file.to_string_lossy().ends_with("tests.rs");
        if is_test || module.first().is_some_and(|name| PARSER_MODULES.contains(&name.as_str())) {
            continue;
        }
        let text = fs::read_to_string(root.join(file)).expect("a readable file");
        violations.extend(
            parsed_messages(&text, code).map(|words| format!("{}: {words}", file.display())),
        );
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    for (source, is_found) in [
        ("fn f(a: &str) -> bool { a.starts_with(\"the server ended\") }", true),
        ("fn f(a: &str) -> bool { a == \"connection reset\" }", true),
        ("fn f(a: &str) { a.split_once(\": \"); }", true),
        ("fn f(a: &str) -> bool { a.ends_with(\".rs\") }", false),
        ("// a.starts_with(\"the server ended\")", false),
        ("#[cfg(test)]\nmod tests { fn f(a: &str) { a.find(\"a b\"); } }\nfn f() {}", false),
        ("fn f(hint: &str, word: &str) -> bool { hint.starts_with(word) }", true),
        ("fn f(shint: &str, word: &str) -> bool { shint.starts_with(word) }", false),
        ("#[cfg(test)]\nmod tests;\nfn f(a: &str) { a.find(\"a b\"); }", true),
    ] {
        let code = without_tests(&code_of(source));
        assert_eq!(parsed_messages(source, &code).next().is_some(), is_found, "{source}");
    }
}

/// Returns the calls that search a text for a literal of several words or for a separator of
/// messages, and the calls that search one of [`TEXT_FIELDS`].
fn parsed_messages(text: &str, code: &str) -> impl Iterator<Item = String> {
    let with_literal = PARSE_METHODS.iter().flat_map(move |method| {
        text.match_indices(method).filter_map(move |(at, _)| {
            let literal = text[at + method.len()..].split('"').next().unwrap_or_default();
            let is_sentence = literal.contains(' ') && literal.contains(char::is_alphabetic)
                || matches!(literal, ": " | "; " | ", ");
            let is_code = code.as_bytes()[at] == text.as_bytes()[at];
            let is_violation = is_sentence && is_code && !ALLOWED_LITERALS.contains(&literal);
            is_violation.then(|| format!("{method}{literal}\""))
        })
    });
    let methods = || PARSE_METHODS.iter().filter(|method| method.starts_with('.'));
    let of_field = TEXT_FIELDS.iter().flat_map(move |field| {
        methods().filter_map(move |method| {
            let call = format!("{field}{}", method.trim_end_matches('"'));
            let is_name = |at: usize| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
            };
            code.match_indices(&call).any(|(at, _)| is_name(at)).then_some(call)
        })
    });
    with_literal.chain(of_field)
}
