//! Every property of a contract can be declared in all the ways that there are: by a flag, by the flag
//! of a replay, and in a manifest, with one meaning. `cargo test properties::`.

use std::fs;

use harness::cli::Check;
use harness::contract::{Declared, Expected, PROPERTIES, Property};
use harness::manifest;
use harness::server::{LaunchSpec, Surroundings};

use crate::common::trials;

trials![
    every_property_has_one_meaning_as_flag_as_replay_flag_and_in_a_manifest,
    every_property_is_in_the_help_of_check_and_replay,
    the_help_names_the_values_that_a_property_takes,
];

/// A value of each property as its flag takes it, and how a manifest declares the same.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("service", "echo", "service = 'echo'"),
    ("capacity", "3", "contract = { capacity = 3 }"),
    ("queue", "0", "contract = { queue = 0 }"),
    ("when-full", "busy", "contract = { when-full = 'busy' }"),
    ("division", "exact", "dialect = { division = 'exact' }"),
    ("overflow", "", "dialect = { overflow = true }"),
    ("error-prefix", "-oops ", "contract = { error-prefix = '-oops ' }"),
    ("busy-prefix", "go away", "contract = { busy-prefix = 'go away' }"),
    ("max-line", "100", "contract = { max-line = 100 }"),
    ("idle-timeout", "1s250ms", "contract = { idle-timeout = '1s250ms' }"),
    ("idle-tolerance", "50ms", "contract = { idle-tolerance = '50ms' }"),
    ("ending", "drain", "contract = { ending = 'drain' }"),
    ("ipv6", "", "contract = { ipv6 = true }"),
    ("wire", "prompt = \"> \"", "wire = { prompt = '> ' }"),
    ("expect", "threads", "expect = 'threads'"),
    ("port", "5000", "port = 5000"),
    ("input", "{port}\\n", "input = \"{port}\\n\""),
];

/// The property's example. A property without one is not covered by this test.
fn example(property: &Property) -> (&'static str, &'static str) {
    let found = EXAMPLES.iter().find(|(name, ..)| *name == property.name);
    let (_, value, entry) = found.unwrap_or_else(|| panic!("{} has no example", property.name));
    (value, entry)
}

/// A server that declares only this.
fn launched(declared: &Declared) -> LaunchSpec {
    let surroundings = Surroundings {
        input: declared.input.clone(),
        fixed_port: declared.port,
        ..Surroundings::default()
    };
    LaunchSpec::foreign_in("true {port}", surroundings, declared.contract()).expect("it can start")
}

fn every_property_has_one_meaning_as_flag_as_replay_flag_and_in_a_manifest() {
    let undeclared = launched(&Declared::default());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("servers.toml");
    for property in PROPERTIES {
        let (value, entry) = example(property);
        let name = property.name;
        let mut declared = Declared::default();
        (property.read)(&mut declared, value).expect(name);
        assert_eq!((property.written)(&declared).as_deref(), Some(value), "{name}");

        let flags = declared.flags();
        let words = shlex::try_join(flags.iter().map(String::as_str)).expect("no NUL");
        let check = Check::of_words(&format!("--cmd 'true {{port}}' {words}")).expect(name);
        assert_eq!(check.declared.0.flags(), flags, "{name}");

        let text = format!("[[server]]\nname = 'it'\ncommand = 'true {{port}}'\n{entry}\n");
        fs::write(&file, &text).expect("a file");
        let of_manifest = manifest::specs(&file, &[]).expect(&text).swap_remove(0);
        for spec in [launched(&check.declared.0), of_manifest] {
            let expected = launched(&declared);
            assert_eq!(spec.contract, expected.contract, "{name}");
            assert_eq!((&spec.input, spec.fixed_port), (&expected.input, expected.fixed_port));
        }
        let is_declared = launched(&declared).contract != undeclared.contract
            || declared.input.is_some()
            || declared.port.is_some();
        assert!(is_declared, "{name} means nothing");
    }
    assert_eq!(PROPERTIES.len(), EXAMPLES.len());
}

fn every_property_is_in_the_help_of_check_and_replay() {
    for command in ["check", "replay"] {
        let help = crate::common::harness().args([command, "--help"]).output().expect("it runs");
        let help = String::from_utf8(help.stdout).expect("text");
        for property in PROPERTIES {
            let flag = format!("--{}", property.name);
            let is_there = help.lines().any(|line| line.trim().split(' ').any(|it| it == flag));
            assert!(is_there, "{command} does not know {flag}");
        }
    }
}

/// Values in the help, such as `drain|abort`, are understood; a value that is not there is told which
/// are. The help of `--expect` names every concurrency model.
fn the_help_names_the_values_that_a_property_takes() {
    for property in PROPERTIES {
        let Some((values, read)) =
            property.value.filter(|it| it.contains('|')).zip(Some(property.read))
        else {
            continue;
        };
        let told = read(&mut Declared::default(), "no such value").expect_err(property.name);
        for value in values.split('|') {
            assert_eq!(read(&mut Declared::default(), value), Ok(()), "{}", property.name);
            assert!(told.contains(value), "{}: {told}", property.name);
        }
    }
    let expect = PROPERTIES.iter().find(|property| property.name == "expect").expect("it is there");
    for model in Expected::ALL {
        assert!(expect.help.contains(model.name()), "{model} is not in: {}", expect.help);
    }
}
