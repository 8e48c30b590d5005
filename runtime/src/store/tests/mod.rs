mod conformance;
mod full_disk;
mod kills;
#[path = "../../../../tests/src/small_disk.rs"]
#[allow(unreachable_pub, reason = "elsewhere it is reached")]
mod small_disk;
mod stores;
mod workload;
