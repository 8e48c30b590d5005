//! Ingestion: a sorted file is written and handed to RocksDB, at half of what the same costs as a batch.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};
use tanist_actors::port::{Changes, Store, StoreError};

use super::shard::RocksStore;

/// With fewer writes, the file and its syncs cost more than a batch.
pub(super) const MIN_WRITES: usize = 4_000;

impl RocksStore {
    /// Takes over all of `changes`, not empty, or nothing.
    pub(super) fn ingest_file(&self, changes: &Changes) -> Result<(), StoreError> {
        // The file outlives a crash as soon as it is taken over. So must what was applied before it (S3).
        self.flush()?;
        let draft = Draft(self.node.new_ingest_file());
        write(&self.node.budget.options(&self.path), &draft.0, changes).map_err(self.failed())?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db
            .ingest_external_file_opts(&options, vec![&draft.0])
            .map_err(self.failed())
    }
}

/// A file that is removed in the end, unless RocksDB took it.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        fs::remove_file(&self.0).ok();
    }
}

fn write(options: &Options, path: &Path, changes: &Changes) -> Result<(), rocksdb::Error> {
    let mut file = SstFileWriter::create(options);
    file.open(path)?;
    for (key, value) in sorted(changes) {
        match value {
            Some(value) => file.put(key, value)?,
            None => file.delete(key)?,
        }
    }
    file.finish()
}

/// The last write to each key, ordered by key.
fn sorted(changes: &Changes) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let keys = changes.iter().map(|(key, _)| key);
    let mut writes: Vec<(&[u8], usize)> = keys.zip(0..).collect();
    writes.sort_unstable_by(|(a, a_index), (b, b_index)| a.cmp(b).then(b_index.cmp(a_index)));
    writes.dedup_by(|earlier, last| earlier.0 == last.0);
    writes.into_iter().map(|(_, index)| changes.get(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_key_the_last_write_is_kept_in_the_order_of_keys() {
        let mut changes = Changes::default();
        changes.put(b"t", b"b", b"1");
        changes.put(b"t", b"a", b"2");
        changes.delete(b"t", b"b");
        changes.put(b"", b"", b"3");
        changes.put(b"t", b"a", b"4");
        changes.put(b"t", b"ab", b"5");
        let expected: [(&[u8], Option<&[u8]>); 4] = [
            (b"", Some(b"3")),
            (b"ta", Some(b"4")),
            (b"tab", Some(b"5")),
            (b"tb", None),
        ];
        assert_eq!(sorted(&changes).collect::<Vec<_>>(), expected);
    }
}
