//! Greets.
fn main() {}
