//! What happens outside and concerns the guest: input, signals of the operator, a snapshot to come.

use super::restore::restored;
use crate::fs::devfs;
use crate::mm::{Hot, frame};
use crate::platform;
use crate::task::process;
use crate::task::signal::{self, SigInfo, number::*};
use crate::tty;
use crate::wait::PollEvents;
use alloc::vec::Vec;
use sprout_abi::hypercall::event;

/// Acts on [`event`] bits.
pub fn handle(events: u64) {
    if events & event::RESTORED != 0 {
        restored();
    }
    if events & event::COMPACT != 0 {
        compact();
    }
    if events & event::REQUEST != 0 {
        devfs::channel_queue().wake(PollEvents::IN);
    }
    if events & event::INPUT != 0 {
        devfs::console_input_queue().wake(PollEvents::IN);
    }
    if events & event::TERMINAL != 0 {
        tty::console_readable();
    }
    if events & event::OUTPUT != 0 {
        devfs::output_ready();
        tty::console_writable();
    }
    if events & event::SIGNAL != 0 {
        take_signals();
    }
}

/// Rearranges memory for a snapshot.
fn compact() {
    let spaces: Vec<_> = process::all()
        .iter()
        .map(|process| process.space())
        .collect();
    crate::mm::compact(&spaces, touched_pages().as_ref());
}

/// What the host knows about the pages an answer touches.
fn touched_pages() -> Option<Hot> {
    let size = frame::stats().total.div_ceil(8) as usize;
    let mut bits = Vec::new();
    bits.try_reserve_exact(size).ok()?;
    bits.resize(size, 0);
    let mut filled = 0;
    while let Some(rest) = bits.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match platform::channel_recv(rest) {
            Ok(0) | Err(_) => break,
            Ok(received) => filled += received,
        }
    }
    (filled > 0).then(|| Hot::new(bits))
}

/// The operator's signals: those of the terminal's keys are for its foreground group, the others
/// for the first process.
fn take_signals() {
    while let Some((number, typed)) = platform::take_signal() {
        if number == SIGWINCH {
            tty::console_resized();
            continue;
        }
        let foreground = tty::console().map_or(0, |console| console.foreground());
        if typed && foreground != 0 {
            tty::job::signal_group(foreground, number);
        } else if let Some(init) = process::find(process::init_pid()) {
            let _ = signal::send_to_process(&init, SigInfo::kernel(number));
        }
    }
}
