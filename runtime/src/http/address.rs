//! [`AddressFile`]: the file in a data directory that says where its holder answers.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Removed when this is dropped.
pub(crate) struct AddressFile(PathBuf);

impl AddressFile {
    /// Where it is in a data directory.
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("http")
    }

    /// Says that the holder of the directory listens at `address`.
    pub(crate) fn write(data_dir: &Path, address: SocketAddr) -> Result<Self> {
        let path = Self::path(data_dir);
        // Renamed when it is complete: nobody reads half of it.
        let draft = path.with_extension("new");
        fs::write(&draft, format!("{}\n", from_here(address)))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|error| Error::Failed(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// What it says; none if there is none.
    pub(crate) fn read(data_dir: &Path) -> Option<SocketAddr> {
        let text = fs::read_to_string(Self::path(data_dir)).ok()?;
        text.trim().parse().ok()
    }

    /// Takes one away that was left behind.
    pub(crate) fn remove(data_dir: &Path) {
        // None is there, most often.
        let _ = fs::remove_file(Self::path(data_dir));
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        // Whoever finds one that was left behind finds nobody at the address.
        let _ = fs::remove_file(&self.0);
    }
}

/// Where whoever listens at `address` is reached from this machine.
pub(crate) fn from_here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
