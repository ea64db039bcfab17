//! Parsers and formatters of the values of properties.

use serde::Deserialize;
use servers::{OverloadPolicy, Service};

use crate::config_source::inline;
use crate::units;
use crate::wire::Wire;

/// Minimum value of `--max-line` in bytes. A lower limit leaves too little room for requests.
pub(crate) const MIN_MAX_LINE: usize = 64;

pub(super) fn set<T>(property: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *property = Some(value?);
    Ok(())
}

pub(super) fn set_to_true(property: &mut bool) -> Result<(), String> {
    *property = true;
    Ok(())
}

/// Returns the value with this name, or an error that lists all names.
pub(super) fn named<T: Copy>(
    all: &[T],
    name: fn(T) -> &'static str,
    text: &str,
) -> Result<T, String> {
    let found = all.iter().find(|&&value| name(value) == text);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&value| name(value)).collect();
        match names.split_last() {
            Some((last, [])) => format!("expected {last}"),
            Some((last, others)) => format!("expected {} or {last}", others.join(", ")),
            None => "no value is valid".to_owned(),
        }
    })
}

/// Parses a wire protocol: the keys and values of the `wire` table of a manifest, in one line.
pub(crate) fn wire(text: &str) -> Result<Wire, String> {
    let parsed = toml::from_str::<WireKey>(&format!("wire = {{ {text} }}"));
    let WireKey { wire } = parsed.map_err(|error| error.message().to_owned())?;
    wire.check().map(|()| wire)
}

/// Formats a wire protocol as [`wire`] parses it.
pub(super) fn format_wire(wire: &Wire) -> String {
    let table = toml::Value::try_from(wire).map(|value| inline(&value)).unwrap_or_default();
    let inner = table.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    inner.unwrap_or_default().trim().to_owned()
}

/// A TOML document with the key `wire`.
#[derive(Deserialize)]
struct WireKey {
    wire: Wire,
}

pub(crate) fn service(name: &str) -> Result<Service, String> {
    named(Service::ALL, Service::name, name)
}

pub(super) fn when_full(name: &str) -> Result<OverloadPolicy, String> {
    named(OverloadPolicy::ALL, OverloadPolicy::name, name)
}

/// Parses the value of `--max-line`.
pub(super) fn max_line(text: &str) -> Result<usize, String> {
    match units::size(text)? {
        0..MIN_MAX_LINE => Err(format!(
            "must be at least {MIN_MAX_LINE} bytes: a lower limit leaves too little room for requests"
        )),
        bytes => Ok(bytes),
    }
}

/// Maximum number of connections that a property may declare. A process has at most 1,048,576
/// descriptors (the default of fs.nr_open), and few servers have more than ten processes.
const MAX_CONNECTIONS: usize = 10_000_000;

/// Parses a number of connections of at least `minimum`.
pub(super) fn connections(text: &str, minimum: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (minimum..=MAX_CONNECTIONS).contains(&number) => Ok(number),
        _ => {
            Err(format!("write a whole number of at least {minimum} and at most {MAX_CONNECTIONS}"))
        }
    }
}

/// Parses the prefix of a reply. A reply is a line, so its prefix has no line feed.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    match text {
        "" => Err("the prefix must not be empty: every reply would have it".to_owned()),
        text if text.contains('\n') => {
            Err("the prefix must not contain a line feed, which ends a reply".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}
