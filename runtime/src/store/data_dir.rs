//! [`DataDir`]: the node's directory on disk, held by one process and belonging to one app.
//!
//! ```text
//! lock                     held while the node runs; says by which process
//! app.json                 whose directory this is
//! shards/{group}-{n}/      one RocksDB a shard
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tanist_cluster::ShardId;

use super::shard::FILLING;

/// Why the stores of a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Two nodes would write to one directory.
    #[error(
        "the data directory {path} is in use by {holder}: stop that, or give this one a data directory of its own (--data-dir)"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who holds it.
        holder: Holder,
    },
    /// Two apps would write to one directory.
    #[error(
        "the data directory {path} belongs to app `{owner}`, not to `{app}`: give each app a data directory of its own"
    )]
    OtherApp {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asked.
        app: String,
    },
    /// It cannot be told whose directory it is.
    #[error(
        "the data directory {path} cannot be used ({reason}): give this node another one, and its tables are rebuilt \
         from their changelogs"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// It is not there any more, or another is in its place.
    #[error(
        "the data directory {path} was deleted or moved away while the node ran, so it ends; nothing is lost: start it \
         again, and its tables are rebuilt from their changelogs"
    )]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot use the data directory: {action} {path}: {error}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The process that holds a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This one, by its process id.
    Process(u32),
    /// One that has not said which.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Unknown => f.write_str("another process"),
        }
    }
}

/// A node's data directory, held until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The lock ends with the file, so also when the process is killed.
    lock: File,
}

/// What [`APP_FILE`] holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    app: String,
    layout: u32,
}

const LOCK_FILE: &str = "lock";
const SHARDS: &str = "shards";
const APP_FILE: &str = "app.json";
/// To be raised when a version could not read what an older one has written.
const LAYOUT: u32 = 1;

impl DataDir {
    /// Makes the directory if there is none, and takes hold of it, for the stores of a node.
    pub(super) fn open(path: &Path, app: &str) -> Result<Self, DataDirError> {
        let dir = Self::hold(path, app)?;
        create_dir(&dir.path.join(SHARDS))?;
        dir.clear_up();
        Ok(dir)
    }

    /// Removes the files that a process which was killed had begun to fill stores with: where they have filled the disk, no
    /// store can be opened, theirs or another.
    fn clear_up(&self) {
        let shards = fs::read_dir(self.path.join(SHARDS)).into_iter();
        for shard in shards.flatten().flatten() {
            // Whatever cannot be removed is told by the store when it is opened.
            let _ = fs::remove_file(shard.path().join(FILLING));
        }
    }

    /// The same, for whatever else.
    pub(crate) fn hold(path: &Path, app: &str) -> Result<Self, DataDirError> {
        create_dir(path)?;
        let lock = lock(path)?;
        let dir = Self {
            path: path.to_owned(),
            lock,
        };
        dir.check_app(app)?;
        Ok(dir)
    }

    /// Where the store of `shard` is. The partition number ends the name, so that no two shards share one.
    pub(super) fn shard(&self, shard: &ShardId) -> PathBuf {
        let group = escape(shard.group.as_str());
        let name = format!("{group}-{}", shard.partition);
        self.path.join(SHARDS).join(name)
    }

    /// An error if its files are not there any more, or not ours. What cannot be seen just now may be there.
    pub(super) fn check(&self) -> Result<(), DataDirError> {
        let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
        let lock = self.path.join(LOCK_FILE);
        let is_ours = match (fs::metadata(&lock), self.lock.metadata()) {
            (Ok(found), Ok(ours)) => (found.dev(), found.ino()) == (ours.dev(), ours.ino()),
            _ => !is_missing(&lock),
        };
        match is_ours && !is_missing(&self.path.join(SHARDS)) {
            true => Ok(()),
            false => Err(DataDirError::Gone {
                path: self.path.clone(),
            }),
        }
    }

    fn check_app(&self, app: &str) -> Result<(), DataDirError> {
        let file = self.path.join(APP_FILE);
        let foreign = |reason: String| DataDirError::Foreign {
            path: self.path.clone(),
            reason,
        };
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.write_app(app),
            Err(error) => return Err(io_error("reading", &file)(error)),
        };
        let found: Identity = serde_json::from_slice(&text)
            .map_err(|error| foreign(format!("{APP_FILE} cannot be read: {error}")))?;
        if found.layout != LAYOUT {
            let layout = found.layout;
            return Err(foreign(format!(
                "its layout is {layout}, and this version knows only {LAYOUT}"
            )));
        }
        if found.app != app {
            return Err(DataDirError::OtherApp {
                path: self.path.clone(),
                owner: found.app,
                app: app.to_owned(),
            });
        }
        Ok(())
    }

    fn write_app(&self, app: &str) -> Result<(), DataDirError> {
        let identity = Identity {
            app: app.to_owned(),
            layout: LAYOUT,
        };
        let text = serde_json::to_vec(&identity).expect("plain values become JSON");
        let (file, draft) = (self.path.join(APP_FILE), self.path.join("app.json.new"));
        // Renamed when it is complete: a crash leaves no half of it.
        let write = || {
            let mut draft = File::create(&draft)?;
            draft.write_all(&text)?;
            draft.sync_all()
        };
        write().map_err(io_error("writing", &draft))?;
        fs::rename(&draft, &file).map_err(io_error("writing", &file))
    }
}

fn create_dir(path: &Path) -> Result<(), DataDirError> {
    fs::create_dir_all(path).map_err(io_error("creating", path))
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK_FILE);
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(io_error("opening", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.read_to_string(&mut pid).ok();
            let holder = read.and_then(|_| pid.trim().parse().ok());
            return Err(DataDirError::InUse {
                path: dir.to_owned(),
                holder: holder.map_or(Holder::Unknown, Holder::Process),
            });
        }
        Err(TryLockError::Error(error)) => return Err(io_error("locking", &path)(error)),
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(io_error("writing", &path))?;
    Ok(file)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |error| DataDirError::Io {
        action,
        path,
        error,
    }
}

/// Keeps what is safe in a file name, and writes every other byte as `%` and two digits.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                escaped.push(byte.into());
            }
            _ => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_on_a_data_directory_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path(), "orders").unwrap();
        let error = DataDir::open(dir.path(), "orders").unwrap_err().to_string();
        let path = dir.path().display();
        let pid = std::process::id();
        assert!(
            error.starts_with(&format!(
                "the data directory {path} is in use by process {pid}: stop"
            )),
            "{error}"
        );
        drop(held);
        DataDir::open(dir.path(), "orders").unwrap();
    }

    #[test]
    fn a_data_directory_of_another_app_is_refused_with_both_names() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), "orders").unwrap());
        let error = DataDir::open(dir.path(), "flights")
            .unwrap_err()
            .to_string();
        let path = dir.path().display();
        assert!(
            error.starts_with(&format!(
                "the data directory {path} belongs to app `orders`, not to `flights`: "
            )),
            "{error}"
        );
        DataDir::open(dir.path(), "orders").expect("it was let go of, and is its app's still");
    }

    #[test]
    fn a_data_directory_that_cannot_be_understood_is_left_as_it_is() {
        for (content, reason) in [
            ("{\"app\":\"orders\",\"layout\":2}", "its layout is 2"),
            ("{\"app\":", "app.json cannot be read"),
            ("", "app.json cannot be read"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(APP_FILE);
            fs::write(&file, content).unwrap();
            let error = DataDir::open(dir.path(), "orders").unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("data");
        let error = DataDir::open(&path, "orders").unwrap_err().to_string();
        let expected = format!(
            "cannot use the data directory: creating {}: ",
            path.display()
        );
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn a_data_directory_that_was_taken_away_or_exchanged_is_noticed() {
        let held = |path: &Path| DataDir::open(path, "orders").unwrap();
        let take_away: [fn(&Path); 4] = [
            |path| fs::remove_dir_all(path).unwrap(),
            |path| fs::remove_dir_all(path.join(SHARDS)).unwrap(),
            |path| fs::rename(path, path.with_extension("old")).unwrap(),
            |path| {
                fs::rename(path, path.with_extension("old")).unwrap();
                drop(DataDir::open(path, "orders").unwrap());
            },
        ];
        for take_away in take_away {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("data");
            let held = held(&path);
            held.check().unwrap();
            take_away(&path);
            let error = held.check().unwrap_err().to_string();
            let expected = format!(
                "the data directory {} was deleted or moved away",
                path.display()
            );
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn no_two_shards_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let dir = DataDir::open(dir.path(), "orders").unwrap();
        let groups = [
            "a", "A", "a-1", "a/1", "a%2f1", "..", "../..", "", "ä", "a b", "a\0b",
        ];
        let mut names = std::collections::BTreeSet::new();
        for group in groups {
            for partition in [0, 1, 10] {
                let path = dir.shard(&ShardId::new(group, partition));
                assert_eq!(path.parent(), Some(&*dir.path.join("shards")), "{group}");
                assert!(names.insert(path), "{group}/{partition}");
            }
        }
        let plain = dir.shard(&ShardId::new("order.lines-by_account", 3));
        assert!(plain.ends_with("shards/order.lines-by_account-3"));
    }
}
