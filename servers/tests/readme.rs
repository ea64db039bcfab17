//! Checks that the table in `servers/README.md` matches the catalogue.
//! `BLESS=1 cargo test -p servers --test readme` regenerates it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use servers::{Capacity, PATTERNS, Pattern};

const BEGIN: &str = "<!-- the catalogue: begin -->\n";
const END: &str = "<!-- the catalogue: end -->";

#[test]
fn the_table_matches_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md exists");
    let (before, rest) = readme.split_once(BEGIN).expect("the marker before the table");
    let (table, after) = rest.split_once(END).expect("the marker after the table");
    let expected = table_of(PATTERNS);
    if std::env::var_os("BLESS").is_some() {
        let readme = [before, BEGIN, &expected, END, after].concat();
        fs::write(&path, readme).expect("the README can be written");
    } else {
        assert_eq!(table, expected, "BLESS=1 regenerates it");
    }
}

#[test]
fn the_reading_order_names_every_pattern() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md exists");
    let (_, chapters) = readme.split_once(END).expect("the marker after the table");
    let mut position = 0;
    for pattern in PATTERNS {
        let link = format!("[`{}`](src/patterns/{}.rs)", pattern.id, file_stem(pattern));
        let found = chapters[position..]
            .find(&link)
            .unwrap_or_else(|| panic!("{link} is missing or out of order"));
        position += found;
    }
}

#[test]
fn the_example_of_a_pattern_in_the_documents_is_current() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document =
        fs::read_to_string(package.join("../docs/extending.md")).expect("docs/extending.md exists");
    let pattern = fs::read_to_string(package.join("src/patterns/prefork_mutex.rs"))
        .expect("prefork_mutex.rs exists");
    let (_, code) = pattern.split_once("\n\n").expect("the code follows the module comment");
    assert!(
        document.contains(&format!("```rust\n{code}```\n")),
        "docs/extending.md shows an old version"
    );
}

#[test]
fn every_pattern_is_one_short_file() {
    let patterns = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/patterns");
    let mut lengths: Vec<usize> = PATTERNS
        .iter()
        .map(|pattern| {
            let path = patterns.join(file_stem(pattern)).with_extension("rs");
            let text = fs::read_to_string(&path).expect("a file with the name of the pattern");
            for section in
                ["//! # ", "//! Used by: ", "//! Good for: ", "//! Weakness: ", "//! Source: "]
            {
                assert!(text.contains(section), "{} lacks {section:?}", path.display());
            }
            let length = text.lines().count();
            assert!(length <= 250, "{} has {length} lines", path.display());
            length
        })
        .collect();
    lengths.sort_unstable();
    assert!(lengths[lengths.len() / 2] < 120, "the median length is too high: {lengths:?}");
}

#[test]
fn every_design_of_stevens_has_one_pattern() {
    let mut designs: Vec<u8> =
        PATTERNS.iter().flat_map(|pattern| pattern.stevens).copied().collect();
    designs.sort_unstable();
    assert_eq!(designs, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

fn table_of(patterns: &[Pattern]) -> String {
    let mut table =
        "\n| pattern | how it works | workers | connection limit (default, maximum) | over the limit | used by |\n\
                     |---|---|---|---|---|---|\n"
            .to_owned();
    for pattern in patterns {
        let capacity = match pattern.capacity {
            Capacity::Limited { default, max, .. } if default < max => {
                format!("{}, up to {}", with_commas(default), with_commas(max))
            }
            Capacity::Limited { default, .. } => with_commas(default),
            other => other.description(),
        };
        writeln!(
            table,
            "| `{}` | {} | {} | {capacity} | {} | {} |",
            pattern.id,
            pattern.summary,
            pattern.workers.description(None),
            pattern.when_full.description(),
            pattern.used_by,
        )
        .expect("writing to a string cannot fail");
    }
    table + "\n"
}

/// Formats a number with commas between thousands.
fn with_commas(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", with_commas(number / 1_000), number % 1_000),
    }
}

fn file_stem(pattern: &Pattern) -> String {
    pattern.id.replace('-', "_")
}
