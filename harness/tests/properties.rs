//! Every property of a contract can be declared by a flag of `check`, by a flag of `replay`, in
//! JSON, and in a manifest, with the same meaning. Run these tests with `cargo test properties::`.

use std::fs;
use std::time::Duration;

use harness::cli::Check;
use harness::contract::{Declared, PROPERTIES, Property, RequiredModel};
use harness::manifest;
use harness::server::{LaunchOptions, LaunchSpec};

use crate::common::tests;

tests![
    every_property_means_the_same_as_flag_as_replay_flag_in_json_and_in_a_manifest,
    every_property_is_in_the_help_of_check_and_replay,
    the_help_names_the_values_that_a_property_takes,
];

/// For each property: the name, a value of the flag (empty for a flag without value), and a
/// manifest line with the same meaning.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("service", "echo", "service = 'echo'"),
    ("transform", "trim,upper", "contract = { transform = 'trim,upper' }"),
    ("broadcast", "all", "contract = { broadcast = 'all' }"),
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
    ("shutdown", "drain", "contract = { shutdown = 'drain' }"),
    ("ipv6", "", "contract = { ipv6 = true }"),
    ("wire", "prompt = \"> \"", "wire = { prompt = '> ' }"),
    ("concurrency-model", "threads", "concurrency-model = 'threads'"),
    ("port", "5000", "port = 5000"),
    ("input", "{port}\\n", "input = \"{port}\\n\""),
];

/// Returns the flag value and the manifest line of a property. Panics without an example.
fn example(property: &Property) -> (&'static str, &'static str) {
    let found = EXAMPLES.iter().find(|(name, ..)| *name == property.name);
    let (_, value, entry) = found.unwrap_or_else(|| panic!("{} has no example", property.name));
    (value, entry)
}

/// Returns the launch spec of a server with this declaration.
fn launched(declared: &Declared) -> LaunchSpec {
    let options = LaunchOptions {
        input: declared.input.clone(),
        fixed_port: declared.port,
        ..LaunchOptions::default()
    };
    LaunchSpec::external_in("true {port}", options, declared.contract())
        .expect("a valid launch specification")
}

fn every_property_means_the_same_as_flag_as_replay_flag_in_json_and_in_a_manifest() {
    let undeclared = launched(&Declared::default());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("servers.toml");
    for property in PROPERTIES {
        let (value, entry) = example(property);
        let name = property.name;
        let mut declared = Declared::default();
        (property.parse)(&mut declared, value).expect(name);
        assert_eq!((property.format)(&declared).as_deref(), Some(value), "{name}");
        let mut entry = entry.to_owned();
        // A tolerance needs its timeout.
        if name == "idle-tolerance" {
            declared.idle_timeout = Some(Duration::from_secs(1));
            entry = entry.replace(" }", ", idle-timeout = '1s' }");
        }

        let flags = declared.flags();
        let words = shlex::try_join(flags.iter().map(String::as_str)).expect("no NUL");
        let check = Check::parse(&format!("--cmd 'true {{port}}' {words}")).expect(name);
        assert_eq!(check.declared.0.flags(), flags, "{name}");

        let json = serde_json::to_value(&declared).expect(name);
        assert_eq!(
            json.as_object().map(serde_json::Map::len),
            Some(flags.iter().filter(|it| it.starts_with("--")).count()),
            "{json}"
        );
        assert_eq!(serde_json::from_value::<Declared>(json).expect(name), declared);

        let text = format!("[[server]]\nname = 'server'\ncommand = 'true {{port}}'\n{entry}\n");
        fs::write(&file, &text).expect("a file");
        let from_manifest = manifest::specs(&file, &[]).expect(&text).swap_remove(0);
        for spec in [launched(&check.declared.0), from_manifest] {
            let expected = launched(&declared);
            assert_eq!(spec.contract, expected.contract, "{name}");
            assert_eq!((&spec.input, spec.fixed_port), (&expected.input, expected.fixed_port));
        }
        let is_declared = launched(&declared).contract != undeclared.contract
            || declared.input.is_some()
            || declared.port.is_some();
        assert!(is_declared, "{name} has no effect");
    }
    assert_eq!(PROPERTIES.len(), EXAMPLES.len());
}

fn every_property_is_in_the_help_of_check_and_replay() {
    for command in ["check", "replay"] {
        let help =
            crate::common::harness().args([command, "--help"]).output().expect("the harness runs");
        let help = String::from_utf8(help.stdout).expect("text");
        for property in PROPERTIES {
            let flag = format!("--{}", property.name);
            let is_listed =
                help.lines().any(|line| line.trim().split(' ').any(|word| word == flag));
            assert!(is_listed, "the help of {command} lacks {flag}");
        }
    }
}

/// The property accepts the values in the help, such as `drain|abort`, and the error for an invalid
/// value lists them. The help of `--concurrency-model` names every concurrency model.
fn the_help_names_the_values_that_a_property_takes() {
    for property in PROPERTIES {
        let Some((values, read)) =
            property.placeholder.filter(|values| values.contains('|')).zip(Some(property.parse))
        else {
            continue;
        };
        let error = read(&mut Declared::default(), "no such value").expect_err(property.name);
        for value in values.split('|') {
            assert_eq!(read(&mut Declared::default(), value), Ok(()), "{}", property.name);
            assert!(error.contains(value), "{}: {error}", property.name);
        }
    }
    let property = PROPERTIES
        .iter()
        .find(|property| property.name == "concurrency-model")
        .expect("the property concurrency-model");
    for model in RequiredModel::ALL {
        assert!(property.help.contains(model.name()), "{model} is not in: {}", property.help);
    }
}
