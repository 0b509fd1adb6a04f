//! Terminal modes: `struct termios` as the kernel has it (include/uapi/asm-generic/termbits.h).

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `c_iflag`.
#[allow(missing_docs)]
pub mod input {
    pub const PARMRK: u32 = 0o10;
    pub const ISTRIP: u32 = 0o40;
    pub const INLCR: u32 = 0o100;
    pub const IGNCR: u32 = 0o200;
    pub const ICRNL: u32 = 0o400;
    pub const IUCLC: u32 = 0o1000;
    pub const IXON: u32 = 0o2000;
    pub const IXANY: u32 = 0o4000;
    pub const IUTF8: u32 = 0o40000;
}

/// `c_oflag`.
#[allow(missing_docs)]
pub mod output {
    pub const OPOST: u32 = 0o1;
    pub const OLCUC: u32 = 0o2;
    pub const ONLCR: u32 = 0o4;
    pub const OCRNL: u32 = 0o10;
    pub const ONOCR: u32 = 0o20;
    pub const ONLRET: u32 = 0o40;
    pub const TABDLY: u32 = 0o14000;
    pub const XTABS: u32 = 0o14000;
}

/// `c_lflag`.
#[allow(missing_docs)]
pub mod local {
    pub const ISIG: u32 = 0o1;
    pub const ICANON: u32 = 0o2;
    pub const ECHO: u32 = 0o10;
    pub const ECHOE: u32 = 0o20;
    pub const ECHOK: u32 = 0o40;
    pub const ECHONL: u32 = 0o100;
    pub const NOFLSH: u32 = 0o200;
    pub const TOSTOP: u32 = 0o400;
    pub const ECHOCTL: u32 = 0o1000;
    pub const ECHOPRT: u32 = 0o2000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100000;
}

/// Indices of `c_cc`.
#[allow(missing_docs)]
pub mod cc {
    pub const VINTR: usize = 0;
    pub const VQUIT: usize = 1;
    pub const VERASE: usize = 2;
    pub const VKILL: usize = 3;
    pub const VEOF: usize = 4;
    pub const VTIME: usize = 5;
    pub const VMIN: usize = 6;
    pub const VSTART: usize = 8;
    pub const VSTOP: usize = 9;
    pub const VSUSP: usize = 10;
    pub const VEOL: usize = 11;
    pub const VREPRINT: usize = 12;
    pub const VWERASE: usize = 14;
    pub const VLNEXT: usize = 15;
    pub const VEOL2: usize = 16;
}

/// A control character that is switched off (`_POSIX_VDISABLE`).
pub const DISABLED: u8 = 0;

/// `struct termios`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Termios {
    /// c_iflag.
    pub input: u32,
    /// c_oflag.
    pub output: u32,
    /// c_cflag.
    pub control: u32,
    /// c_lflag.
    pub local: u32,
    /// c_line: always N_TTY.
    pub line: u8,
    /// c_cc.
    pub cc: [u8; 19],
}

/// What `struct termios2` adds: speeds as numbers.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Termios2 {
    /// The part both have.
    pub termios: Termios,
    /// c_ispeed and c_ospeed.
    pub speeds: [u32; 2],
}

const _: () = assert!(size_of::<Termios>() == 36 && size_of::<Termios2>() == 44);

impl Default for Termios {
    /// A fresh terminal: lines, echo, signals, 38400 baud, 8 bits.
    fn default() -> Self {
        Termios {
            input: input::ICRNL | input::IXON,
            output: output::OPOST | output::ONLCR,
            control: 0o277,
            local: 0o105073,
            line: 0,
            cc: [
                3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0,
            ],
        }
    }
}

impl Termios {
    /// Whether `c_iflag` has `bit`.
    pub fn i(&self, bit: u32) -> bool {
        self.input & bit != 0
    }
    /// Whether `c_oflag` has `bit`.
    pub fn o(&self, bit: u32) -> bool {
        self.output & bit != 0
    }
    /// Whether `c_lflag` has `bit`.
    pub fn l(&self, bit: u32) -> bool {
        self.local & bit != 0
    }

    /// Whether `byte` is the control character `index`, and that is not switched off.
    pub fn is(&self, index: usize, byte: u8) -> bool {
        self.cc[index] == byte && byte != DISABLED
    }

    /// The baud rate of `c_cflag`.
    pub fn speed(&self) -> u32 {
        const LOW: [u32; 16] = [
            0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
        ];
        const HIGH: [u32; 15] = [
            57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000,
            1_500_000, 2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
        ];
        let index = (self.control & 0o17) as usize;
        match self.control & 0o10000 {
            0 => LOW[index],
            // CBAUDEX: B57600 is number 1.
            _ => HIGH.get(index.wrapping_sub(1)).copied().unwrap_or(38_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_terminal_has_lines_echo_and_signals() {
        let termios = Termios::default();
        assert!(termios.l(local::ICANON) && termios.l(local::ECHO) && termios.l(local::ISIG));
        assert!(termios.is(cc::VINTR, 3) && !termios.is(cc::VEOL, 0));
        assert_eq!(termios.speed(), 38_400);
        let fast = Termios {
            control: 0o10002,
            ..termios
        };
        assert_eq!(fast.speed(), 115_200);
    }
}
