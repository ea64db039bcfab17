//! Declared properties in JSON: an object with the name of each flag, in snake case, and its
//! [value](super::property_value).

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::declared::{Declared, PROPERTIES, Property};
use super::property_value::{Declare, PropertyValue};

fn key(property: &Property) -> String {
    property.name.replace('-', "_")
}

impl Serialize for Declared {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(
            PROPERTIES
                .iter()
                .filter_map(|property| Some((key(property), PropertyValue::of(property, self)?))),
        )
    }
}

impl<'d> Deserialize<'d> for Declared {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Declared, D::Error> {
        from.deserialize_map(DeclaredVisitor)
    }
}

struct DeclaredVisitor;

impl<'d> Visitor<'d> for DeclaredVisitor {
    type Value = Declared;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of declared properties")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<Declared, A::Error> {
        let mut declared = Declared::default();
        while let Some(name) = map.next_key::<String>()? {
            match PROPERTIES.iter().find(|property| key(property) == name) {
                Some(property) => map
                    .next_value_seed(Declare { property, declared: &mut declared })
                    .map_err(|error| A::Error::custom(format!("`{name}`: {error}")))?,
                // A property of a later version.
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(declared)
    }
}
