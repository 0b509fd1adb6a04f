//! Who signals about a file go to: `F_SETOWN` and its kin.

use crate::errno::{Errno, Result};
use crate::sync::{Lock, Rank};
use crate::task::process;
use crate::task::signal::{send_to_process, try_send_to_task};
use crate::task::{SigInfo, signal::number::SIGURG};

/// What an owner's id names, with the values of `F_SETOWN_EX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OwnerKind {
    Thread = 0,
    Process = 1,
    Group = 2,
}

impl OwnerKind {
    /// The kind of a `struct f_owner_ex`.
    pub fn from_raw(raw: i32) -> Result<OwnerKind> {
        match raw {
            0 => Ok(OwnerKind::Thread),
            1 => Ok(OwnerKind::Process),
            2 => Ok(OwnerKind::Group),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// The owner of a file; id 0: none.
pub struct Owner(Lock<(OwnerKind, u32)>);

impl Default for Owner {
    fn default() -> Owner {
        Owner(Lock::new(Rank::Options, (OwnerKind::Thread, 0)))
    }
}

impl Owner {
    /// `F_SETOWN_EX`. ESRCH: nothing has this id.
    pub fn set(&self, kind: OwnerKind, id: i32) -> Result<()> {
        let id = u32::try_from(id).map_err(|_| Errno::ESRCH)?;
        let exists =
            id == 0 || process::find_by_any(id).is_some() || !process::in_group(id).is_empty();
        if !exists {
            return Err(Errno::ESRCH);
        }
        *self.0.lock() = (kind, id);
        Ok(())
    }

    /// `F_SETOWN`: a process, or a group as a negative number.
    pub fn set_signed(&self, who: i32) -> Result<()> {
        if who < 0 {
            let group = who.checked_neg().ok_or(Errno::EINVAL)?;
            return self.set(OwnerKind::Group, group);
        }
        self.set(OwnerKind::Process, who)
    }

    /// `F_GETOWN_EX`: who is gone has id 0.
    pub fn get(&self) -> (OwnerKind, u32) {
        let (kind, id) = *self.0.lock();
        let lives = match kind {
            OwnerKind::Thread => process::find_task(id).is_some(),
            OwnerKind::Process => process::find(id).is_some(),
            OwnerKind::Group => !process::in_group(id).is_empty(),
        };
        (kind, if lives { id } else { 0 })
    }

    /// `F_GETOWN`.
    pub fn get_signed(&self) -> i32 {
        match self.get() {
            (OwnerKind::Group, id) => -(id as i32),
            (_, id) => id as i32,
        }
    }

    /// Urgent data came: SIGURG. Who is gone, or has no room for it, is not told.
    pub fn signal_urgent(&self) {
        let (kind, id) = *self.0.lock();
        if id == 0 {
            return;
        }
        let info = SigInfo::kernel(SIGURG);
        match kind {
            OwnerKind::Thread => {
                if let Some(task) = process::find_task(id) {
                    let _ = try_send_to_task(&task, info);
                }
            }
            OwnerKind::Process => {
                if let Some(process) = process::find(id) {
                    let _ = send_to_process(&process, info);
                }
            }
            OwnerKind::Group => {
                for process in process::in_group(id) {
                    let _ = send_to_process(&process, info);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_that_do_not_exist_are_refused() {
        let owner = Owner::default();
        assert_eq!(owner.set_signed(i32::MIN), Err(Errno::EINVAL));
        assert_eq!(owner.set_signed(i32::MAX), Err(Errno::ESRCH));
        assert_eq!(owner.set_signed(-i32::MAX), Err(Errno::ESRCH));
        assert_eq!(owner.set(OwnerKind::Thread, -5), Err(Errno::ESRCH));
        assert_eq!(owner.get(), (OwnerKind::Thread, 0));
        assert_eq!(owner.set_signed(0), Ok(()));
        assert_eq!(owner.get(), (OwnerKind::Process, 0));
    }
}
