//! What the end-to-end tests and the benchmarks share, without any code of the runtime, since it judges the runtime: a
//! broker to run against and clients for it; [`reader`], which reads what a topic holds as a `read_committed` consumer
//! sees it; [`orders`], which judges what the orders example wrote, and [`gaps`], when; [`program`], an app as its users run
//! it, and [`node`], the same example under load and killed; [`wall_clock`], another time of day for it, and [`small_disk`],
//! one that fills up. [`port_cases`], [`memory`] and [`source`] alone know types of the runtime: the ports that are judged.

pub mod broker;
pub mod clients;
pub mod cluster;
pub mod gaps;
pub mod memory;
pub mod node;
pub mod orders;
pub mod port_cases;
pub mod program;
pub mod raw;
pub mod reader;
pub mod small_disk;
pub mod source;
pub mod wall_clock;
