//! The way out of a bug: message and backtrace to the operator.

use crate::platform;
use core::arch::asm;
use core::fmt::Write;
use sprout_abi::layout::{DIRECT_MAP_BASE, KERNEL_BASE, PAGE_SIZE};

/// Return addresses reported at most.
const DEPTH: usize = 32;

struct Message {
    bytes: [u8; 1024],
    len: usize,
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let n = text.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&text.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Reports `message` with the addresses on the stack, `first` leading, and ends the VM.
pub fn fatal(first: u64, message: core::fmt::Arguments<'_>) -> ! {
    let mut text = Message {
        bytes: [0; 1024],
        len: 0,
    };
    let _ = text.write_fmt(message);
    let mut addresses = [0; DEPTH];
    let mut count = 0;
    if first != 0 {
        addresses[0] = first;
        count = 1;
    }
    let mut rbp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    let ram_end = DIRECT_MAP_BASE + super::boot_info().ram_size;
    let image_end = KERNEL_BASE + super::boot_info().free_start;
    while count < DEPTH {
        let in_ram = (DIRECT_MAP_BASE + PAGE_SIZE..ram_end - 16).contains(&rbp);
        let in_image = (KERNEL_BASE + PAGE_SIZE..image_end - 16).contains(&rbp);
        if !(in_ram || in_image) || !rbp.is_multiple_of(8) {
            break;
        }
        // SAFETY: mapped kernel memory, checked above; frame pointers are kept (-C
        // force-frame-pointers), and a wrong one ends the walk or gives a wrong name, no more.
        let (next, ret) = unsafe {
            (
                (rbp as *const u64).read(),
                (rbp as *const u64).add(1).read(),
            )
        };
        if ret < KERNEL_BASE {
            break;
        }
        addresses[count] = ret;
        count += 1;
        if next <= rbp && in_ram {
            break;
        }
        rbp = next;
    }
    platform::panic(&text.bytes[..text.len], &addresses[..count])
}
