//! Modules import only from lower layers, no files import each other in a cycle, and no stage takes
//! a message of another apart: `cargo test layers::`.
//!
//! Read from the text: every `use`, also nested and renamed, every path that begins with `crate`,
//! `self`, `super` or the name of a module; re-exports lead to the file of what they name. Items
//! under `#[cfg(test)]` and `mod` lines do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::trials;

/// The layers of this crate, from the bottom up. Modules of one layer do not import each other.
const HARNESS: &[&[&str]] = &[
    &[
        "config_source",
        "environment",
        "exit",
        "figures",
        "init",
        "interrupt",
        "stats",
        "text",
        "units",
        "usage_error",
    ],
    &["stdio", "wire"],
    &["contract"],
    &["server"],
    &["client", "concurrency", "manifest"],
    &["conformance", "load"],
    &["counterexamples", "probe", "report", "selftest"],
    &["calibrate", "cli", "known_failures"],
    &["commands"],
    &["testing"],
];

/// Where clap may be used.
const KNOW_CLAP: &[&str] = &["cli", "commands"];

/// What reads text that is not the harness's own: files of /proc, output of other programs.
const READ_OTHERS: &[&str] = &["server", "concurrency", "calibrate"];

/// Words that may be looked for elsewhere: of a Rust program that panics, and the size behind bytes that
/// are shown shortened, which is kept where they are shortened again.
const WORDS_OF_OTHERS: &[&str] = &["panicked at", " bytes)"];

/// Methods that take a text apart or look into it.
const TAKE_APART: &[&str] = &[
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

trials![
    modules_of_harness_import_only_from_lower_layers,
    modules_of_servers_import_only_from_those_before_them,
    no_files_of_harness_import_each_other_in_a_cycle,
    no_files_of_servers_import_each_other_in_a_cycle,
    only_the_command_line_knows_clap,
    no_stage_takes_a_message_of_another_apart,
    an_import_is_found_however_it_is_written,
];

/// A module by its path in the crate; the crate itself is empty.
type Module = Vec<String>;

/// The sources of a crate.
struct Sources {
    /// The file of each module, and its text without comments, literals and tests.
    modules: BTreeMap<Module, (PathBuf, String)>,
}

/// What a file imports, and how it is written there.
type Imports = BTreeMap<Module, BTreeMap<Module, String>>;

fn source_of(krate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("src")
}

impl Sources {
    fn read(root: &Path) -> Sources {
        let mut modules = BTreeMap::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder of sources") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let file = path.strip_prefix(root).expect("it is below").to_path_buf();
                if file.extension().is_none_or(|it| it != "rs") || file == Path::new("main.rs") {
                    continue;
                }
                let mut module: Module = file
                    .with_extension("")
                    .iter()
                    .map(|part| part.to_string_lossy().into_owned())
                    .collect();
                if module.last().is_some_and(|last| last == "mod" || last == "lib") {
                    module.pop();
                }
                let text = fs::read_to_string(&path).expect("a text");
                modules.insert(module, (file, without_tests(&code_of(&text))));
            }
        }
        Sources { modules }
    }

    fn file(&self, module: &Module) -> String {
        self.modules[module].0.display().to_string()
    }

    /// Makes a path of the crate out of one that is written in a module. `None` for one of another
    /// crate.
    fn absolute(&self, module: &Module, path: &str) -> Option<Module> {
        let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        if parts[0] == "crate" {
            return Some(parts.split_off(1));
        }
        let mut base = module.clone();
        let mut is_relative = false;
        while parts.first().is_some_and(|part| part == "self" || part == "super") {
            is_relative = true;
            if parts.remove(0) == "super" {
                base.pop();
            }
        }
        let is_child = parts.first().is_some_and(|first| {
            let child: Module = base.iter().chain([first]).cloned().collect();
            self.modules.contains_key(&child)
        });
        (is_relative || is_child).then(|| base.into_iter().chain(parts).collect())
    }

    /// The module that a path leads to, through re-exports.
    fn leads_to(&self, path: &[String], depth: usize) -> Option<Module> {
        let module = (0..=path.len()).rev().map(|length| path[..length].to_vec());
        let module = module.into_iter().find(|prefix| self.modules.contains_key(prefix))?;
        let rest = &path[module.len()..];
        let Some(name) = rest.first().filter(|name| *name != "*" && depth < 8) else {
            return Some(module);
        };
        for import in uses(&self.modules[&module].1).iter().filter(|import| import.is_public) {
            let Some(target) = self.absolute(&module, &import.path) else { continue };
            if import.name == *name {
                let whole: Vec<String> = target.into_iter().chain(rest[1..].to_vec()).collect();
                return self.leads_to(&whole, depth + 1);
            }
            let of_glob = target.strip_suffix(&["*".to_owned()][..]);
            if let Some(source) = of_glob.and_then(|folder| self.modules.get(folder))
                && defines(&source.1, name)
            {
                return of_glob.map(<[String]>::to_vec);
            }
        }
        Some(module)
    }

    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (module, (_, text)) in &self.modules {
            let found = imports.entry(module.clone()).or_default();
            let paths = inline_paths(&without_uses(text)).into_iter().map(|path| (false, path));
            let used = uses(text).into_iter().map(|import| (import.is_public, import.path));
            for (is_public, path) in used.chain(paths) {
                if let Some(target) = self.absolute(module, &path)
                    && let Some(target) = self.leads_to(&target, 0)
                    && target != *module
                    // What a module re-exports of its own folder is followed where it is used.
                    && !(is_public && target.starts_with(module))
                {
                    found.entry(target).or_insert(path);
                }
            }
        }
        imports
    }

    /// The cycles, as the imports that make them.
    fn cycles(&self) -> Vec<String> {
        let imports = self.imports();
        let reach = |from: &Module| -> BTreeSet<Module> {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = next.pop() {
                let targets = imports.get(&module).into_iter().flat_map(BTreeMap::keys);
                next.extend(targets.filter(|&target| seen.insert(target.clone())).cloned());
            }
            seen
        };
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            imports.keys().map(|module| (module, reach(module))).collect();
        let mut found = Vec::new();
        for (module, targets) in &imports {
            for (target, path) in targets {
                if reached.get(target).is_some_and(|back| back.contains(module)) {
                    let (file, of) = (self.file(module), self.file(target));
                    found.push(format!("{file} imports {of} by `{path}`, and is imported by it"));
                }
            }
        }
        found
    }
}

/// A name that a `use` brings in.
struct Use {
    path: String,
    name: String,
    is_public: bool,
}

fn uses(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for (is_public, tree) in use_statements(text) {
        for path in branches(&tree) {
            let (path, alias) = match path.split_once(" as ") {
                Some((path, alias)) => (path.trim().to_owned(), Some(alias.trim().to_owned())),
                None => (path, None),
            };
            let path = path.strip_suffix("::self").unwrap_or(&path).to_owned();
            let last = path.rsplit("::").next().unwrap_or_default().to_owned();
            found.push(Use { name: alias.unwrap_or(last), path, is_public });
        }
    }
    found
}

/// Where each `use` begins and ends, whether it is public, and its tree.
fn use_spans(text: &str) -> Vec<(usize, usize, bool, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find("use ") {
        let begin = at + next;
        let line = text[..begin].rfind('\n').map_or(0, |end| end + 1);
        let before = text[line..begin].trim();
        let end = text[begin..].find(';').map_or(text.len(), |length| begin + length);
        let is_statement = before.is_empty() || before.starts_with("pub");
        if is_statement {
            let tree = text[begin + 4..end].split_whitespace().collect::<Vec<_>>().join(" ");
            found.push((line, end, before.starts_with("pub"), tree));
        }
        at = if is_statement { end } else { begin + 4 };
    }
    found
}

fn use_statements(text: &str) -> Vec<(bool, String)> {
    use_spans(text).into_iter().map(|(_, _, is_public, tree)| (is_public, tree)).collect()
}

fn without_uses(text: &str) -> String {
    let mut rest = String::new();
    let mut at = 0;
    for (begin, end, ..) in use_spans(text) {
        rest.push_str(&text[at..begin]);
        at = end;
    }
    rest + &text[at..]
}

/// The paths of a tree: `a::{b, c::{d, e}}` has three.
fn branches(tree: &str) -> Vec<String> {
    let Some((before, inner)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inner.chars() {
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                parts.last_mut().expect("there is one").push(letter);
            }
        }
    }
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| branches(&format!("{}{}", before.trim(), part.trim()))).collect()
}

/// Paths with two parts or more that stand in code.
fn inline_paths(text: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut paths = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(is_part) {
        let word = |text: &str| text.find(|it| !is_part(it)).unwrap_or(text.len());
        let before = rest[..begin].ends_with("::");
        let mut end = begin + word(&rest[begin..]);
        while rest[end..].starts_with("::") && rest[end + 2..].starts_with(is_part) {
            end += 2 + word(&rest[end + 2..]);
        }
        let path = &rest[begin..end];
        if !before && path.contains("::") {
            paths.push(path.to_owned());
        }
        rest = &rest[end..];
    }
    paths
}

fn defines(text: &str, name: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    let words: Vec<&str> = text.split(|it: char| !it.is_alphanumeric() && it != '_').collect();
    words.windows(2).any(|pair| kinds.contains(&pair[0]) && pair[1] == name)
}

/// A source with blanks in place of comments and literals, as long as before.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_raw = rest.starts_with("r\"") || rest.starts_with("r#");
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if is_raw && !code.ends_with(|it: char| it.is_alphanumeric() || it == '_') {
            let fences = rest[1..].bytes().take_while(|&byte| byte == b'#').count();
            let end = format!("\"{}", "#".repeat(fences));
            let begin = fences + 2;
            rest.get(begin..).and_then(|it| it.find(&end)).map_or(1, |at| begin + at + end.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|letter| {
                let is_end = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                is_end
            });
            end.map_or(rest.len(), |at| at + 2)
        } else if let Some(escape) = rest.strip_prefix("'\\") {
            let length = escape.find('\'').map_or(0, |at| at + 2);
            1 + length + usize::from(escape.starts_with('\''))
        } else if first == '\'' && rest.chars().nth(2) == Some('\'') {
            rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push_str(&blank(&rest[..skipped]));
        rest = &rest[skipped..];
    }
    code
}

/// As many blanks as a text has bytes; its lines stay lines.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// A source with blanks in place of the items under `#[cfg(test)]`, as long as before.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let (mut depth, mut end) = (0, rest.len());
        for (index, letter) in rest[at + MARK.len()..].char_indices() {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            if depth == 0 && matches!(letter, '}' | ';') {
                end = at + MARK.len() + index + 1;
                break;
            }
        }
        kept.push_str(&blank(&rest[at..end]));
        rest = &rest[end..];
    }
    kept + rest
}

fn modules_of_harness_import_only_from_lower_layers() {
    let layer = |name: &str| {
        let found = HARNESS.iter().position(|layer| layer.contains(&name));
        found.unwrap_or_else(|| panic!("`{name}` is in no layer of tests/layers.rs"))
    };
    imports_only_from_below("harness", layer);
}

/// Their order is that of `lib.rs`.
fn modules_of_servers_import_only_from_those_before_them() {
    let text = fs::read_to_string(source_of("servers").join("lib.rs")).expect("a text");
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
    let mut wrong = Vec::new();
    for (module, targets) in &sources.imports() {
        for (target, path) in targets {
            let (Some(from), Some(to)) = (module.first(), target.first()) else { continue };
            if from != to && layer(to) >= layer(from) {
                wrong
                    .push(format!("{} imports `{path}`, which is not below", sources.file(module)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn no_files_of_harness_import_each_other_in_a_cycle() {
    let cycles = Sources::read(&source_of("harness")).cycles();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

fn no_files_of_servers_import_each_other_in_a_cycle() {
    let cycles = Sources::read(&source_of("servers")).cycles();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

fn only_the_command_line_knows_clap() {
    for (module, (file, text)) in &Sources::read(&source_of("harness")).modules {
        let knows = module.first().is_some_and(|name| KNOW_CLAP.contains(&name.as_str()));
        assert!(knows || !text.contains("clap"), "{} uses clap", file.display());
    }
}

/// Data between stages is typed: a word in a sentence can be changed without a verdict changing.
fn no_stage_takes_a_message_of_another_apart() {
    let root = source_of("harness");
    let mut wrong = Vec::new();
    for (module, (file, code)) in &Sources::read(&root).modules {
        let is_of_tests = file.ends_with("tests.rs");
        if is_of_tests || module.first().is_some_and(|name| READ_OTHERS.contains(&name.as_str())) {
            continue;
        }
        let text = fs::read_to_string(root.join(file)).expect("a text");
        wrong.extend(taken_apart(&text, code).map(|words| format!("{}: {words}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (source, is_found) in [
        ("fn f(a: &str) -> bool { a.starts_with(\"the server ended\") }", true),
        ("fn f(a: &str) -> bool { a == \"connection reset\" }", true),
        ("fn f(a: &str) { a.split_once(\": \"); }", true),
        ("fn f(a: &str) -> bool { a.ends_with(\".rs\") }", false),
        ("// a.starts_with(\"the server ended\")", false),
        ("#[cfg(test)]\nmod tests { fn f(a: &str) { a.find(\"a b\"); } }\nfn f() {}", false),
        ("#[cfg(test)]\nmod tests;\nfn f(a: &str) { a.find(\"a b\"); }", true),
    ] {
        let code = without_tests(&code_of(source));
        assert_eq!(taken_apart(source, &code).next().is_some(), is_found, "{source}");
    }
}

/// Where the code of a source looks into a sentence.
fn taken_apart(text: &str, code: &str) -> impl Iterator<Item = String> {
    TAKE_APART.iter().flat_map(move |method| {
        text.match_indices(method).filter_map(move |(at, _)| {
            let literal = text[at + method.len()..].split('"').next().unwrap_or_default();
            let is_sentence = literal.contains(' ') && literal.contains(char::is_alphabetic)
                || matches!(literal, ": " | "; " | ", ");
            let is_code = code.as_bytes()[at] == text.as_bytes()[at];
            let is_wrong = is_sentence && is_code && !WORDS_OF_OTHERS.contains(&literal);
            is_wrong.then(|| format!("{method}{literal}\""))
        })
    })
}

/// Each way to write an import of `b` in `a`, and of `a` in `b`.
fn an_import_is_found_however_it_is_written() {
    for (a, lib) in [
        ("use crate::b::B;", ""),
        ("use super::b::{self, C as D};", ""),
        ("use std::fmt;\nuse crate::{b::{B, C}, text};", ""),
        ("pub fn f() -> Option<crate::b::B> { None }", ""),
        ("pub use crate::b::B;", ""),
        ("use super::b;\nfn f() { b::f() }", ""),
        ("fn f() { super::b::f(); }", ""),
        ("use crate::B;", "pub use b::B;"),
        ("fn f(b: crate::Other) {}", "mod b;\npub use self::b::{B as Other};"),
        ("use crate::B;", "pub use b::*;"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file");
        };
        write("lib.rs", lib);
        write("a.rs", &format!("//! use crate::c;\n{a}\npub const X: &str = \"crate::c::C\";"));
        write("b.rs", "pub struct B;\npub fn f() {}\npub use super::a::X as Y;\nuse super::a::X;");
        write("c.rs", "#[cfg(test)]\nmod tests {\n    use crate::a;\n}\nuse crate::a::X;");
        let cycles = Sources::read(folder.path()).cycles();
        assert_eq!(cycles.len(), 2, "{a}: {cycles:?}");
        assert!(cycles[0].starts_with("a.rs imports b.rs"), "{a}: {cycles:?}");
    }
}
