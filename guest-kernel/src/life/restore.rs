//! Restore: this guest goes on where another one was snapshotted.

use crate::platform;
use crate::syscalls::{counters, strace};
use crate::task::process::{self, Process};
use crate::task::signal::{self, SigInfo, number::SIGKILL};
use crate::{ipc::timerfd, random, time};
use alloc::sync::Arc;
use sprout_abi::boot::boot_flags;

/// This guest is a restored one: nothing random may repeat, and the clocks are put right, before
/// the program runs again.
pub fn restored() {
    let mut info = platform::restore_info();
    random::reseed(&info.entropy);
    // The generator has it now; nobody is to find it in memory later.
    info.entropy.fill(0);
    core::hint::black_box(&info);
    platform::forget_restore_entropy();
    time::set_base(info.clock);
    timerfd::realtime_was_set();
    if info.flags & boot_flags::STRACE == 0 {
        strace::stop();
    } else if !strace::is_on() {
        let _ = strace::start("all");
    }
    become_a_copy(info.generation, process::init_pid(), &process::all());
    counters::restored();
}

/// Shows every process that it is a copy, as fork would: what remembers its process id, as OpenSSL's
/// generators do, sees another one, and memory that is not for copies is empty.
fn become_a_copy(generation: u64, init: u32, processes: &[Arc<Process>]) {
    for (number, process) in (0..).zip(processes) {
        if process.pid() == init {
            process::renumber(process, id_of_copy(generation, 0));
        } else {
            process::rename(process, id_of_copy(generation, number + 1));
        }
        if process.space().wipe_copy().is_err() {
            // No memory to take its tables apart: it must not go on with what it was to lose.
            let _ = signal::send_to_process(process, SigInfo::kernel(SIGKILL));
        }
    }
}

/// Ids of restored processes lie above those given out in order, so they are free.
fn id_of_copy(generation: u64, number: u64) -> u32 {
    const FIRST: u32 = 32_768;
    const COUNT: u64 = 1_000_000;
    // Far apart, so that a seed's instances that follow each other share none.
    const STEP: u64 = 7_919;
    FIRST + ((generation + number * STEP) % COUNT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::fd::{FdTable, FsContext};
    use crate::fs::rootfs::Tree;
    use crate::mm::{AddressSpace, MapFlags, MapRequest, Prot, advice};
    use crate::sync::{Lock, Rank};
    use core::sync::atomic::Ordering;
    use std::collections::BTreeSet;

    #[test]
    fn ids_of_copies_are_free_and_differ_within_a_guest_and_between_neighbours() {
        const PROCESSES: u64 = 200;
        let ids = |generation| (0..PROCESSES).map(move |number| id_of_copy(generation, number));
        for generation in [0, 1, 999_999, 1_000_000, u64::from(u32::MAX)] {
            assert!(ids(generation).all(|id| (32_768..1_032_768).contains(&id)));
            let two: BTreeSet<u32> = ids(generation).chain(ids(generation + 1)).collect();
            assert_eq!(two.len() as u64, 2 * PROCESSES, "generation {generation}");
        }
    }

    fn process(pid: u32, parent: Option<&Process>) -> Arc<Process> {
        let root = Tree::create(None, 1).unwrap();
        let fs = Arc::new(Lock::new(Rank::FsContext, FsContext::new(root)));
        let files = Arc::new(Lock::new(Rank::Descriptors, FdTable::new()));
        let space = Arc::new(AddressSpace::new().unwrap());
        Arc::new(Process::new(pid, parent, space, files, fs))
    }

    #[test]
    fn the_first_process_gets_another_id_and_its_children_know_themselves_by_another() {
        let init = process(31_001, None);
        let child = process(31_002, Some(&init));
        process::insert(init.clone());
        process::insert(child.clone());
        become_a_copy(1, 31_001, &[init.clone(), child.clone()]);
        assert_eq!((init.pid(), init.own_id()), (id_of_copy(1, 0), init.pid()));
        assert_eq!(child.parent.load(Ordering::Relaxed), init.pid());
        // Its parent waits for it by the id it had.
        assert_eq!((child.pid(), child.own_id()), (31_002, id_of_copy(1, 2)));
        assert!(child.is_called(31_002) && child.is_called(id_of_copy(1, 2)));
        become_a_copy(2, init.pid(), &[init.clone(), child.clone()]);
        assert_eq!(
            (init.pid(), child.own_id()),
            (id_of_copy(2, 0), id_of_copy(2, 2))
        );
    }

    fn two_pages() -> MapRequest {
        MapRequest {
            addr: 0,
            len: 2 * 4096,
            prot: Prot::READ | Prot::WRITE,
            flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS,
            file: None,
        }
    }

    #[test]
    fn memory_that_is_not_for_copies_is_empty_in_every_process() {
        const PAGE: usize = 4096;
        let processes = [process(31_003, None), process(31_004, None)];
        let at = processes.each_ref().map(|process| {
            let space = process.space();
            let at = space.mmap(&two_pages()).unwrap();
            space.madvise(at, PAGE as u64, advice::WIPEONFORK).unwrap();
            assert_eq!(space.write_some(at, &[7; 2 * PAGE]), 2 * PAGE);
            at
        });
        become_a_copy(3, 0, &processes);
        for (process, at) in processes.iter().zip(at) {
            let mut bytes = [1; 2 * PAGE];
            assert_eq!(process.space().read_some(at, &mut bytes), bytes.len());
            assert!(bytes[..PAGE].iter().all(|byte| *byte == 0));
            assert!(bytes[PAGE..].iter().all(|byte| *byte == 7));
        }
    }
}
