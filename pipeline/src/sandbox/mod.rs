//! Shuts the child process in before it reads hostile bytes: resource limits, Landlock (no files but fonts), and a seccomp
//! allow-list (no sockets, no programs, no other processes). The only module that calls the kernel directly.

mod calls;

use std::{io, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use rlimit::Resource;

use crate::limits::Limits;

/// Exit code of a child that could not shut itself in, and therefore read nothing.
pub(crate) const EXIT_NOT_SANDBOXED: i32 = 121;

/// What the process inside needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    /// Parses a document: no files but fonts.
    Parser,
    /// Becomes tesseract at this path: may read system libraries and language data, and start programs.
    Tesseract(&'a Path),
}

/// Enters the cell for good. Called while the process has one thread; threads started later inherit it.
pub(crate) fn enter(cell: Cell<'_>, limits: &Limits) -> io::Result<()> {
    die_with_parent()?;
    let (seconds, most) = match cell {
        Cell::Parser => (limits.cpu_seconds, cpu_seconds(limits, limits.max_ocr_pages)),
        Cell::Tesseract(_) => (limits.ocr_wall_seconds_per_page, limits.ocr_wall_seconds_per_page),
    };
    let memory = limits.memory_bytes.saturating_add(limits.max_document_bytes);
    Resource::CPU.set(seconds, most.saturating_add(2))?;
    Resource::AS.set(memory, memory)?;
    Resource::FSIZE.set(0, 0)?;
    Resource::CORE.set(0, 0)?;
    Resource::NOFILE.set(64, 64)?;
    let files_guarded = restrict_files(cell).map_err(io::Error::other)?;
    calls::restrict(cell, files_guarded)
}

/// Processor seconds of a reader that has rendered `pages` for recognition: a scan of thousands of pages is no runaway.
pub(crate) fn cpu_seconds(limits: &Limits, pages: u32) -> u64 {
    limits.cpu_seconds.saturating_add(pages.min(limits.max_ocr_pages).into())
}

/// Grants a child the processor time of the pages it has rendered so far; it cannot do so itself. A child that is gone
/// needs none.
pub(crate) fn grant_pages(child: u32, limits: &Limits, pages: u32) {
    let most = cpu_seconds(limits, limits.max_ocr_pages).saturating_add(2);
    if let Ok(child) = i32::try_from(child) {
        let _gone = rlimit::prlimit(child, Resource::CPU, Some((cpu_seconds(limits, pages), most)), None);
    }
}

/// Landlock; false when this kernel has none, and then the call filter refuses to open files at all.
fn restrict_files(cell: Cell<'_>) -> Result<bool, landlock::RulesetError> {
    let abi = ABI::V6;
    let (readable, access): (Vec<&Path>, _) = match cell {
        Cell::Parser => (FONTS.iter().map(Path::new).collect(), AccessFs::ReadFile | AccessFs::ReadDir),
        Cell::Tesseract(program) => {
            let folder = program.parent().unwrap_or(program);
            (SYSTEM.iter().map(Path::new).chain([folder]).collect(), AccessFs::from_read(abi))
        }
    };
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable, access))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Fonts that a PDF names and does not carry, for rendering.
const FONTS: &[&str] = &["/usr/share/fonts", "/usr/local/share/fonts"];

/// What a program of the system needs to start.
const SYSTEM: &[&str] = &[
    "/usr/lib",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/tesseract-ocr",
    "/usr/share/tessdata",
    "/usr/local/share/tessdata",
    "/etc/ld.so.cache",
];

/// Asks the kernel to kill this process when its parent dies, so that a killed server leaves no readers behind.
#[allow(unsafe_code, reason = "prctl has no safe wrapper here")]
fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes writes to stderr never block: what does not fit into the pipe is lost, and nobody waits for it.
#[allow(unsafe_code, reason = "fcntl has no safe wrapper here")]
pub(crate) fn unblock_stderr() {
    // SAFETY: F_GETFL and F_SETFL on an open descriptor touch no memory.
    unsafe {
        let flags = libc::fcntl(libc::STDERR_FILENO, libc::F_GETFL);
        libc::fcntl(libc::STDERR_FILENO, libc::F_SETFL, flags | libc::O_NONBLOCK);
    }
}

/// Kills the process group of a child that was started as the leader of its own.
#[allow(unsafe_code, reason = "killpg has no safe wrapper here")]
pub(crate) fn kill_group(group: u32) {
    if let Ok(group @ 2..) = i32::try_from(group) {
        // SAFETY: killpg takes two integers and touches no memory.
        unsafe { libc::killpg(group, libc::SIGKILL) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_rendered_page_earns_a_second_up_to_the_most() {
        let limits = Limits { cpu_seconds: 7, max_ocr_pages: 100, ..Limits::default() };
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (id, process) = (child.id(), i32::try_from(child.id()).unwrap());
        let granted = |pages| {
            grant_pages(id, &limits, pages);
            let (mut soft, mut hard) = (0, 0);
            rlimit::prlimit(process, Resource::CPU, None, Some((&mut soft, &mut hard))).unwrap();
            (soft, hard)
        };
        assert_eq!(granted(0), (7, 109));
        assert_eq!(granted(30), (37, 109));
        assert_eq!(granted(5_000), (107, 109));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
