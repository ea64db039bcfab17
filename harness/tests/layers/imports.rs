//! The imports of a package, parsed from the source text.
//!
//! An import is every `use`, also a nested or renamed one, and every path that begins with `crate`,
//! `self`, `super` or a module. Re-exports are resolved to the file of the item. `mod`
//! declarations do not count, nor do items under `#[cfg(test)]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Path of a module in its crate. The path of the crate root is empty.
pub(super) type Module = Vec<String>;

/// The sources of a crate.
pub(super) struct Sources {
    /// For each module: the file, and the source text without comments, literals and tests.
    pub(super) modules: BTreeMap<Module, (PathBuf, String)>,
}

/// For each module: the imported modules, each with the path in the source text.
pub(super) type Imports = BTreeMap<Module, BTreeMap<Module, String>>;

impl Sources {
    pub(super) fn read(root: &Path) -> Sources {
        let mut modules = BTreeMap::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a source directory") {
                let path = entry.expect("a directory entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let file = path.strip_prefix(root).expect("a path below the root").to_path_buf();
                if file.extension().is_none_or(|extension| extension != "rs")
                    || file == Path::new("main.rs")
                {
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
                let text = fs::read_to_string(&path).expect("a readable file");
                modules.insert(module, (file, without_tests(&code_of(&text))));
            }
        }
        Sources { modules }
    }

    pub(super) fn file(&self, module: &Module) -> String {
        self.modules[module].0.display().to_string()
    }

    /// Resolves a path in a module to a path from the crate root. Returns `None` if the path is of
    /// another crate.
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

    /// Returns the module that defines the item of a path. Follows re-exports.
    fn defining_module(&self, path: &[String], depth: usize) -> Option<Module> {
        let module = (0..=path.len()).rev().map(|length| path[..length].to_vec());
        let module = module.into_iter().find(|prefix| self.modules.contains_key(prefix))?;
        let rest = &path[module.len()..];
        let Some(name) = rest.first().filter(|name| *name != "*" && depth < 8) else {
            return Some(module);
        };
        for import in uses(&self.modules[&module].1).iter().filter(|import| import.is_public) {
            let Some(target) = self.absolute(&module, &import.path) else { continue };
            if import.name == *name {
                let full_path: Vec<String> = target.into_iter().chain(rest[1..].to_vec()).collect();
                return self.defining_module(&full_path, depth + 1);
            }
            let glob_source = target.strip_suffix(&["*".to_owned()][..]);
            if let Some(source) = glob_source.and_then(|folder| self.modules.get(folder))
                && defines(&source.1, name)
            {
                return glob_source.map(<[String]>::to_vec);
            }
        }
        Some(module)
    }

    pub(super) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (module, (_, text)) in &self.modules {
            let found = imports.entry(module.clone()).or_default();
            let paths = inline_paths(&without_uses(text)).into_iter().map(|path| (false, path));
            let used = uses(text).into_iter().map(|import| (import.is_public, import.path));
            for (is_public, path) in used.chain(paths) {
                if let Some(target) = self.absolute(module, &path)
                    && let Some(target) = self.defining_module(&target, 0)
                    && target != *module
                    // A re-export of a child module counts where it is used.
                    && !(is_public && target.starts_with(module))
                {
                    found.entry(target).or_insert(path);
                }
            }
        }
        imports
    }

    /// Describes the imports that are part of a cycle.
    pub(super) fn cycles(&self) -> Vec<String> {
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
                    let (file, imported) = (self.file(module), self.file(target));
                    found.push(format!(
                        "{file} imports {imported} by `{path}`, and is imported by {imported} in turn"
                    ));
                }
            }
        }
        found
    }
}

/// A name that a `use` imports.
struct Use {
    path: String,
    name: String,
    is_public: bool,
}

/// Returns the names that a source imports.
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

/// Returns for each `use`: start, end, whether it is a re-export (`pub`), and the use tree.
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

/// Returns a source without its `use` statements.
fn without_uses(text: &str) -> String {
    let mut rest = String::new();
    let mut at = 0;
    for (begin, end, ..) in use_spans(text) {
        rest.push_str(&text[at..begin]);
        at = end;
    }
    rest + &text[at..]
}

/// Returns the paths of a use tree: `a::{b, c::{d, e}}` has three.
fn branches(tree: &str) -> Vec<String> {
    let Some((before, inner)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inner.chars() {
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                parts.last_mut().expect("at least one part").push(letter);
            }
        }
    }
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| branches(&format!("{}{}", before.trim(), part.trim()))).collect()
}

/// Returns all paths of at least two segments in source code.
fn inline_paths(text: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut paths = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(is_part) {
        let length = |text: &str| text.find(|it| !is_part(it)).unwrap_or(text.len());
        let continues_path = rest[..begin].ends_with("::");
        let mut end = begin + length(&rest[begin..]);
        while rest[end..].starts_with("::") && rest[end + 2..].starts_with(is_part) {
            end += 2 + length(&rest[end + 2..]);
        }
        let path = &rest[begin..end];
        if !continues_path && path.contains("::") {
            paths.push(path.to_owned());
        }
        rest = &rest[end..];
    }
    paths
}

/// Returns whether a source defines an item of this name.
fn defines(text: &str, name: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    let words: Vec<&str> = text.split(|it: char| !it.is_alphanumeric() && it != '_').collect();
    words.windows(2).any(|pair| kinds.contains(&pair[0]) && pair[1] == name)
}

/// Returns a source with blanks in place of comments and literals. Offsets stay the same.
pub(super) fn code_of(text: &str) -> String {
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

/// Replaces every byte except line feeds by a blank.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Returns a source with blanks in place of items under `#[cfg(test)]`. Offsets stay the same.
pub(super) fn without_tests(code: &str) -> String {
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

/// Tests each way to write an import of `b` in `a`, and of `a` in `b`.
pub(super) fn every_form_of_import_is_found() {
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
        let folder = tempfile::tempdir().expect("a temporary directory");
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
