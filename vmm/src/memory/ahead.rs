//! Memory made ready ahead of the guest.
//!
//! The host clears a large page when it is first touched, which takes longer than what most programs
//! do with it. A guest that needs much memory tells which it is going to use next, and a thread
//! touches that meanwhile, if the host has a processor for it.

use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread;

use sprout_abi::layout::HUGE_PAGE_SIZE;

use crate::memory::mapping::Mapping;

/// A part of the mapping: offset and length, whole large pages.
type Part = (usize, usize);

/// Most parts that wait for the thread, whatever the guest asks for.
const MOST_WAITING: usize = 64;

/// The thread that does it, from the first time it is asked.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// `None` if there can't be one.
    parts: OnceLock<Option<SyncSender<Part>>>,
}

impl Ahead {
    /// Whether somebody will have `part` of `ram` ready soon. Nothing but time depends on it.
    pub(crate) fn populate(&self, ram: &Arc<Mapping>, part: Part) -> bool {
        let parts = self.parts.get_or_init(|| start(ram.clone()));
        // What does not fit the guest touches itself.
        parts.as_ref().is_some_and(|parts| {
            !matches!(parts.try_send(part), Err(TrySendError::Disconnected(_)))
        })
    }
}

fn start(ram: Arc<Mapping>) -> Option<SyncSender<Part>> {
    // With one processor it would only take the guest's time.
    if thread::available_parallelism().is_ok_and(|count| count.get() == 1) {
        return None;
    }
    spawn(ram)
}

fn spawn(ram: Arc<Mapping>) -> Option<SyncSender<Part>> {
    let (sender, receiver) = queue();
    let work = move || work(&ram, &receiver);
    let thread = thread::Builder::new().name("ahead".into()).spawn(work);
    thread.is_ok().then_some(sender)
}

fn queue() -> (SyncSender<Part>, Receiver<Part>) {
    mpsc::sync_channel(MOST_WAITING)
}

/// Ends with the guest: then nobody sends any more, and the memory is this thread's alone.
fn work(ram: &Arc<Mapping>, parts: &Receiver<Part>) {
    for (offset, length) in parts {
        for block in (offset..offset + length).step_by(HUGE_PAGE_SIZE as usize) {
            let touched = ram.advise(block, HUGE_PAGE_SIZE as usize, libc::MADV_POPULATE_WRITE);
            // The host has no memory, or no such advice.
            if touched.is_err() || Arc::strong_count(ram) == 1 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::working_set::{PAGE, touched_pages};
    use std::time::{Duration, Instant};

    const BLOCK: usize = HUGE_PAGE_SIZE as usize;

    #[test]
    fn parts_are_touched_by_a_thread_that_ends_with_the_guest() {
        let ram = Arc::new(Mapping::anonymous(8 * BLOCK).unwrap());
        // Whatever processors this host has.
        let ahead = Ahead {
            parts: OnceLock::from(spawn(ram.clone())),
        };
        assert!(ahead.populate(&ram, (2 * BLOCK, 3 * BLOCK)));
        let deadline = Instant::now() + Duration::from_secs(20);
        let wait_for = |done: &dyn Fn() -> bool| {
            while !done() {
                assert!(Instant::now() < deadline);
                thread::sleep(Duration::from_millis(1));
            }
        };
        let pages = (BLOCK as u64 / PAGE) as u32;
        wait_for(&|| {
            let touched = touched_pages(ram.as_ptr() as u64, ram.size() as u64).unwrap();
            touched.written.first() == Some(&(2 * pages..5 * pages))
        });
        drop(ahead);
        wait_for(&|| Arc::strong_count(&ram) == 1);
    }

    #[test]
    fn what_waits_is_bounded_whatever_the_guest_asks_for() {
        let ram = Arc::new(Mapping::anonymous(2 * BLOCK).unwrap());
        let (sender, receiver) = queue();
        let ahead = Ahead {
            parts: OnceLock::from(Some(sender)),
        };
        for _ in 0..10 * MOST_WAITING {
            // Asking never waits: the thread may be busy.
            assert!(ahead.populate(&ram, (0, BLOCK)));
        }
        assert_eq!(receiver.try_iter().count(), MOST_WAITING);
        drop(receiver);
        assert!(!ahead.populate(&ram, (0, BLOCK)));
    }
}
