//! System calls that move data.
//!
//! | file | calls |
//! |---|---|
//! | `transfer` | read, write and their vector and positioned forms, lseek |
//! | `copy` | sendfile, copy_file_range |
//! | `splice` | splice |
//! | `control` | ioctl |
//! | `sync` | fsync and its kin, advice |
//!
//! Files never block; here is where a call waits for them, and where EPIPE brings its signal.

mod control;
mod copy;
mod splice;
mod sync;
mod transfer;

pub use control::*;
pub use copy::*;
pub use splice::*;
pub use sync::*;
pub(crate) use transfer::check_new_size;
pub use transfer::*;
