//! [`StoreOptions`] and [`Budget`]: how RocksDB is set up, and the memory that the shards of a node share.

use std::path::Path;

use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, InfoLogger, LogLevel, Options, WriteBufferManager,
};

/// Settings of a node's stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for the block cache and the write buffers of all shards together, in bytes. At least
    /// [`StoreOptions::MIN_MEMORY_BYTES`] are used.
    pub memory_bytes: usize,
    /// Threads of the process that write and merge files in the background.
    pub background_threads: usize,
}

impl StoreOptions {
    /// With less, a handful of shards would write files of a few keys.
    pub const MIN_MEMORY_BYTES: usize = 8 << 20;
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            background_threads: 2,
        }
    }
}

/// The memory that the shards of a node share: a block cache, on which the write buffers are charged too.
pub(super) struct Budget {
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_bytes: usize,
    background_threads: usize,
}

impl Budget {
    pub(super) fn new(options: &StoreOptions) -> Self {
        let memory_bytes = options.memory_bytes.max(StoreOptions::MIN_MEMORY_BYTES);
        let write_bytes = memory_bytes / 2;
        let cache = Cache::new_hyper_clock_cache(memory_bytes, 0);
        // No stall: it would make the writers of all shards wait for one (S5).
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            write_bytes,
            false,
            cache.clone(),
        );
        Self {
            cache,
            write_buffers,
            write_bytes,
            background_threads: options.background_threads,
        }
    }

    /// The write buffers of all shards, those included that are just being written to files, in bytes.
    pub(super) fn write_buffer_bytes(&self) -> usize {
        self.write_buffers.get_usage()
    }

    /// Beyond this, write buffers should be flushed, in bytes. RocksDB would do so itself a little later, but only
    /// that of the shard that is being written to, however small it is.
    pub(super) fn write_buffer_limit_bytes(&self) -> usize {
        self.write_bytes / 4 * 3
    }

    /// How to open the database in `path`.
    pub(super) fn options(&self, path: &Path) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_block_based_table_factory(&self.table_options());
        self.set_writing(&mut options);
        set_opening(&mut options);
        options.set_info_logger(log_to_tracing(path));
        options
    }

    fn table_options(&self) -> BlockBasedOptions {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        // Most keys that are looked up here are new: the cache of decoded values answers for the others.
        table.set_bloom_filter(10.0, false);
        table.set_whole_key_filtering(true);
        // So that they are within the budget.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table
    }

    fn set_writing(&self, options: &mut Options) {
        // Larger ones do not fit the processor's caches and take more CPU.
        let buffer_bytes = (self.write_bytes / 4).min(16 << 20);
        options.set_write_buffer_size(buffer_bytes);
        // A shard waits for its files when its buffers take up all that is for writing.
        options.set_max_write_buffer_number(4);
        // Of an idle shard one block is allocated, by default up to 1 MiB.
        options.set_arena_block_size(64 << 10);
        // As in files: a filter for the keys that are not there, some ten bits for each that is.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
        // A shard has one writer.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_write_thread_adaptive_yield(false);
        options.set_target_file_size_base(32 << 20);
        options.set_max_bytes_for_level_base(128 << 20);
        options.set_compression_type(DBCompressionType::Lz4);
        let threads = i32::try_from(self.background_threads.max(1)).unwrap_or(i32::MAX);
        options.set_max_background_jobs(threads);
    }
}

/// A node opens its shards one after the other, and the first record waits for it.
fn set_opening(options: &mut Options) {
    options.set_max_open_files(64);
    options.set_max_file_opening_threads(1);
    options.set_skip_stats_update_on_db_open(true);
    options.set_manifest_preallocation_size(64 << 10);
    options.set_max_manifest_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_statistics_level(StatsLevel::DisableAll);
}

/// What RocksDB has to say, instead of a log file in each shard's directory.
fn log_to_tracing(path: &Path) -> InfoLogger {
    let path = path.display().to_string();
    InfoLogger::new_callback_logger(LogLevel::Warn, move |level, message| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::error!(store = path, "{message}"),
        // Of each file that is taken over when a shard is restored.
        LogLevel::Warn if message.contains("block_based_table_reader") => {
            tracing::debug!(store = path, "{message}");
        }
        LogLevel::Warn => tracing::warn!(store = path, "{message}"),
        _ => tracing::debug!(store = path, "{message}"),
    })
}
