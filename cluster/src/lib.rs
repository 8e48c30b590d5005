//! Who owns what: pure values and functions.

mod ids;

pub use ids::*;
