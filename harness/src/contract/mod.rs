//! The contract: properties that a server declares before it is tested.

mod declared;
mod dialect;
mod expected;
mod properties;

pub use declared::{Declared, PROPERTIES, Property};
pub(crate) use declared::{SHORTEST_JUDGED, service, when_full, wire};
pub use dialect::{Dialect, Division, Operators};
pub use expected::{Expected, NoSuchWord};
pub use properties::{BUSY_PREFIX, Contract, Ending};
