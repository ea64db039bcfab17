//! The key figures of each server: the columns of the summary table, ranks with ties, and
//! recommendations.

mod column;
mod figure;
mod rank;
mod recommendation;
mod table;

pub use column::{Better, COLUMNS, Column};
pub use figure::{Cell, Figure, Missing};
pub use rank::{Rank, ranks};
pub use recommendation::{Recommendation, recommendations};
pub use table::{KeyFigures, Row};
