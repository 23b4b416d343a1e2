//! Files of a mounted folder. The kernel resolves the path beneath the folder (`openat2` with `RESOLVE_BENEATH`, Linux 5.6): no `..`
//! and no link leads out of it, also while somebody changes them.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

use super::{Fault, MISSING, NOT_A_FILE};

/// How often the kernel is asked again that could not tell whether something moved meanwhile.
const TRIES: usize = 64;

/// Opens the regular file `path` beneath `folder`. Blocks.
pub(super) fn open_beneath(folder: &Path, path: &Path) -> Result<File, Fault> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(folder, directory, Mode::empty()).map_err(|error| fault(&error.into(), true))?;
    let file = beneath(&folder, path).map_err(|error| fault(&error, false))?;
    let kind = fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::RegularFile) => Ok(File::from(file)),
        Ok(_) => Err(NOT_A_FILE),
        Err(error) => Err(fault(&error.into(), false)),
    }
}

fn beneath(folder: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    // A pipe or a device is opened without waiting, and refused afterwards.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(folder, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            opened => return opened.map_err(Into::into),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// `of_folder`: it is the folder itself that cannot be opened, which may not be mounted at the moment.
fn fault(error: &io::Error, of_folder: bool) -> Fault {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        _ if of_folder => {
            Fault::again("the folder of references cannot be opened; ask the operator whether it is mounted")
        }
        Some(Errno::NOENT | Errno::NOTDIR) => MISSING,
        // Links or `..` that lead out, and too many links.
        Some(Errno::XDEV | Errno::LOOP) => Fault::refused("the reference leads out of the folder"),
        Some(Errno::ACCESS | Errno::PERM) => {
            Fault::refused("the file may not be read; ask the operator for the right to read it")
        }
        Some(Errno::NAMETOOLONG | Errno::INVAL | Errno::ISDIR | Errno::NXIO) => NOT_A_FILE,
        Some(Errno::NOSYS) => {
            Fault::refused("the machine's kernel cannot open files beneath a folder; it must be Linux 5.6 or later")
        }
        _ => Fault::again("the folder of references cannot be read"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{io::Read as _, os::unix::fs::symlink};

    use storage::items::ItemError;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("mounted");
        std::fs::create_dir_all(folder.join("in")).unwrap();
        std::fs::write(folder.join("in/a.txt"), "alpha").unwrap();
        std::fs::write(home.path().join("secret.txt"), "secret").unwrap();
        symlink("a.txt", folder.join("in/link.txt")).unwrap();
        symlink("../in", folder.join("in/round")).unwrap();
        symlink("../../secret.txt", folder.join("in/out.txt")).unwrap();
        symlink(home.path(), folder.join("outside")).unwrap();
        symlink(folder.join("in/a.txt"), folder.join("absolute.txt")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        symlink("/proc/self/cwd", folder.join("cwd")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();

        for inside in ["in/a.txt", "in/link.txt", "in/round/a.txt", "in/../in/a.txt", "./in//a.txt"] {
            let mut text = String::new();
            open_beneath(&folder, Path::new(inside)).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "alpha", "{inside}");
        }
        let secret = home.path().join("secret.txt");
        for (outside, error) in [
            ("../secret.txt", ItemError::ReferenceRefused),
            ("in/../../secret.txt", ItemError::ReferenceRefused),
            ("in/out.txt", ItemError::ReferenceRefused),
            ("outside/secret.txt", ItemError::ReferenceRefused),
            ("absolute.txt", ItemError::ReferenceRefused),
            (secret.to_str().unwrap(), ItemError::ReferenceRefused),
            ("/etc/passwd", ItemError::ReferenceRefused),
            ("loop", ItemError::ReferenceRefused),
            ("cwd/Cargo.toml", ItemError::ReferenceRefused),
            ("none.txt", ItemError::ReferenceMissing),
            ("in/a.txt/b", ItemError::ReferenceMissing),
            ("", ItemError::ReferenceMissing),
            ("in", ItemError::ReferenceFailed),
            ("pipe", ItemError::ReferenceFailed),
        ] {
            let fault = open_beneath(&folder, Path::new(outside)).err().unwrap();
            assert_eq!((fault.error, fault.again), (error, false), "{outside}");
        }
        assert!(open_beneath(&home.path().join("away"), Path::new("a")).err().unwrap().again);
    }
}
