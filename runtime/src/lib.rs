//! runtime
pub mod app;
