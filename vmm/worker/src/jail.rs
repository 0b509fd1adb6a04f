//! The worker's own jail: from here on the process can do what a worker does and nothing else.
//!
//! The guest has one way out, the hypercalls; should it ever take over the VMM through one, it finds
//! itself without the system calls to go on: no program to start, no socket to open, no file to
//! write, no memory to make executable, no ioctl but KVM's.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// The type byte of KVM's ioctls (`KVMIO`), where a request number has it.
const KVM_IOCTL: u64 = 0xae << 8;
const IOCTL_TYPE_MASK: u64 = 0xff << 8;

/// `PAGEMAP_SCAN`, as its number.
const PAGEMAP_SCAN: u64 = sprout_vmm::snapshot::PAGEMAP_SCAN;

/// Flags of `openat` that open a file to write or change what lies there: even O_RDONLY with O_TRUNC
/// empties a file. Of O_TMPFILE the bit that is its own; O_DIRECTORY is the other one.
const CHANGING: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// System calls allowed with any arguments, and what the worker does with them.
const ALLOWED: &[(i64, &str)] = &[
    (libc::SYS_read, "the gateway's messages, snapshot files"),
    (libc::SYS_recvfrom, "the gateway's messages"),
    (libc::SYS_write, "messages to the gateway, diagnostics"),
    (libc::SYS_sendto, "messages to the gateway"),
    (libc::SYS_writev, "responses, from guest memory"),
    (libc::SYS_close, "files that are mapped"),
    (libc::SYS_statx, "sizes of snapshot parts and images"),
    (libc::SYS_fstat, "sizes of snapshot parts and images"),
    (libc::SYS_lseek, "reading a whole file"),
    (libc::SYS_pread64, "the working set, KVM's counters"),
    (libc::SYS_munmap, "the allocator, mappings"),
    (libc::SYS_mremap, "the allocator"),
    (libc::SYS_brk, "the allocator"),
    (libc::SYS_madvise, "large pages, the working set"),
    (libc::SYS_ppoll, "waiting"),
    (
        libc::SYS_poll,
        "waiting for /dev/random, which a static binary's getrandom falls back to",
    ),
    (libc::SYS_timer_create, "the preemption timer"),
    (libc::SYS_timer_settime, "the preemption timer"),
    (libc::SYS_timer_delete, "the preemption timer"),
    (libc::SYS_rt_sigaction, "the preemption timer"),
    (libc::SYS_rt_sigprocmask, "creating the timer"),
    (libc::SYS_rt_sigreturn, "the timer's handler"),
    (libc::SYS_gettid, "the timer's thread"),
    (libc::SYS_getpid, "kicks"),
    (libc::SYS_clone3, "answered with ENOSYS, see `program`"),
    (libc::SYS_set_robust_list, "the start of a vCPU's thread"),
    (libc::SYS_rseq, "the start of a vCPU's thread"),
    (
        libc::SYS_sched_getaffinity,
        "the start of a thread: its stack's bounds",
    ),
    (libc::SYS_sched_yield, "letting a kicked vCPU run"),
    (libc::SYS_eventfd2, "where idle vCPUs are woken"),
    (libc::SYS_getrandom, "the guest's entropy"),
    (libc::SYS_clock_gettime, "clocks, where the vDSO can't"),
    (libc::SYS_futex, "locks of the standard library"),
    (libc::SYS_sigaltstack, "the end of a thread"),
    (
        libc::SYS_restart_syscall,
        "a call that a signal interrupted",
    ),
    (libc::SYS_exit, "the end"),
    (libc::SYS_exit_group, "the end"),
];

/// The jail could not be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot jail the worker: {0}")]
pub struct JailError(#[from] seccompiler::Error);

/// Jails the calling process, which must have one thread.
pub fn enter() -> Result<(), JailError> {
    for program in [threads_by_clone(), program()] {
        seccompiler::apply_filter(&program.map_err(seccompiler::Error::from)?)?;
    }
    Ok(())
}

/// What `clone3` is to do lies in memory, where no filter looks: the C library is told that there is
/// none, and uses `clone`.
fn threads_by_clone() -> Result<BpfProgram, seccompiler::BackendError> {
    SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        TargetArch::x86_64,
    )?
    .try_into()
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED
        .iter()
        .map(|(call, _)| (*call, Vec::new()))
        .collect();
    let only = |argument, mask, value| {
        let compare = SeccompCmpOp::MaskedEq(mask);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)?;
        Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(vec![condition])?])
    };
    let (executable, changing) = (libc::PROT_EXEC as u64, CHANGING as u64);
    let (thread, own) = (libc::CLONE_THREAD as u64, u64::from(std::process::id()));
    rules.insert(libc::SYS_clone, only(0, thread, thread)?);
    rules.insert(libc::SYS_tgkill, only(0, u32::MAX.into(), own)?);
    rules.insert(
        libc::SYS_prctl,
        only(0, u32::MAX.into(), libc::PR_SET_NAME as u64)?,
    );
    let mut ioctls = only(1, IOCTL_TYPE_MASK, KVM_IOCTL)?;
    // Which pages a guest wrote: of this process, whose page map alone can be opened for that.
    ioctls.extend(only(1, u32::MAX.into(), PAGEMAP_SCAN)?);
    rules.insert(libc::SYS_ioctl, ioctls);
    rules.insert(libc::SYS_mmap, only(2, executable, 0)?);
    rules.insert(libc::SYS_mprotect, only(2, executable, 0)?);
    rules.insert(libc::SYS_openat, only(2, changing, 0)?);
    SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a child ends that enters the jail and then does `action`: exit status or signal.
    fn fate<R>(action: fn() -> R) -> (i32, i32) {
        // SAFETY: the child only applies the filters, makes the system calls of `action` and exits;
        // it uses nothing another thread could have locked (fork leaves the allocator usable).
        unsafe {
            let child = libc::fork();
            if child == 0 {
                // Made here: one rule names this process.
                let filters = [threads_by_clone().unwrap(), program().unwrap()];
                let apply = |filter: &BpfProgram| seccompiler::apply_filter(filter).is_ok();
                let status = if filters.iter().all(apply) { 7 } else { 1 };
                action();
                libc::_exit(status);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            (libc::WEXITSTATUS(status), libc::WTERMSIG(status))
        }
    }

    fn open(path: &std::ffi::CStr, flags: i32) {
        // SAFETY: the path is NUL-terminated.
        unsafe { libc::open(path.as_ptr(), flags) };
    }

    #[test]
    fn what_a_worker_does_is_allowed() {
        assert_eq!(fate(|| open(c"/dev/null", libc::O_RDONLY)), (7, 0));
        // SAFETY: an ioctl on a closed descriptor does nothing.
        assert_eq!(fate(|| unsafe { libc::ioctl(-1, 0xae80) }), (7, 0));
        // SAFETY: as above.
        let scan = || unsafe { libc::ioctl(-1, PAGEMAP_SCAN as libc::c_ulong) };
        assert_eq!(fate(scan), (7, 0));
    }

    #[test]
    fn threads_may_start_and_be_kicked() {
        let threads = || {
            std::thread::scope(|scope| {
                let name = std::thread::Builder::new().name("vcpu1".into());
                name.spawn_scoped(scope, std::thread::yield_now).unwrap();
            });
            // SAFETY: signal 0 only looks whether there is such a thread.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), 0) };
        };
        assert_eq!(fate(threads), (7, 0));
    }

    #[test]
    fn anything_else_ends_the_process() {
        let killed = (0, libc::SIGSYS);
        assert_eq!(fate(|| open(c"/dev/null", libc::O_RDWR)), killed);
        assert_eq!(fate(|| open(c"/dev/null", libc::O_WRONLY)), killed);
        assert_eq!(fate(|| open(c"/dev/null", libc::O_TRUNC)), killed);
        assert_eq!(fate(|| open(c"/dev/null", libc::O_CREAT)), killed);
        assert_eq!(fate(|| open(c"/dev/null", libc::O_APPEND)), killed);
        assert_eq!(fate(|| open(c"/tmp", libc::O_TMPFILE)), killed);
        // SAFETY: the paths are NUL-terminated; the filter ends the process first.
        unsafe {
            assert_eq!(fate(|| libc::creat(c"/dev/null".as_ptr(), 0)), killed);
            let old = || libc::syscall(libc::SYS_open, c"/dev/null".as_ptr(), libc::O_RDONLY);
            assert_eq!(fate(old), killed);
            let how = || libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, 0, 0, 0);
            assert_eq!(fate(how), killed);
        }
        // SAFETY: none of these calls gets to do anything: the filter ends the process first.
        unsafe {
            assert_eq!(fate(|| libc::ioctl(0, libc::TIOCSTI as _)), killed);
            assert_eq!(
                fate(|| libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)),
                killed
            );
            assert_eq!(fate(|| libc::fork()), killed);
            assert_eq!(fate(|| libc::kill(0, 0)), killed);
            // Kicks reach threads of this process only.
            let stranger = || libc::syscall(libc::SYS_tgkill, libc::getppid(), libc::getppid(), 0);
            assert_eq!(fate(stranger), killed);
            let exec = || {
                let empty = [std::ptr::null()];
                libc::execve(c"/bin/true".as_ptr(), empty.as_ptr(), empty.as_ptr());
            };
            assert_eq!(fate(exec), killed);
            let writable_code = || {
                let protection = libc::PROT_WRITE | libc::PROT_EXEC;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
            };
            assert_eq!(fate(writable_code), killed);
        }
    }
}
