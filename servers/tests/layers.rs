//! Checks that every module imports only from lower layers, and that no files import each other in a
//! cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the top-level modules in the order of `lib.rs`, low layers first.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).expect("lib.rs");
    let name = |line: &str| {
        let rest = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?;
        rest.strip_suffix(';').map(str::to_owned)
    };
    text.lines().filter_map(name).collect()
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the module path of a file, such as `event_loop::connection`.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(source()).expect("a source file").with_extension("");
    let mut names: Vec<String> =
        relative.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    names
}

/// Returns the code of every file by its module path, without comments and unit tests.
fn modules() -> BTreeMap<Vec<String>, String> {
    let mut found = Vec::new();
    files(&source(), &mut found);
    let code = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let is_source = |module: &Vec<String>| {
        !module.is_empty() && module != &["lib"] && module.last().is_none_or(|last| last != "tests")
    };
    let modules = found.iter().map(|file| (module_of(file), code(file)));
    modules.filter(|(module, _)| is_source(module)).collect()
}

/// Returns the absolute paths that a module refers to by `crate::` or `super::`.
fn references(module: &[String], code: &str) -> Vec<Vec<String>> {
    let parent = &module[..module.len() - 1];
    let mut found = Vec::new();
    for (prefix, base) in [("crate::", &[][..]), ("super::", parent)] {
        for (_, rest) in code.match_indices(prefix).map(|(at, _)| code[at..].split_at(prefix.len()))
        {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let (path, group) = match rest.find(|c| !is_part(c)) {
                Some(end) => (&rest[..end], &rest[end..]),
                None => (rest, ""),
            };
            let names = path.split("::").filter(|name| !name.is_empty());
            let path: Vec<String> = base.iter().cloned().chain(names.map(str::to_owned)).collect();
            // `use super::{one, other};` refers to several modules.
            match group.strip_prefix('{').and_then(|group| group.split_once('}')) {
                Some((items, _)) => found.extend(items.split(',').map(|item| {
                    let item = item.trim().split("::").next().unwrap_or_default().to_owned();
                    path.iter().cloned().chain([item]).collect()
                })),
                None => found.push(path),
            }
        }
    }
    found
}

#[test]
fn modules_import_only_from_lower_layers() {
    let layers = layers();
    assert!(layers.len() > 10, "{layers:?}");
    let layer = |name: &str| layers.iter().position(|layer| layer == name);
    for (module, code) in modules() {
        let own = layer(&module[0]).unwrap_or_else(|| panic!("lib.rs lacks {}", module[0]));
        for path in references(&module, &code) {
            let name = path.first().map_or("", String::as_str);
            let imported = layer(name)
                .unwrap_or_else(|| panic!("{} imports {} from lib.rs", module.join("::"), name));
            assert!(imported <= own, "{} imports {}", module.join("::"), path.join("::"));
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_cycle() {
    let modules = modules();
    // The longest prefix of a path that is a file.
    let file_of = |path: &[String]| {
        (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|it| modules.contains_key(it))
    };
    let mut imports: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, code) in &modules {
        let imported = references(module, code).into_iter().filter_map(|path| file_of(&path));
        // A mod.rs declares and re-exports its children, and so depends on them.
        let is_child =
            |other: &&Vec<String>| other.len() == module.len() + 1 && other.starts_with(module);
        let children = modules.keys().filter(is_child).cloned();
        imports.insert(
            module.clone(),
            imported.chain(children).filter(|other| other != module).collect(),
        );
    }
    // Remove files that import no other file, or that no other file imports, until all that are left
    // lie on a cycle or between two.
    loop {
        let imported: BTreeSet<Vec<String>> = imports.values().flatten().cloned().collect();
        let before = imports.len();
        imports.retain(|module, others| !others.is_empty() && imported.contains(module));
        let kept: BTreeSet<Vec<String>> = imports.keys().cloned().collect();
        imports.values_mut().for_each(|others| others.retain(|other| kept.contains(other)));
        if imports.len() == before {
            break;
        }
    }
    let left: Vec<String> = imports.keys().map(|module| module.join("::")).collect();
    assert!(left.is_empty(), "these files import each other in a cycle: {left:?}");
}
