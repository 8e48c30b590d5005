//! What RocksDB says, as a [`StoreError`].

use std::path::Path;

use rocksdb::ErrorKind;
use tanist_actors::port::StoreError;

/// The store in `path` said `error`.
pub(super) fn store_error(path: &Path, error: &rocksdb::Error) -> StoreError {
    let reason = error.as_ref();
    // RocksDB has kinds for these, but hands out only their texts.
    let full = ["No space left on device", "Disk quota exceeded"];
    let path = path.display().to_string();
    if full.iter().any(|text| reason.contains(text)) {
        let reason = reason.to_owned();
        return StoreError::DiskFull { path, reason };
    }
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt {
            path,
            reason: format!("{reason}; move it away, and it is rebuilt from the changelog"),
        },
        _ => StoreError::Failed {
            path,
            reason: reason.to_owned(),
        },
    }
}
