//! File descriptor tables, and the part of a process that path resolution uses.

use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{Inode, Mode};
use crate::fs::locks;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Most descriptors a table can have whatever the limit (`/proc/sys/fs/nr_open`).
pub const NR_OPEN: u64 = 1 << 20;
/// The soft RLIMIT_NOFILE a program starts with.
pub const DEFAULT_LIMIT: u64 = 1 << 16;

/// Names who holds POSIX record locks: one descriptor table, as Linux' `files_struct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableId(pub u64);

impl TableId {
    fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        TableId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

/// The descriptors of a process. What methods take out is for the caller to drop *after* it has
/// given back the table's lock: the last reference to a file may wake others or take locks.
pub struct FdTable {
    id: TableId,
    slots: Vec<Option<Slot>>,
    limit: u64,
    /// No free slot is below this one.
    lowest_free: usize,
}

impl Default for FdTable {
    fn default() -> Self {
        FdTable {
            id: TableId::fresh(),
            slots: Vec::new(),
            limit: DEFAULT_LIMIT,
            lowest_free: 0,
        }
    }
}

impl FdTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who its record locks belong to.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// The soft RLIMIT_NOFILE.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Sets the soft RLIMIT_NOFILE.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit.min(NR_OPEN);
    }

    /// The open file of `fd`.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>> {
        self.slot(fd).map(|slot| slot.file.clone())
    }

    /// The open file behind a descriptor; EBADF for one that only names a file (O_PATH), too.
    pub fn get_open(&self, fd: i32) -> Result<Arc<OpenFile>> {
        let file = self.get(fd)?;
        match file.flags().contains(OpenFlags::PATH) {
            true => Err(Errno::EBADF),
            false => Ok(file),
        }
    }

    /// As [`FdTable::get`], EBADF for what O_PATH opened: that is a place, not an open file, to all
    /// calls but a few.
    pub fn get_usable(&self, fd: i32) -> Result<Arc<OpenFile>> {
        let file = self.get(fd)?;
        match file.flags().contains(OpenFlags::PATH) {
            true => Err(Errno::EBADF),
            false => Ok(file),
        }
    }

    fn slot(&self, fd: i32) -> Result<&Slot> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        self.slots
            .get(index)
            .and_then(Option::as_ref)
            .ok_or(Errno::EBADF)
    }

    /// Puts `file` at the lowest free descriptor.
    pub fn insert(&mut self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<i32> {
        self.insert_from(0, file, close_on_exec)
    }

    /// Puts `file` at the lowest free descriptor that is at least `min` (F_DUPFD).
    pub fn insert_from(
        &mut self,
        min: u64,
        file: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<i32> {
        let start = usize::try_from(min)
            .unwrap_or(usize::MAX)
            .max(self.lowest_free);
        let taken = self
            .slots
            .iter()
            .skip(start)
            .take_while(|slot| slot.is_some())
            .count();
        let index = start + taken;
        if index as u64 >= self.limit {
            return Err(Errno::EMFILE);
        }
        if start == self.lowest_free {
            self.lowest_free = index + 1;
        }
        self.store(
            index,
            Slot {
                file,
                close_on_exec,
            },
        );
        Ok(index as i32)
    }

    /// EMFILE if [`FdTable::insert`] would fail: to be known before a file is created.
    pub fn check_room(&self) -> Result<()> {
        let used = self
            .slots
            .iter()
            .skip(self.lowest_free)
            .take_while(|s| s.is_some())
            .count();
        match ((self.lowest_free + used) as u64) < self.limit {
            true => Ok(()),
            false => Err(Errno::EMFILE),
        }
    }

    fn store(&mut self, index: usize, slot: Slot) -> Option<Slot> {
        if index >= self.slots.len() {
            self.slots.resize(index + 1, None);
        }
        self.slots[index].replace(slot)
    }

    /// Puts `file` at `fd`; returns what was there (dup2).
    pub fn replace(
        &mut self,
        fd: i32,
        file: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<Option<Arc<OpenFile>>> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if index as u64 >= self.limit {
            return Err(Errno::EBADF);
        }
        Ok(self
            .store(
                index,
                Slot {
                    file,
                    close_on_exec,
                },
            )
            .map(|slot| slot.file))
    }

    /// Takes out `fd`.
    pub fn remove(&mut self, fd: i32) -> Result<Arc<OpenFile>> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let slot = self
            .slots
            .get_mut(index)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        self.lowest_free = self.lowest_free.min(index);
        Ok(slot.file)
    }

    /// Takes out every descriptor from `first` to `last`.
    pub fn remove_range(&mut self, first: u32, last: u32) -> Vec<Arc<OpenFile>> {
        let (first, last) = (first as usize, last as usize);
        self.remove_if(|fd, _| (first..=last).contains(&fd))
    }

    /// Marks every descriptor from `first` to `last` close-on-exec.
    pub fn set_range_close_on_exec(&mut self, first: u32, last: u32) {
        let (first, last) = (first as usize, last as usize);
        for slot in self
            .slots
            .iter_mut()
            .take(last.saturating_add(1))
            .skip(first)
            .flatten()
        {
            slot.close_on_exec = true;
        }
    }

    /// Takes out what exec closes.
    pub fn remove_close_on_exec(&mut self) -> Vec<Arc<OpenFile>> {
        self.remove_if(|_, slot| slot.close_on_exec)
    }

    /// Takes out everything (exit).
    pub fn remove_all(&mut self) -> Vec<Arc<OpenFile>> {
        self.remove_if(|_, _| true)
    }

    fn remove_if(&mut self, condition: impl Fn(usize, &Slot) -> bool) -> Vec<Arc<OpenFile>> {
        let mut removed = Vec::new();
        for (fd, place) in self.slots.iter_mut().enumerate() {
            if let Some(slot) = place.take_if(|slot| condition(fd, slot)) {
                self.lowest_free = self.lowest_free.min(fd);
                removed.push(slot.file);
            }
        }
        removed
    }

    /// Whether `fd` is closed by exec.
    pub fn close_on_exec(&self, fd: i32) -> Result<bool> {
        self.slot(fd).map(|slot| slot.close_on_exec)
    }

    /// Sets whether `fd` is closed by exec.
    pub fn set_close_on_exec(&mut self, fd: i32, close: bool) -> Result<()> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let slot = self
            .slots
            .get_mut(index)
            .and_then(Option::as_mut)
            .ok_or(Errno::EBADF)?;
        slot.close_on_exec = close;
        Ok(())
    }

    /// A copy for a new process: the same open files.
    pub fn fork(&self) -> FdTable {
        FdTable {
            id: TableId::fresh(),
            slots: self.slots.clone(),
            limit: self.limit,
            lowest_free: self.lowest_free,
        }
    }

    /// The open descriptors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Arc<OpenFile>)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(fd, slot)| slot.as_ref().map(|slot| (fd as i32, &slot.file)))
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        locks::release_owner(locks::Owner::Table(self.id));
    }
}

/// Where a process stands in the file system, and the umask.
#[derive(Clone)]
pub struct FsContext {
    /// Its root directory.
    pub root: Arc<dyn Inode>,
    /// Its working directory.
    pub cwd: Arc<dyn Inode>,
    /// Bits that new files don't get.
    pub umask: Mode,
}

impl FsContext {
    /// At `root`, with the usual umask.
    pub fn new(root: Arc<dyn Inode>) -> Self {
        FsContext {
            cwd: root.clone(),
            root,
            umask: Mode::new(0o022),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::file::OpenFlags;
    use crate::fs::testing::NullFile;

    fn file() -> Arc<OpenFile> {
        OpenFile::new(Arc::new(NullFile), OpenFlags::RDWR, Vec::new())
    }

    #[test]
    fn the_lowest_free_descriptor_is_taken() {
        let mut table = FdTable::new();
        for fd in 0..5 {
            assert_eq!(table.insert(file(), false), Ok(fd));
        }
        table.remove(3).unwrap();
        table.remove(1).unwrap();
        assert_eq!(table.insert(file(), false), Ok(1));
        assert_eq!(table.insert(file(), false), Ok(3));
        assert_eq!(table.insert(file(), false), Ok(5));
        assert_eq!(table.insert_from(10, file(), true), Ok(10));
        assert_eq!(table.insert(file(), false), Ok(6));
        assert_eq!(table.get(9).err(), Some(Errno::EBADF));
        assert_eq!(table.get(-1).err(), Some(Errno::EBADF));
    }

    #[test]
    fn the_limit_is_kept() {
        let mut table = FdTable::new();
        table.set_limit(2);
        table.insert(file(), false).unwrap();
        table.insert(file(), false).unwrap();
        assert_eq!(table.insert(file(), false).err(), Some(Errno::EMFILE));
        assert_eq!(
            table.insert_from(7, file(), false).err(),
            Some(Errno::EMFILE)
        );
        assert_eq!(table.replace(2, file(), false).err(), Some(Errno::EBADF));
        assert!(table.replace(1, file(), false).unwrap().is_some());
    }

    #[test]
    fn exec_closes_what_is_marked_and_fork_copies() {
        let mut table = FdTable::new();
        table.insert(file(), true).unwrap();
        table.insert(file(), false).unwrap();
        let mut child = table.fork();
        assert_ne!(child.id(), table.id());
        assert_eq!(child.remove_close_on_exec().len(), 1);
        assert_eq!(child.iter().map(|(fd, _)| fd).collect::<Vec<_>>(), [1]);
        assert_eq!(table.iter().count(), 2);
        child.set_range_close_on_exec(0, u32::MAX);
        assert_eq!(child.close_on_exec(1), Ok(true));
        assert_eq!(child.remove_range(1, u32::MAX).len(), 1);
        assert_eq!(child.insert(file(), false), Ok(0));
    }
}
