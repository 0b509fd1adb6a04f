//! A serial port for kernels that can't ring the doorbell: a sentry that dies before it gets there,
//! or another kernel altogether. What is written to it goes to the operator; nothing comes in, and it
//! interrupts nobody.

use std::fmt;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};

/// Where a PC has its first serial port (COM1).
const PORTS: RangeInclusive<u16> = 0x3f8..=0x3ff;

/// A guest has no interrupt controller.
struct NoInterrupt;

impl Trigger for NoInterrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The port of one guest, for all its vCPUs.
pub(crate) struct SerialPort(Mutex<Serial<NoInterrupt, NoEvents, Box<dyn Write + Send>>>);

impl SerialPort {
    /// A port whose output goes to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(Serial::new(NoInterrupt, out)))
    }

    /// Takes what a vCPU writes; false if that is none of its ports.
    pub fn write(&self, port: u16, data: &[u8]) -> bool {
        let Some(offset) = offset_of(port) else {
            return false;
        };
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in data {
            // Output that nobody takes is lost, as on a line without a terminal.
            let _ = serial.write(offset, *byte);
        }
        true
    }

    /// Gives what a vCPU reads; false if that is from none of its ports.
    pub fn read(&self, port: u16, data: &mut [u8]) -> bool {
        let Some(offset) = offset_of(port) else {
            return false;
        };
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        data.fill_with(|| serial.read(offset));
        true
    }
}

fn offset_of(port: u16) -> Option<u8> {
    let offset = PORTS.contains(&port).then(|| port - PORTS.start())?;
    u8::try_from(offset).ok()
}

impl fmt::Debug for SerialPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SerialPort")
    }
}
