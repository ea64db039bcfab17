//! `servers/README.md` tells what the catalogue says. `BLESS=1 cargo test -p servers --test readme`
//! writes the table anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use servers::{Capacity, PATTERNS, Pattern};

const BEGIN: &str = "<!-- the catalogue: begin -->\n";
const END: &str = "<!-- the catalogue: end -->";

#[test]
fn the_table_of_patterns_is_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("there is a README");
    let (before, rest) = readme.split_once(BEGIN).expect("the table begins");
    let (table, after) = rest.split_once(END).expect("the table ends");
    let expected = table_of(PATTERNS);
    if std::env::var_os("BLESS").is_some() {
        let readme = [before, BEGIN, &expected, END, after].concat();
        fs::write(&path, readme).expect("the README can be written");
    } else {
        assert_eq!(table, expected, "BLESS=1 writes it anew");
    }
}

#[test]
fn the_reading_order_names_every_pattern() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("there is a README");
    let (_, chapters) = readme.split_once(END).expect("the table ends");
    let mut place = 0;
    for pattern in PATTERNS {
        let link = format!("[`{}`](src/patterns/{}.rs)", pattern.id, file(pattern));
        let found = chapters[place..].find(&link).unwrap_or_else(|| {
            panic!("{link} is missing, or stands elsewhere than in the catalogue")
        });
        place += found;
    }
}

#[test]
fn the_example_of_a_pattern_is_one() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let architecture =
        fs::read_to_string(package.join("../ARCHITECTURE.md")).expect("it is beside the package");
    let pattern = fs::read_to_string(package.join("src/patterns/prefork_mutex.rs"))
        .expect("the example is there");
    let (_, code) = pattern.split_once("\n\n").expect("the code follows the module comment");
    assert!(architecture.contains(&format!("```rust\n{code}```\n")), "it has changed since");
}

#[test]
fn every_pattern_is_one_file_that_can_be_read_in_a_sitting() {
    let patterns = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/patterns");
    let mut lengths: Vec<usize> = PATTERNS
        .iter()
        .map(|pattern| {
            let path = patterns.join(file(pattern)).with_extension("rs");
            let text = fs::read_to_string(&path).expect("a pattern is named after its file");
            for part in
                ["//! # ", "//! Used by: ", "//! Good for: ", "//! Breaks: ", "//! Source: "]
            {
                assert!(text.contains(part), "{} does not say {part:?}", path.display());
            }
            let length = text.lines().count();
            assert!(length <= 250, "{} has {length} lines", path.display());
            length
        })
        .collect();
    lengths.sort_unstable();
    assert!(lengths[lengths.len() / 2] < 120, "half of the files are long: {lengths:?}");
}

#[test]
fn the_nine_designs_of_the_book_are_there() {
    let mut designs: Vec<u8> =
        PATTERNS.iter().flat_map(|pattern| pattern.stevens).copied().collect();
    designs.sort_unstable();
    assert_eq!(designs, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

fn table_of(patterns: &[Pattern]) -> String {
    let mut table =
        "\n| pattern | mechanism | served by | clients at once | one more | used by |\n\
                     |---|---|---|---|---|---|\n"
            .to_owned();
    for pattern in patterns {
        let capacity = match pattern.capacity {
            Capacity::Limited { default, most, .. } if default < most => {
                format!("{default}, up to {most}")
            }
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
        .expect("a string takes everything");
    }
    table + "\n"
}

fn file(pattern: &Pattern) -> String {
    pattern.id.replace('-', "_")
}
