//! The contract: properties that a server declares before it is tested.

mod declared;
mod dialect;
mod json;
mod properties;
mod required_model;

pub use declared::{Declared, PROPERTIES, Property, ValueType};
pub(crate) use declared::{MIN_MAX_LINE, service, when_full, wire};
pub use dialect::{Dialect, Division, Operators};
pub use properties::{BUSY_PREFIX, Contract, ShutdownPolicy};
pub use required_model::{RequiredModel, UnknownModel};
