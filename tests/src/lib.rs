//! What the end-to-end tests share: a broker to run against, and clients for it.

pub mod broker;
pub mod clients;
pub mod raw;
