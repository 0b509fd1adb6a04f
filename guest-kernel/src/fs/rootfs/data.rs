//! The content of a regular file: pages of RAM over what the image has, zeroes where neither is.

use crate::errno::{Errno, Result};
use crate::fs::erofs::{Extent, Image, Node as LowerNode};
use crate::mm::{FilePage, Frame};
use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// How many pages of RAM a file system may hold.
pub struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    /// At most `limit` pages.
    pub const fn new(limit: u64) -> Self {
        Budget {
            used: AtomicU64::new(0),
            limit,
        }
    }

    /// Pages held.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Most pages.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn take(&self) -> Result<()> {
        let more = |used: u64| (used < self.limit).then_some(used + 1);
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOSPC),
        }
    }

    fn give(&self, pages: u64) {
        self.used.fetch_sub(pages, Ordering::Relaxed);
    }
}

/// What a file's content is made from.
#[derive(Clone, Copy)]
pub struct Backing<'a> {
    /// The file in the image, if it has one.
    pub lower: Option<(&'a Image, &'a LowerNode)>,
    /// Where pages are accounted.
    pub budget: &'a Budget,
}

/// The content of a file.
#[derive(Default)]
pub struct Data {
    size: u64,
    /// The first so many bytes of the image's file still show where there is no page.
    lower_len: u64,
    pages: BTreeMap<u64, Frame>,
}

/// A piece of content that lies together.
pub enum Piece {
    /// Bytes of the image.
    Image(&'static [u8]),
    /// `len` bytes at `offset` of a page.
    Page {
        /// The page.
        frame: Frame,
        /// First byte.
        offset: usize,
        /// Bytes.
        len: usize,
    },
    /// Zeroes.
    Zeroes(u64),
}

impl Data {
    /// The content of a file of the image.
    pub fn of_lower(size: u64) -> Self {
        Data {
            size,
            lower_len: size,
            pages: BTreeMap::new(),
        }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Allocated 512-byte blocks, those in the image included.
    pub fn blocks(&self) -> u64 {
        let lower = self.lower_len.div_ceil(PAGE);
        let above = self.pages.range(lower..).count() as u64;
        (lower + above) * (PAGE / 512)
    }

    /// What is at `offset`, at most `max` bytes; `None` at the end of the file.
    pub fn piece(&self, backing: Backing<'_>, offset: u64, max: u64) -> Result<Option<Piece>> {
        let mut len = self.size.saturating_sub(offset).min(max);
        if len == 0 {
            return Ok(None);
        }
        let (index, inside) = (offset / PAGE, offset % PAGE);
        if let Some(frame) = self.pages.get(&index) {
            let len = len.min(PAGE - inside) as usize;
            let offset = inside as usize;
            return Ok(Some(Piece::Page {
                frame: frame.clone(),
                offset,
                len,
            }));
        }
        if let Some((next, _)) = self.pages.range(index..).next() {
            len = len.min(next * PAGE - offset);
        }
        if let (Some((image, node)), true) = (backing.lower, offset < self.lower_len) {
            len = len.min(self.lower_len - offset);
            return Ok(Some(match image.extent(node, offset)? {
                Extent::Data(data) => {
                    Piece::Image(&data[..data.len().min(usize::try_from(len).unwrap_or(0))])
                }
                Extent::Hole(hole) => Piece::Zeroes(hole.min(len)),
            }));
        }
        Ok(Some(Piece::Zeroes(len)))
    }

    /// The page `index` in RAM; brought there, with its content, if it is not.
    fn frame(&mut self, backing: Backing<'_>, index: u64, keep_content: bool) -> Result<&Frame> {
        if !self.pages.contains_key(&index) {
            let frame = Frame::zeroed()?;
            let start = index * PAGE;
            if let (true, Some((image, node))) = (keep_content, backing.lower) {
                let end = self.lower_len.min(start + PAGE);
                let mut at = start;
                while at < end {
                    match image.extent(node, at)? {
                        Extent::Data(data) => {
                            let len = data.len().min((end - at) as usize);
                            frame.write((at - start) as usize, &data[..len]);
                            at += len as u64;
                        }
                        Extent::Hole(len) => at += len.min(end - at),
                    }
                }
            }
            backing.budget.take()?;
            self.pages.insert(index, frame);
        }
        self.pages.get(&index).ok_or(Errno::EIO)
    }

    /// Stores `bytes`, which lie in one page, at `offset`.
    pub fn store(&mut self, backing: Backing<'_>, offset: u64, bytes: &[u8]) -> Result<()> {
        let whole = bytes.len() as u64 == PAGE;
        let frame = self.frame(backing, offset / PAGE, !whole)?;
        frame.write((offset % PAGE) as usize, bytes);
        self.size = self.size.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// Page `index` for a mapping. `writable`: never a page of the image.
    pub fn page(&mut self, backing: Backing<'_>, index: u64, writable: bool) -> Result<FilePage> {
        let start = index
            .checked_mul(PAGE)
            .filter(|&start| start < self.size)
            .ok_or(Errno::EIO)?;
        if let (false, false, Some((image, node))) =
            (writable, self.pages.contains_key(&index), backing.lower)
        {
            // A page cut short by truncation would show the image's bytes beyond the cut.
            let whole = start + PAGE <= self.lower_len || self.lower_len == node.size;
            if let (true, Some(phys)) = (whole && start < self.lower_len, image.page(node, index)) {
                return Ok(FilePage::Image(phys));
            }
        }
        self.frame(backing, index, true)
            .map(|frame| FilePage::Frame(frame.clone()))
    }

    /// Whether nothing was changed from the image.
    pub fn is_lower(&self) -> bool {
        self.pages.is_empty() && self.lower_len == self.size
    }

    /// Sets the size; what is cut off is gone, what is added is zero.
    pub fn set_size(&mut self, budget: &Budget, size: u64) {
        if size < self.size {
            let kept = size.div_ceil(PAGE);
            let cut = self.pages.split_off(&kept);
            budget.give(cut.len() as u64);
            let inside = (size % PAGE) as usize;
            if let (true, Some(last)) = (inside != 0, self.pages.get(&(size / PAGE))) {
                last.zero(inside, PAGE as usize - inside);
            }
            self.lower_len = self.lower_len.min(size);
        }
        self.size = size;
    }

    /// Makes `[start, end)` zero (FALLOC_FL_PUNCH_HOLE, ZERO_RANGE), within the size.
    pub fn punch(&mut self, backing: Backing<'_>, start: u64, end: u64) -> Result<()> {
        let end = end.min(self.size);
        let mut at = start;
        while at < end {
            let (index, inside) = (at / PAGE, at % PAGE);
            let len = (PAGE - inside).min(end - at);
            let in_lower = index * PAGE < self.lower_len;
            if (len == PAGE || at + len == self.size) && inside == 0 && !in_lower {
                if self.pages.remove(&index).is_some() {
                    backing.budget.give(1);
                }
                // Without pages there is nothing to do up to the next one.
                let next = self
                    .pages
                    .range(index..)
                    .next()
                    .map_or(end, |(next, _)| next * PAGE);
                at = next.max(at + len);
                continue;
            }
            if in_lower || self.pages.contains_key(&index) {
                self.frame(backing, index, true)?
                    .zero(inside as usize, len as usize);
            }
            at += len;
        }
        Ok(())
    }

    /// Brings every page of `[start, end)` into being (fallocate).
    pub fn allocate(&mut self, backing: Backing<'_>, start: u64, end: u64) -> Result<()> {
        for index in start / PAGE..end.div_ceil(PAGE) {
            if index * PAGE >= self.lower_len {
                self.frame(backing, index, true)?;
            }
        }
        Ok(())
    }

    /// The first offset from `offset` on where there is data (`true`) or a hole; the end of the
    /// file counts as a hole.
    pub fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        let mut at = offset;
        while at < self.size {
            let index = at / PAGE;
            let is_data = index * PAGE < self.lower_len || self.pages.contains_key(&index);
            if is_data == data {
                return Some(at);
            }
            let next = match self.pages.range(index..).next() {
                Some((next, _)) if !is_data => next * PAGE,
                None if !is_data => self.size,
                _ => (index + 1) * PAGE,
            };
            at = next.max(at + 1);
        }
        (!data).then_some(self.size)
    }

    /// Gives the pages back to the budget, before the content is dropped.
    pub fn clear(&mut self, budget: &Budget) {
        budget.give(self.pages.len() as u64);
        self.pages.clear();
    }
}
