//! Where the root key comes from. Today a file beside the data; Vault transit and PKCS#11 become further variants.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    VaultError,
    envelope::{self, Key},
};

const NAME: &str = "root.key";
const LENGTH: u64 = 32;

/// The provider of the root key.
pub(super) enum RootKey {
    /// A file of 32 raw bytes, mode 0600.
    File(PathBuf),
}

impl RootKey {
    /// The key file of a data directory, made when absent.
    pub(super) fn file(dir: &Path) -> Result<Self, VaultError> {
        let path = dir.join(NAME);
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(dir, &path)?,
            Err(source) => return Err(VaultError::RootFile { doing: "look at", path, source }),
        }
        Ok(Self::File(path))
    }

    /// Reads the key.
    pub(super) fn key(&self) -> Result<Key, VaultError> {
        match self {
            Self::File(path) => read(path),
        }
    }
}

fn read(path: &Path) -> Result<Key, VaultError> {
    let failed = |doing| move |source| VaultError::RootFile { doing, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed("open"))?;
    let metadata = file.metadata().map_err(failed("look at"))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::RootMode { path: path.to_owned(), mode });
    }
    if !metadata.is_file() || metadata.len() != LENGTH {
        return Err(VaultError::RootShape { path: path.to_owned() });
    }
    let mut key = Zeroizing::new([0; 32]);
    file.read_exact(key.as_mut_slice()).map_err(failed("read"))?;
    Ok(key)
}

/// Writes a fresh key under a temporary name and links it into place: two processes that start together agree on the
/// one that was first, and a crash leaves no half key.
fn create(dir: &Path, path: &Path) -> Result<(), VaultError> {
    let failed = |doing| move |source| VaultError::RootFile { doing, path: path.to_owned(), source };
    let temporary = dir.join(format!(".{NAME}.{}", domain::ids::fresh()));
    let linked = write(&temporary).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("create")(error)),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&temporary);
    linked?;
    removed.map_err(failed("tidy up after"))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("make durable"))
}

fn write(path: &Path) -> Result<(), VaultError> {
    let key = envelope::random_key()?;
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(key.as_slice())?;
        file.sync_all()
    });
    written.map_err(|source| VaultError::RootFile { doing: "write", path: path.to_owned(), source })
}
