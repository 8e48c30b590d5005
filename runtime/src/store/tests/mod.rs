mod conformance;
mod full_disk;
mod kills;
mod stores;
mod workload;
