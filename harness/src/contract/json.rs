//! Declared properties in JSON: an object with the name of each flag, in snake case, and its value.
//!
//! A flag that takes no value is `true`. A value without a unit, such as a count, is a JSON number. Any
//! other value is a string in the syntax of the flag.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::declared::{Declared, PROPERTIES, Property, ValueType};

/// JSON value of a property.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Flag(bool),
    Number(u64),
    Text(String),
}

fn key(property: &Property) -> String {
    property.name.replace('-', "_")
}

fn value(property: &Property, text: String) -> Value {
    match property.value_type {
        ValueType::Flag => Value::Flag(true),
        ValueType::Number => text.parse().map_or(Value::Text(text), Value::Number),
        ValueType::Text => Value::Text(text),
    }
}

impl Serialize for Declared {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(PROPERTIES.iter().filter_map(|property| {
            let text = (property.format)(self)?;
            Some((key(property), value(property, text)))
        }))
    }
}

impl<'d> Deserialize<'d> for Declared {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Declared, D::Error> {
        let mut declared = Declared::default();
        for (name, value) in BTreeMap::<String, Value>::deserialize(from)? {
            let Some(property) = PROPERTIES.iter().find(|property| key(property) == name) else {
                continue;
            };
            let text = match value {
                Value::Flag(false) => continue,
                Value::Flag(true) => String::new(),
                Value::Number(number) => number.to_string(),
                Value::Text(text) => text,
            };
            (property.parse)(&mut declared, &text)
                .map_err(|error| D::Error::custom(format!("`{name}`: {error}")))?;
        }
        Ok(declared)
    }
}
