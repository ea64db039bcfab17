//! The JSON Schema of `report.json`, generated from the types of this module.
//!
//! This module exists only in tests, because deriving the schemas takes compile time. After a
//! change of a type, `BLESS=1 cargo test -p harness --lib results::schema` updates the file.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::Report;
use crate::contract::{Declared, PROPERTIES, ValueType};
use crate::wire::Bytes;

/// Path of the committed file, relative to the crate.
const FILE: &str = "../reports/report.schema.json";

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A byte string: text, or a list of numbers if it is not UTF-8.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "array",
                    "items": { "type": "integer", "minimum": 0, "maximum": 255 },
                },
            ],
        })
    }
}

impl JsonSchema for Declared {
    fn schema_name() -> Cow<'static, str> {
        "Declared".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let properties: Map<String, Value> = PROPERTIES
            .iter()
            .map(|property| {
                let kind = match property.value_type {
                    ValueType::Flag => "boolean",
                    ValueType::Number => "integer",
                    ValueType::Text => "string",
                };
                let key = property.name.replace('-', "_");
                (key, json!({ "type": kind, "description": property.help }))
            })
            .collect();
        json_schema!({
            "description": "Declared properties of a server, with the values of their flags.",
            "type": "object",
            "properties": properties,
        })
    }
}

/// Returns the schema in the format of the committed file.
fn generated() -> String {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = schema.into_root_schema_for::<Report>();
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    // Removes the links of rustdoc.
    text.replace("[`", "`").replace("`]", "`") + "\n"
}

#[test]
fn the_committed_schema_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let schema = generated();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &schema).expect("a file");
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(committed, schema, "reports/report.schema.json is out of date; BLESS=1 writes it");
}
