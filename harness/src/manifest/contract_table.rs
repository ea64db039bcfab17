//! The `contract` table of a manifest entry. Its keys are the properties of
//! [`ManifestTable::Contract`].

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::contract::{Declare, Declared, ManifestTable, PROPERTIES, Property, PropertyValue};

/// The `contract` table: declared properties other than service, dialect and wire protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContractTable(pub Declared);

fn properties() -> impl Iterator<Item = &'static Property> {
    PROPERTIES.iter().filter(|property| property.table == ManifestTable::Contract)
}

impl Serialize for ContractTable {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(
            properties().filter_map(|property| {
                Some((property.name, PropertyValue::of(property, &self.0)?))
            }),
        )
    }
}

impl<'d> Deserialize<'d> for ContractTable {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<ContractTable, D::Error> {
        from.deserialize_map(TableVisitor)
    }
}

struct TableVisitor;

impl<'d> Visitor<'d> for TableVisitor {
    type Value = ContractTable;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a table of declared properties")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<ContractTable, A::Error> {
        let mut declared = Declared::default();
        while let Some(property) = map.next_key_seed(Key)? {
            map.next_value_seed(Declare { property, declared: &mut declared })?;
        }
        Ok(ContractTable(declared))
    }
}

/// Reads a key. An error thus has the position of the key.
struct Key;

impl<'d> DeserializeSeed<'d> for Key {
    type Value = &'static Property;

    fn deserialize<D: Deserializer<'d>>(self, from: D) -> Result<&'static Property, D::Error> {
        let name = String::deserialize(from)?;
        properties().find(|property| property.name == name).ok_or_else(|| {
            let names: Vec<String> =
                properties().map(|property| format!("`{}`", property.name)).collect();
            let names = names.join(", ");
            D::Error::custom(format!("unknown field `{name}`, expected one of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ContractTable, String> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or("", |span| &text[span]);
            format!("{at}: {}", error.message())
        })
    }

    #[test]
    fn a_property_takes_the_values_of_its_flag_and_is_written_as_it_is_read() {
        for property in properties() {
            let value = match property.name {
                "transform" => "trim,upper",
                "broadcast" => "others",
                "capacity" | "queue" => "3",
                "when-full" => "reset",
                "max-line" => "4096",
                "error-prefix" | "busy-prefix" => "no: ",
                "idle-timeout" | "idle-tolerance" => "1s250ms",
                "shutdown" => "abort",
                "ipv6" => "",
                other => panic!("{other} has no example"),
            };
            let mut declared = Declared::default();
            (property.parse)(&mut declared, value).expect(property.name);
            let table = ContractTable(declared);
            let text = toml::to_string(&table).expect(property.name);
            assert_eq!(text.lines().count(), 1, "{text}");
            assert_eq!(parse(&text), Ok(table), "{text}");
        }
        let number = parse("max-line = 4096").expect("a number");
        assert_eq!(parse("max-line = '4KiB'"), Ok(number));
        assert_eq!(parse("ipv6 = false"), Ok(ContractTable::default()));
    }

    #[test]
    fn an_error_gives_the_position_and_the_valid_keys_or_values() {
        for (text, at, words) in [
            (
                "speed = 1",
                "speed",
                "unknown field `speed`, expected one of `transform`, `broadcast`, ",
            ),
            ("service = 'echo'", "service", "unknown field `service`"),
            ("queue = 1\ncapacity = 0", "0", "at least 1"),
            ("capacity = -1", "-1", ""),
            ("capacity = true", "true", "expected a number"),
            ("max-line = 63", "63", "at least 64 bytes"),
            ("when-full = 'wit'", "'wit'", "expected wait, refuse, reset or busy"),
            ("idle-timeout = 2", "2", "expected a string"),
            ("idle-timeout = '2'", "'2'", ""),
            ("ipv6 = 'yes'", "'yes'", "expected true or false"),
            ("shutdown = ['drain']", "['drain']", "expected a string"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(&format!("{at}: ")) && error.contains(words), "{error}");
        }
    }
}
