//! The contract: properties that a server declares before it is tested.

mod declared;
mod dialect;
mod json;
mod properties;
mod property_value;
mod required_model;

pub use declared::{Declared, ManifestTable, PROPERTIES, Property, ValueType};
pub(crate) use declared::{MIN_MAX_LINE, service, wire};
pub use dialect::{Dialect, Division, Operators};
pub use properties::{BUSY_PREFIX, Contract, ShutdownPolicy};
pub(crate) use property_value::{Declare, PropertyValue};
pub use required_model::{RequiredModel, UnknownModel};
