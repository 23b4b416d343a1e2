//! Which system calls a reader may make. Everything not named fails with EPERM, so a library that asks politely goes on
//! without; nothing named reaches another process, the network, or a file for writing.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::Cell;

/// Memory, threads, time, open descriptors, and the end.
const ALWAYS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_dup,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_clone3,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Looking at files, where Landlock decides which.
const FILES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_fadvise64,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// Starting a program, and what its start needs.
const START: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_set_tid_address,
    libc::SYS_getcwd,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
];

/// Applies the filters to this thread and all it will start. `files_guarded` says that Landlock stands behind openat.
pub(super) fn restrict(cell: Cell<'_>, files_guarded: bool) -> io::Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    // clone3 hides its flags from filters; told that it does not exist, glibc falls back to clone.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    apply(no_clone3, SeccompAction::Allow, missing, arch)?;
    let rules = allowed(cell, files_guarded).map_err(io::Error::other)?;
    apply(rules, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow, arch)
}

fn allowed(cell: Cell<'_>, files_guarded: bool) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let always = |calls: &[i64]| calls.iter().map(|call| (*call, Vec::new())).collect::<Vec<_>>();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always(ALWAYS).into_iter().collect();
    let tesseract = matches!(cell, Cell::Tesseract(_));
    if files_guarded || tesseract {
        rules.extend(always(FILES));
    }
    if tesseract {
        rules.extend(always(START));
    }
    let argument = |index, op, value: u64| {
        Condition::new(index, Len::Dword, op, value).and_then(|one| SeccompRule::new(vec![one]))
    };
    let thread = libc::CLONE_THREAD.unsigned_abs().into();
    rules.insert(libc::SYS_clone, vec![argument(0, Op::MaskedEq(thread), thread)?]);
    // abort() signals its own thread; nobody else is within reach.
    rules.insert(libc::SYS_tgkill, vec![argument(0, Op::Eq, std::process::id().into())?]);
    rules.insert(libc::SYS_prctl, vec![argument(0, Op::Eq, libc::PR_SET_NAME.unsigned_abs().into())?]);
    rules.insert(
        libc::SYS_fcntl,
        vec![
            argument(1, Op::Eq, libc::F_GETFL.unsigned_abs().into())?,
            argument(1, Op::Eq, libc::F_GETFD.unsigned_abs().into())?,
        ],
    );
    // Reading a limit is harmless; the third argument (a new limit) must be null.
    rules.insert(
        libc::SYS_prlimit64,
        vec![Condition::new(2, Len::Qword, Op::Eq, 0).and_then(|one| SeccompRule::new(vec![one]))?],
    );
    Ok(rules)
}

fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
    arch: TargetArch,
) -> io::Result<()> {
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}
