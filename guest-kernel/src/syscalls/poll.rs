//! Waiting for many files: poll, select, epoll.

use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::ipc::epoll::{Epoll, Event};
use crate::syscalls::args::{Fd, Flags, UserPtr};
use crate::syscalls::ipc::install;
use crate::syscalls::signal::set_temporary_mask;
use crate::syscalls::time::TimeSpec;
use crate::task::attributes::STICKY_TIMEOUTS;
use crate::task::{Ctx, SigSet};
use crate::time::monotonic_ns;
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// RLIMIT_NOFILE.
const RLIMIT_NOFILE: usize = 7;

/// Runs `wait` under the signal mask at `mask` (NULL: the current one). The mask is put back
/// afterwards, unless a signal ended the wait: then once its handler is set up.
fn with_mask<T>(
    ctx: &Ctx,
    mask: UserPtr<u64>,
    size: usize,
    wait: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let Some(mask) = mask.non_null() else {
        return wait();
    };
    if size != size_of::<u64>() {
        return Err(Errno::EINVAL);
    }
    set_temporary_mask(ctx.task(), SigSet(ctx.read(mask)?));
    let result = wait();
    if !matches!(result, Err(Errno::EINTR | Errno::ERESTARTNOHAND)) {
        let mut own = ctx.task().signals.lock();
        if let Some(saved) = own.saved_mask.take() {
            own.mask = saved;
        }
    }
    result
}

/// A deadline that means: look once, do not wait.
const AT_ONCE: u64 = 0;

/// The monotonic moment `ns` from now.
fn deadline_in(ns: u64) -> u64 {
    if ns == 0 {
        AT_ONCE
    } else {
        monotonic_ns().saturating_add(ns)
    }
}

/// Waits on `queues` until `look` finds something ready. How much that is; 0 at the deadline.
fn wait_on(
    ctx: &Ctx,
    queues: &[(&WaitQueue, PollEvents)],
    deadline: Option<u64>,
    mut look: impl FnMut() -> Result<usize>,
) -> Result<u64> {
    let first = look()?;
    if first > 0 || deadline == Some(AT_ONCE) {
        return Ok(first as u64);
    }
    let ready = ctx.block(queues, deadline, || {
        look().map(|ready| (ready > 0).then_some(ready))
    });
    match ready {
        Err(Errno::ETIMEDOUT) => Ok(0),
        other => other.map(|ready| ready as u64),
    }
}

/// The deadline a timeout in ms means; negative: none.
fn deadline_of_ms(timeout: i32) -> Option<u64> {
    u64::try_from(timeout)
        .ok()
        .map(|ms| deadline_in(ms * 1_000_000))
}

// poll

/// `struct pollfd`: descriptor; events in the low half, answers in the high half.
pub type PollFd = [i32; 2];

struct Polled {
    file: Option<Arc<OpenFile>>,
    events: PollEvents,
    revents: PollEvents,
}

impl Polled {
    fn look(&mut self) -> bool {
        if let Some(file) = &self.file {
            // POLLNVAL: what O_PATH opened.
            self.revents = file.file().poll() & (self.events | PollEvents::NVAL);
        }
        !self.revents.is_empty()
    }
}

/// Waits until one of `polled` is ready. Their number; 0 at the deadline.
fn wait_for(ctx: &Ctx, polled: &mut [Polled], deadline: Option<u64>) -> Result<u64> {
    let files: Vec<(Arc<OpenFile>, PollEvents)> = polled
        .iter()
        .filter_map(|one| one.file.clone().map(|file| (file, one.events)))
        .collect();
    let queues: Vec<(&WaitQueue, PollEvents)> = files
        .iter()
        .filter_map(|(file, events)| file.file().wait_queue().map(|queue| (queue, *events)))
        .collect();
    wait_on(ctx, &queues, deadline, || {
        Ok(polled
            .iter_mut()
            .map(Polled::look)
            .filter(|ready| *ready)
            .count())
    })
    .map_err(|error| {
        if error == Errno::ERESTARTSYS {
            Errno::ERESTARTNOHAND
        } else {
            error
        }
    })
}

fn do_poll(ctx: &Ctx, fds: UserPtr<PollFd>, count: u32, deadline: Option<u64>) -> Result<u64> {
    let count = count as usize;
    if count as u64 > ctx.process().rlimit(RLIMIT_NOFILE) {
        return Err(Errno::EINVAL);
    }
    if fds.addr() > sprout_abi::layout::USER_END {
        return Err(Errno::EFAULT); // even if nothing is asked
    }
    let asked = ctx.read_array(fds, count)?;
    let mut polled: Vec<Polled> = {
        let files = ctx.files().lock();
        asked
            .iter()
            .map(|&[fd, events]| poll_entry(files.get(fd).ok(), fd, events))
            .collect()
    };
    let ready = wait_for(ctx, &mut polled, deadline)?;
    for (index, (entry, [fd, events])) in polled.iter().zip(asked).enumerate() {
        let answer = [fd, events & 0xffff | (entry.revents.bits() << 16) as i32];
        ctx.write(fds.at(index), &answer)?;
    }
    Ok(ready)
}

/// What one pollfd asks for: negative descriptors nothing, closed ones get POLLNVAL.
fn poll_entry(file: Option<Arc<OpenFile>>, fd: i32, events: i32) -> Polled {
    let always = PollEvents::ERR | PollEvents::HUP;
    let events = PollEvents::from_bits_truncate(events as u32 & 0xffff) | always;
    let bad = file.is_none() && fd >= 0;
    let revents = if bad {
        PollEvents::NVAL
    } else {
        PollEvents::empty()
    };
    Polled {
        file,
        events,
        revents,
    }
}

/// poll(2).
pub fn poll(ctx: &Ctx, fds: UserPtr<PollFd>, count: u32, timeout: i32) -> Result<u64> {
    do_poll(ctx, fds, count, deadline_of_ms(timeout))
}

/// ppoll(2).
pub fn ppoll(
    ctx: &Ctx,
    fds: UserPtr<PollFd>,
    count: u32,
    timeout: UserPtr<[i64; 2]>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<u64> {
    let timeout = Timeout::timespec(ctx, timeout)?;
    let result = with_mask(ctx, mask, mask_size, || {
        do_poll(ctx, fds, count, timeout.deadline())
    });
    timeout.finish(ctx, result)
}

/// A relative timeout in the program's memory, which Linux replaces by what is left of it.
struct Timeout {
    at: Option<UserPtr<[i64; 2]>>,
    deadline: Option<u64>,
    /// Nanoseconds of one unit of its second word.
    unit: i64,
}

impl Timeout {
    fn timespec(ctx: &Ctx, at: UserPtr<[i64; 2]>) -> Result<Timeout> {
        let Some(at) = at.non_null() else {
            return Ok(Timeout::none());
        };
        let [sec, nsec] = ctx.read(at)?;
        let ns = TimeSpec { sec, nsec }.to_ns()?;
        Ok(Timeout::new(at, ns, 1))
    }

    /// A `struct timeval`. select(2) lets the microseconds exceed a second.
    fn timeval(ctx: &Ctx, at: UserPtr<[i64; 2]>) -> Result<Timeout> {
        let Some(at) = at.non_null() else {
            return Ok(Timeout::none());
        };
        let [sec, usec] = ctx.read(at)?;
        let sec = sec.checked_add(usec / 1_000_000).ok_or(Errno::EINVAL)?;
        let ns = TimeSpec {
            sec,
            nsec: usec % 1_000_000 * 1000,
        }
        .to_ns()?;
        Ok(Timeout::new(at, ns, 1000))
    }

    fn none() -> Timeout {
        Timeout {
            at: None,
            deadline: None,
            unit: 1,
        }
    }

    fn new(at: UserPtr<[i64; 2]>, ns: u64, unit: i64) -> Timeout {
        // A timeout of zero is left as it is.
        Timeout {
            at: (ns > 0).then_some(at),
            deadline: Some(deadline_in(ns)),
            unit,
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    fn finish(self, ctx: &Ctx, result: Result<u64>) -> Result<u64> {
        let (Some(at), Some(deadline)) = (self.at, self.deadline) else {
            return result;
        };
        let TimeSpec { sec, nsec } = TimeSpec::from_ns(deadline.saturating_sub(monotonic_ns()));
        let personality = ctx.task().attributes.lock().personality;
        let written = match personality & STICKY_TIMEOUTS {
            0 => ctx.write(at, &[sec, nsec / self.unit]),
            _ => Err(Errno::EPERM),
        };
        match (written, result) {
            // It may be in read-only memory, which is no reason to fail; but a call that cannot
            // continue with the rest must not start again with the whole.
            (Err(_), Err(Errno::ERESTARTNOHAND)) => Err(Errno::EINTR),
            (_, result) => result,
        }
    }
}

// select

/// Which poll events make a descriptor ready in the three sets.
const READ_SET: PollEvents = PollEvents::IN
    .union(PollEvents::RDNORM)
    .union(PollEvents::RDBAND)
    .union(PollEvents::HUP)
    .union(PollEvents::ERR);
const WRITE_SET: PollEvents = PollEvents::OUT
    .union(PollEvents::WRNORM)
    .union(PollEvents::WRBAND)
    .union(PollEvents::ERR);
const EXCEPT_SET: PollEvents = PollEvents::PRI;

/// An fd_set in the program's memory: absent, or one bit for each descriptor.
struct FdSet {
    at: Option<UserPtr<u64>>,
    words: Vec<u64>,
}

impl FdSet {
    fn read(ctx: &Ctx, at: UserPtr<u64>, count: usize) -> Result<FdSet> {
        let words = count.div_ceil(64);
        match at.non_null() {
            Some(at) => Ok(FdSet {
                at: Some(at),
                words: ctx.read_array(at, words)?,
            }),
            None => Ok(FdSet {
                at: None,
                words: alloc::vec![0; words],
            }),
        }
    }

    fn has(&self, fd: usize) -> bool {
        self.words
            .get(fd / 64)
            .is_some_and(|word| word & 1 << (fd % 64) != 0)
    }

    fn clear(&mut self) {
        self.words.fill(0);
    }

    fn insert(&mut self, fd: usize) {
        if let Some(word) = self.words.get_mut(fd / 64) {
            *word |= 1 << (fd % 64);
        }
    }

    fn write(&self, ctx: &Ctx) -> Result<()> {
        let Some(at) = self.at else { return Ok(()) };
        for (index, word) in self.words.iter().enumerate() {
            ctx.write(at.at(index), word)?;
        }
        Ok(())
    }
}

fn do_select(ctx: &Ctx, count: i32, sets: [UserPtr<u64>; 3], deadline: Option<u64>) -> Result<u64> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    // As Linux, look no further than the descriptor table reaches, which for a child of a shell
    // has at least 256 places.
    let open = ctx
        .files()
        .lock()
        .iter()
        .last()
        .map_or(0, |(fd, _)| fd as usize + 1);
    let count = count.min(open.next_multiple_of(64).max(256));
    let mut read = FdSet::read(ctx, sets[0], count)?;
    let mut write = FdSet::read(ctx, sets[1], count)?;
    let mut except = FdSet::read(ctx, sets[2], count)?;
    let mut fds = Vec::new();
    let mut polled = Vec::new();
    for fd in 0..count {
        let mut events = PollEvents::empty();
        for (set, asks) in [
            (&read, READ_SET),
            (&write, WRITE_SET),
            (&except, EXCEPT_SET),
        ] {
            if set.has(fd) {
                events |= asks;
            }
        }
        if !events.is_empty() {
            let file = Some(ctx.files().lock().get(fd as i32)?);
            polled.push(Polled {
                file,
                events,
                revents: PollEvents::empty(),
            });
            fds.push((fd, [read.has(fd), write.has(fd), except.has(fd)]));
        }
    }
    wait_for(ctx, &mut polled, deadline)?;
    let mut bits = 0;
    read.clear();
    write.clear();
    except.clear();
    for (entry, (fd, [in_read, in_write, in_except])) in polled.iter().zip(fds) {
        let ready = |asked: bool, set: PollEvents| {
            asked && entry.revents.intersects(set | PollEvents::NVAL)
        };
        for (set, is_ready) in [
            (&mut read, ready(in_read, READ_SET)),
            (&mut write, ready(in_write, WRITE_SET)),
            (&mut except, ready(in_except, EXCEPT_SET)),
        ] {
            if is_ready {
                set.insert(fd);
                bits += 1;
            }
        }
    }
    for set in [&read, &write, &except] {
        set.write(ctx)?;
    }
    Ok(bits)
}

/// select(2).
pub fn select(
    ctx: &Ctx,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<[i64; 2]>,
) -> Result<u64> {
    let timeout = Timeout::timeval(ctx, timeout)?;
    let result = do_select(ctx, count, [read, write, except], timeout.deadline());
    timeout.finish(ctx, result)
}

/// pselect6(2): `mask` points to the address and the size of the signal set.
pub fn pselect6(
    ctx: &Ctx,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<[i64; 2]>,
    mask: UserPtr<[u64; 2]>,
) -> Result<u64> {
    let [mask, size] = match mask.non_null() {
        Some(mask) => ctx.read(mask)?,
        None => [0, 0],
    };
    let timeout = Timeout::timespec(ctx, timeout)?;
    let result = with_mask(ctx, UserPtr::new(mask), size as usize, || {
        do_select(ctx, count, [read, write, except], timeout.deadline())
    });
    timeout.finish(ctx, result)
}

// epoll

/// 32-bit words of `struct epoll_event`: packed on x86-64 alone.
const EVENT_WORDS: usize = if cfg!(target_arch = "x86_64") { 3 } else { 4 };

/// `struct epoll_event`: events, perhaps padding, data.
pub type EpollEvent = [u32; EVENT_WORDS];

fn event_of(raw: EpollEvent) -> Event {
    let [events, .., low, high] = raw;
    Event {
        events,
        data: u64::from(low) | u64::from(high) << 32,
    }
}

fn raw_of(event: Event) -> EpollEvent {
    let mut raw = [0; EVENT_WORDS];
    raw[0] = event.events;
    raw[EVENT_WORDS - 2] = event.data as u32;
    raw[EVENT_WORDS - 1] = (event.data >> 32) as u32;
    raw
}

/// epoll_create(2).
pub fn epoll_create(ctx: &Ctx, size: i32) -> Result<u64> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(ctx, Flags(0))
}

/// epoll_create1(2).
pub fn epoll_create1(ctx: &Ctx, flags: Flags) -> Result<u64> {
    let flags = OpenFlags::from_bits_retain(flags.0);
    if !OpenFlags::CLOEXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    Ok(install(ctx, Epoll::new(), OpenFlags::RDWR, flags)? as u64)
}

/// epoll_ctl(2).
pub fn epoll_ctl(
    ctx: &Ctx,
    epoll: Fd,
    operation: i32,
    fd: Fd,
    event: UserPtr<EpollEvent>,
) -> Result<u64> {
    const EPOLL_CTL_ADD: i32 = 1;
    const EPOLL_CTL_DEL: i32 = 2;
    const EPOLL_CTL_MOD: i32 = 3;
    let event = match operation {
        EPOLL_CTL_DEL => Event { events: 0, data: 0 },
        _ => event_of(ctx.read(event)?),
    };
    let (epoll, file) = {
        let files = ctx.files().lock();
        (files.get_usable(epoll.0)?, files.get_usable(fd.0)?)
    };
    if file.file().wait_queue().is_none() {
        return Err(Errno::EPERM);
    }
    let epoll = epoll.downcast::<Epoll>().ok_or(Errno::EINVAL)?;
    match operation {
        EPOLL_CTL_ADD => epoll.add(fd.0, &file, event)?,
        EPOLL_CTL_DEL => epoll.delete(fd.0, &file)?,
        EPOLL_CTL_MOD => epoll.modify(fd.0, &file, event)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn do_epoll_wait(
    ctx: &Ctx,
    epoll: Fd,
    events: UserPtr<EpollEvent>,
    max: i32,
    deadline: Option<u64>,
) -> Result<u64> {
    const MAX_EVENTS: usize = i32::MAX as usize / size_of::<EpollEvent>();
    let max = usize::try_from(max)
        .ok()
        .filter(|max| (1..=MAX_EVENTS).contains(max))
        .ok_or(Errno::EINVAL)?;
    let file = ctx.files().lock().get_usable(epoll.0)?;
    let epoll = file.downcast::<Epoll>().ok_or(Errno::EINVAL)?;
    let queues = [(epoll.waiters(), PollEvents::IN)];
    wait_on(ctx, &queues, deadline, || {
        epoll.collect(max, |index, event| {
            ctx.write(events.at(index), &raw_of(event))
        })
    })
    // Never restarted, whatever SA_RESTART says (signal(7)).
    .map_err(|error| {
        if error == Errno::ERESTARTSYS {
            Errno::EINTR
        } else {
            error
        }
    })
}

/// epoll_wait(2).
pub fn epoll_wait(
    ctx: &Ctx,
    epoll: Fd,
    events: UserPtr<EpollEvent>,
    max: i32,
    timeout: i32,
) -> Result<u64> {
    do_epoll_wait(ctx, epoll, events, max, deadline_of_ms(timeout))
}

/// epoll_pwait(2).
pub fn epoll_pwait(
    ctx: &Ctx,
    epoll: Fd,
    events: UserPtr<EpollEvent>,
    max: i32,
    timeout: i32,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<u64> {
    with_mask(ctx, mask, mask_size, || {
        do_epoll_wait(ctx, epoll, events, max, deadline_of_ms(timeout))
    })
}

/// epoll_pwait2(2).
pub fn epoll_pwait2(
    ctx: &Ctx,
    epoll: Fd,
    events: UserPtr<EpollEvent>,
    max: i32,
    timeout: UserPtr<[i64; 2]>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<u64> {
    let deadline = match timeout.non_null() {
        Some(timeout) => {
            let [sec, nsec] = ctx.read(timeout)?;
            Some(deadline_in(TimeSpec { sec, nsec }.to_ns()?))
        }
        None => None,
    };
    with_mask(ctx, mask, mask_size, || {
        do_epoll_wait(ctx, epoll, events, max, deadline)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_events_keep_their_data_words() {
        let event = Event {
            events: 5,
            data: 0x1122_3344_5566_7788,
        };
        let raw = raw_of(event);
        assert_eq!(raw[EVENT_WORDS - 2], 0x5566_7788);
        assert_eq!(event_of(raw), event);
    }

    #[test]
    fn closed_descriptors_are_invalid_and_negative_ones_ignored() {
        let mut closed = poll_entry(None, 7, PollEvents::IN.bits() as i32);
        assert!(closed.look());
        assert_eq!(closed.revents, PollEvents::NVAL);
        assert!(!poll_entry(None, -1, PollEvents::IN.bits() as i32).look());
    }

    #[test]
    fn bits_of_sets_are_found_again() {
        let mut set = FdSet {
            at: None,
            words: alloc::vec![0; 2],
        };
        set.insert(65);
        assert!(set.has(65) && !set.has(1) && !set.has(500));
    }
}
