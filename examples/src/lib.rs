//! What the examples share: the allocator of their processes.
//!
//! jemalloc takes a fifth less CPU here than the system's, librdkafka's part included. A library does not choose one for
//! the programs that use it, so this is a program's matter: `use tanist_examples as _;`.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
