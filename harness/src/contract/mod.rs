//! The contract: properties that a server declares before it is tested.

mod broadcast;
mod declared;
mod dialect;
mod json;
mod parsers;
mod properties;
mod property_value;
mod required_model;
mod transform;

pub use broadcast::Broadcast;
pub use declared::{Declared, ManifestTable, PROPERTIES, Property, ValueType};
pub use dialect::{Dialect, Division, Operators, Symbols};
pub(crate) use parsers::{MIN_MAX_LINE, service, wire};
pub use properties::{BUSY_PREFIX, Contract, ShutdownPolicy};
pub(crate) use property_value::{Declare, PropertyValue};
pub use required_model::{RequiredModel, UnknownModel};
pub use transform::Transform;
