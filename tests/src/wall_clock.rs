//! [`WallClock`]: a process whose wall clock shows another time than the machine's.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

const SHIFT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wall_clock/shift.c");

/// See the module. Needs Linux with the GNU C library, and a C compiler, as RocksDB does.
pub struct WallClock {
    folder: TempDir,
}

impl WallClock {
    /// Makes what shifts it.
    pub fn new() -> Self {
        let clock = Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-pthread", SHIFT, "-o"])
            .arg(clock.library())
            .output()
            .expect("there is a C compiler");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        clock
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("shift.so")
    }

    /// The variables of a process whose clock is so many minutes fast, or slow if that is negative.
    pub fn fast_by(&self, minutes: i32) -> [(String, String); 2] {
        [
            ("LD_PRELOAD".into(), self.library().display().to_string()),
            ("SHIFT_SECONDS".into(), (minutes * 60).to_string()),
        ]
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}
