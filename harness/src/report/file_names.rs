//! Safe file names for servers, whose names come from users.

use std::collections::HashSet;

use crate::results::Report;
use crate::text::file_name;

/// Returns a file name for each server of the report, without an extension.
///
/// The names have only ASCII letters, digits, `-`, `_` and `.`, are at most 100 characters long, do
/// not begin or end with `.`, and do not contain `--`. They differ even if the file system ignores
/// case. A changed name gets a hash of the original name, so it does not depend on the other
/// servers.
pub(super) fn of_servers(report: &Report) -> Vec<String> {
    let mut taken = HashSet::new();
    let names = report.servers.iter().map(|server| {
        let base = safe(&server.name);
        let mut name = base.clone();
        let mut number = 2;
        while !taken.insert(name.to_ascii_lowercase()) {
            name = format!("{base}-{number}");
            number += 1;
        }
        name
    });
    names.collect()
}

fn safe(name: &str) -> String {
    match file_name(name) {
        unchanged if unchanged == name => unchanged,
        changed => format!("{}-{:08x}", changed.trim_end_matches(['-', '.']), hash(name)),
    }
}

/// Returns the FNV-1a hash of a name. It is the same in every version of the program.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::results::{FORMAT, ServerResult};

    fn names(servers: &[&str]) -> Vec<String> {
        let server =
            |name: &&str| ServerResult { name: (*name).to_owned(), ..ServerResult::default() };
        of_servers(&Report {
            format: FORMAT,
            complete: true,
            environment: Environment::default(),
            plan: String::new(),
            seed: 0,
            duration_ms: 0,
            merged_reports: 0,
            servers: servers.iter().map(server).collect(),
        })
    }

    #[test]
    fn names_are_safe_short_and_different() {
        let long = "x".repeat(1000);
        let servers = [
            "select-echo",
            "../../etc/passwd",
            "a/b",
            "a b",
            "a--b",
            "A-b",
            "a-b",
            "",
            "..",
            ".",
            "\0\n\u{1b}",
            "é",
            "/",
            &long,
            &(long.clone() + "y"),
            "same",
            "same",
            "SAME",
            "same-2",
            ".hidden",
            "-rf",
        ];
        let names = names(&servers);
        assert_eq!(names[0], "select-echo");
        let mut different: Vec<String> = names.iter().map(|it| it.to_lowercase()).collect();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), servers.len(), "{names:?}");
        for name in &names {
            let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
            assert!(name.chars().all(is_plain) && (1..=100).contains(&name.len()), "{name}");
            assert!(!name.starts_with(['.', '-']) && !name.ends_with('.'), "{name}");
            assert!(!name.contains("..") && !name.contains("--"), "{name}");
        }
    }

    #[test]
    fn a_changed_name_does_not_depend_on_other_servers() {
        assert_eq!(names(&["a/b", "a b"])[1], names(&["a b"])[0]);
    }
}
