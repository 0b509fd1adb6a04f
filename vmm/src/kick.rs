//! A periodic kick out of `KVM_RUN`, so that a guest busy in ring 3 can be preempted. One of
//! the kicks can come earlier, for a timer of the guest.
//!
//! The kernel sends the timer's signal to the vCPU thread. The handler sets
//! `kvm_run.immediate_exit`, so a signal that comes just before `KVM_RUN` is entered is not lost:
//! the ioctl then returns at once.

use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long a guest may run before the VMM looks whether another task wants the processor.
pub const TICK: Duration = Duration::from_millis(5);

/// The timer of one vCPU; it lives on the vCPU's thread.
#[derive(Debug)]
pub struct KickTimer {
    id: libc::timer_t,
    armed: bool,
    // The signal goes to the creating thread, which must also be the one that deletes the timer.
    not_send: PhantomData<*mut ()>,
}

fn signal_number() -> i32 {
    libc::SIGRTMIN() + 1
}

extern "C" fn on_kick(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler. The pointer in it is the
    // one given to `KickTimer::new`, whose caller keeps it valid until the timer is deleted; the
    // deletion happens on this thread, so no signal is delivered after it.
    unsafe {
        if (*info).si_code == libc::SI_TIMER {
            let flag = (*info).si_value().sival_ptr.cast::<AtomicU8>();
            if let Some(flag) = flag.as_ref() {
                flag.store(1, Ordering::Relaxed);
            }
        }
    }
}

/// Interrupts the `KVM_RUN` (or whatever system call) of a thread of this process that has made its
/// timer. One that is gone is no matter.
pub fn thread(thread: libc::pid_t) {
    // SAFETY: the signal has a handler that only looks at what sent it (see `on_kick`).
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal_number()) };
}

impl KickTimer {
    /// Makes a disarmed timer for the calling thread.
    ///
    /// # Safety
    ///
    /// `immediate_exit` must stay valid until the timer is dropped, on this thread.
    pub unsafe fn new(immediate_exit: *mut u8) -> io::Result<Self> {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            // SAFETY: the handler only stores to an atomic, which is async-signal-safe; SA_RESTART
            // keeps the VMM's own system calls from failing with EINTR.
            unsafe {
                let mut action: libc::sigaction = mem::zeroed();
                action.sa_sigaction = on_kick as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                libc::sigaction(signal_number(), &action, ptr::null_mut());
            }
        });
        let mut id = ptr::null_mut();
        // SAFETY: `sigevent` is plain data, fully set for SIGEV_THREAD_ID; `id` is written by the
        // kernel on success.
        let result = unsafe {
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal_number();
            event.sigev_notify_thread_id = libc::gettid();
            event.sigev_value = libc::sigval {
                sival_ptr: immediate_exit.cast(),
            };
            libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut id)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            id,
            armed: false,
            not_send: PhantomData,
        })
    }

    /// Starts ticking, if it does not yet.
    pub fn arm(&mut self) -> io::Result<()> {
        if self.armed { Ok(()) } else { self.set(TICK) }
    }

    /// Has the next tick come after `first`, if that is shorter than [`TICK`]; the others follow as
    /// usual.
    pub fn arm_for(&mut self, first: Duration) -> io::Result<()> {
        // Zero would disarm it.
        self.set(first.clamp(Duration::from_nanos(1), TICK))
    }

    /// Stops ticking, if it does.
    pub fn disarm(&mut self) -> io::Result<()> {
        if self.armed {
            self.set(Duration::ZERO)
        } else {
            Ok(())
        }
    }

    /// The first tick after `first`, or no more of them if that is zero.
    fn set(&mut self, first: Duration) -> io::Result<()> {
        let spec = |duration: Duration| libc::timespec {
            tv_sec: 0,
            tv_nsec: i64::from(duration.subsec_nanos()),
        };
        let setting = libc::itimerspec {
            it_interval: spec(TICK),
            it_value: spec(first),
        };
        // SAFETY: `id` is our live timer and `setting` is initialised.
        match unsafe { libc::timer_settime(self.id, 0, &setting, ptr::null_mut()) } {
            0 => {
                self.armed = !first.is_zero();
                Ok(())
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for KickTimer {
    fn drop(&mut self) {
        // SAFETY: `id` is our live timer.
        unsafe { libc::timer_delete(self.id) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_timer_sets_the_flag_until_disarmed() {
        let flag = AtomicU8::new(0);
        // SAFETY: `flag` outlives the timer.
        let mut timer = unsafe { KickTimer::new(flag.as_ptr()) }.unwrap();
        std::thread::sleep(TICK * 2);
        assert_eq!(flag.load(Ordering::Relaxed), 0);
        timer.arm().unwrap();
        while flag.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
        for first in [Duration::ZERO, Duration::from_micros(50), TICK, TICK * 1000] {
            timer.arm_for(first).unwrap();
            flag.store(0, Ordering::Relaxed);
            // The first one, and one of the others.
            for _ in 0..2 {
                while flag.swap(0, Ordering::Relaxed) == 0 {
                    std::hint::spin_loop();
                }
            }
        }
        timer.disarm().unwrap();
        flag.store(0, Ordering::Relaxed);
        std::thread::sleep(TICK * 2);
        assert_eq!(flag.load(Ordering::Relaxed), 0);
    }
}
