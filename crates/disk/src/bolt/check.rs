//! Whether a file is whole: every page is used once, or is free.

use super::entries::Walk;
use super::meta::NO_FREELIST;
use super::page::{FREELIST, HEADER_LEN, IS_BUCKET};
use super::page_set::PageSet;
use super::reader::{Bucket, Reader};
use crate::Error;

/// Buckets within buckets at most.
const NESTING_MAX: usize = 16;

/// Page numbers of a freelist that are read at a time.
const FREELIST_CHUNK: usize = 4096;

/// Number of ids at which the header of a freelist has no room for it.
const COUNT_BEHIND_HEADER: u16 = u16::MAX;

impl Reader {
    /// Reads every page of every bucket, nested ones too, and compares them with the list of free pages if there is one.
    /// Fails with the first fault. Afterwards nothing else can be read.
    pub fn check(mut self) -> Result<(), Error> {
        let root = Bucket::of_root(self.meta.root);
        let mut walk = Walk::new(&mut self, &root)?;
        while let Some(entry) = walk.next(&mut self)? {
            if entry.flags & IS_BUCKET != 0 {
                let bucket = self.bucket(entry)?;
                self.check_bucket(&bucket, 1)?;
            }
        }
        if self.meta.freelist == NO_FREELIST { Ok(()) } else { self.check_freelist() }
    }

    fn check_bucket(&mut self, bucket: &Bucket, nesting: usize) -> Result<(), Error> {
        if nesting > NESTING_MAX {
            return Err(self.corrupt(bucket.page, format!("buckets nested at most {NESTING_MAX} deep")));
        }
        let mut walk = Walk::new(self, bucket)?;
        while let Some(entry) = walk.next(self)? {
            if entry.flags & IS_BUCKET != 0 {
                let nested = self.bucket(entry)?;
                self.check_bucket(&nested, nesting + 1)?;
            }
        }
        Ok(())
    }

    /// Every page must be in use or in the list, and no page in both or twice in the list.
    fn check_freelist(&mut self) -> Result<(), Error> {
        let page = self.meta.freelist;
        let header = self.open_page(page)?;
        if header.kind != FREELIST {
            return Err(self.corrupt(page, "a list of free pages"));
        }
        let len = (u64::from(header.overflow) + 1) * self.page_size();
        let mut at = HEADER_LEN as u64;
        let mut count = u64::from(header.count);
        if header.count == COUNT_BEHIND_HEADER {
            let mut bytes = [0; 8];
            self.read_at(page * self.page_size() + at, &mut bytes)?;
            count = u64::from_le_bytes(bytes);
            at += 8;
        }
        if count > (len - at) / 8 {
            return Err(self.corrupt(page, "a list of free pages that fits its pages"));
        }
        let mut free = PageSet::new(self.meta.pages);
        let mut bytes = vec![0; FREELIST_CHUNK * 8];
        while count > 0 {
            let n = count.min(FREELIST_CHUNK as u64);
            let chunk = &mut bytes[..n as usize * 8];
            self.read_at(page * self.page_size() + at, chunk)?;
            for id in chunk.chunks_exact(8) {
                let id = u64::from_le_bytes(*id.first_chunk().expect("chunks of 8 bytes"));
                self.check_free(page, id, &mut free)?;
            }
            at += n * 8;
            count -= n;
        }
        match (0..self.meta.pages).find(|page| !self.seen.contains(*page) && !free.contains(*page)) {
            Some(lost) => Err(self.corrupt(lost, "a page that is used or listed as free")),
            None => Ok(()),
        }
    }

    /// Adds an id of the list.
    fn check_free(&self, list: u64, id: u64, free: &mut PageSet) -> Result<(), Error> {
        if id >= self.meta.pages {
            return Err(self.corrupt(list, format!("free pages below {}", self.meta.pages)));
        }
        if self.seen.contains(id) {
            return Err(self.corrupt(id, "a page that is not used, as the list of free pages says"));
        }
        if !free.insert(id) {
            return Err(self.corrupt(id, "a page that is listed as free once"));
        }
        Ok(())
    }
}
