//! Values of declared properties in JSON and in a manifest.
//!
//! A flag that takes no value is `true`. A value without a unit, such as a count, is a number. Any
//! other value is a string in the syntax of the flag. A number may also be a string with a unit,
//! such as `4KiB`.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, Unexpected, Visitor};

use super::declared::{Declared, Property, ValueType};

/// Value of a property.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum PropertyValue {
    Flag(bool),
    Number(u64),
    Text(String),
}

impl PropertyValue {
    /// Returns the declared value. `None` if the property is undeclared.
    pub(crate) fn of(property: &Property, declared: &Declared) -> Option<PropertyValue> {
        let text = (property.format)(declared)?;
        Some(match property.value_type {
            ValueType::Flag => PropertyValue::Flag(true),
            ValueType::Number => {
                text.parse().map_or(PropertyValue::Text(text), PropertyValue::Number)
            }
            ValueType::Text => PropertyValue::Text(text),
        })
    }
}

/// Reads the value of a property, and declares it.
pub(crate) struct Declare<'a> {
    pub(crate) property: &'a Property,
    pub(crate) declared: &'a mut Declared,
}

impl Declare<'_> {
    fn parse<E: Error>(self, text: &str) -> Result<(), E> {
        (self.property.parse)(self.declared, text).map_err(E::custom)
    }

    fn is_flag(&self) -> bool {
        self.property.value_type == ValueType::Flag
    }
}

impl<'d> DeserializeSeed<'d> for Declare<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'d>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Declare<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.property.value_type {
            ValueType::Flag => "true or false",
            ValueType::Number => "a number",
            ValueType::Text => "a string",
        })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match (self.is_flag(), value) {
            (true, true) => self.parse(""),
            (true, false) => Ok(()),
            (false, _) => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self.property.value_type {
            ValueType::Number => self.parse(&value.to_string()),
            _ => Err(E::invalid_type(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match self.property.value_type {
            ValueType::Number => self.parse(&value.to_string()),
            _ => Err(E::invalid_type(Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if self.is_flag() {
            return Err(E::invalid_type(Unexpected::Str(value), &self));
        }
        self.parse(value)
    }
}
