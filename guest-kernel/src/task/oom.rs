//! Out of memory: which process has to go.
//!
//! Linux promises programs more memory than there is, and when the promise can't be kept kills one
//! process. So do we, and by the same idea: the one with most memory, because that frees most and
//! is most likely what went wrong. There are two signs: a page a program touched can't be had, and
//! the sentry's own reserve is running out.

use crate::mm::frame;
use crate::platform;
use crate::task::exit::exit_process;
use crate::task::process::{self, ExitStatus, Process, init_pid};
use crate::task::signal::number::SIGKILL;
use crate::task::{Task, sched};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sprout_abi::hypercall::stream;
use sprout_abi::layout::PAGE_SIZE;

/// What the sentry holds for a thread: kernel stack and saved registers.
const PER_THREAD: u64 = 40 << 10;

/// A process that might be killed.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    pid: u32,
    /// Bytes that its end gives back.
    bytes: u64,
    /// Already on its way out.
    dying: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Memory is about to come back.
    Wait,
    /// The process with this id dies.
    Kill(u32),
    /// There is nobody left to kill.
    Nobody,
}

/// The process with most memory; of equal ones anybody but init, and of those the youngest.
fn choose(candidates: &[Candidate], init: u32) -> Verdict {
    if candidates.iter().any(|candidate| candidate.dying) {
        return Verdict::Wait;
    }
    candidates
        .iter()
        .max_by_key(|candidate| (candidate.bytes, candidate.pid != init, candidate.pid))
        .map_or(Verdict::Nobody, |candidate| Verdict::Kill(candidate.pid))
}

/// Bytes the end of a process gives back.
fn footprint(process: &Process) -> u64 {
    let usage = process.space().usage();
    let threads = process.threads.lock().len() as u64;
    usage.rss_anonymous + usage.tables + threads * PER_THREAD
}

fn candidates() -> Vec<Candidate> {
    process::all()
        .iter()
        .filter(|process| !process.is_zombie())
        .map(|process| Candidate {
            pid: process.pid(),
            bytes: footprint(process),
            dying: process.exit_status.lock().is_some(),
        })
        .collect()
}

/// Makes room: kills a process, and lets it end if it is not the current one. The current task then
/// tries again what it wanted, or dies on its way back to the program.
pub fn make_room(task: &Arc<Task>) {
    let stats = frame::stats();
    let total = stats.total * PAGE_SIZE;
    let verdict = choose(&candidates(), init_pid());
    let victim = match verdict {
        // Its threads are runnable and end as soon as they run.
        Verdict::Wait => return sched::yield_current(task),
        Verdict::Kill(pid) => process::find(pid),
        Verdict::Nobody => None,
    };
    let victim = victim.unwrap_or_else(|| task.process().clone());
    let line = report(&victim, footprint(&victim), total);
    let _ = platform::console_write(stream::LOG, line.as_bytes());
    let status = ExitStatus::Signaled(SIGKILL as u8, false);
    exit_process(&victim, status);
    if !Arc::ptr_eq(&victim, task.process()) {
        sched::yield_current(task);
    }
}

/// The operator's line.
fn report(victim: &Process, bytes: u64, total: u64) -> String {
    let exe = String::from_utf8_lossy(&victim.program.lock().exe).into_owned();
    format!(
        "sprout: out of memory: killed process {} ({exe}), which held {} of the VM's {}; \
         if it needs that much, raise --memory\n",
        victim.pid(),
        size(bytes),
        size(total),
    )
}

/// A size for people.
fn size(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(pid: u32, mib: u64) -> Candidate {
        Candidate {
            pid,
            bytes: mib << 20,
            dying: false,
        }
    }

    #[test]
    fn the_largest_process_goes_even_if_it_is_init() {
        let list = [candidate(1, 3), candidate(2, 40), candidate(3, 10)];
        assert_eq!(choose(&list, 1), Verdict::Kill(2));
        let list = [candidate(1, 40), candidate(2, 3)];
        assert_eq!(choose(&list, 1), Verdict::Kill(1));
        assert_eq!(choose(&[candidate(1, 0)], 1), Verdict::Kill(1));
    }

    #[test]
    fn of_equals_init_stays_and_the_youngest_goes() {
        let list = [candidate(9, 5), candidate(4, 5), candidate(12, 5)];
        assert_eq!(choose(&list, 12), Verdict::Kill(9));
    }

    #[test]
    fn nobody_is_killed_while_one_is_dying() {
        let dying = Candidate {
            dying: true,
            ..candidate(2, 1)
        };
        assert_eq!(choose(&[candidate(1, 40), dying], 1), Verdict::Wait);
    }

    #[test]
    fn without_processes_there_is_no_victim() {
        assert_eq!(choose(&[], 1), Verdict::Nobody);
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(0), "0.0 MiB");
        assert_eq!(size((1 << 20) + (1 << 19)), "1.5 MiB");
    }
}
