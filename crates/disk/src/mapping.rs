//! A file mapped into memory, of which bytes can be copied without a system call.
//!
//! Reading a record with `pread` costs about as much as everything else that a range does with it, so segments are mapped.
//! What is mapped is never seen as a slice: bytes are copied out by pointer, and whoever copies verifies a checksum on the
//! copy. So nothing that happens to the file meanwhile, by whatever handle or process, can break a promise that Rust code
//! relies on; at worst the copy is not what was written, which the checksum shows.
//!
//! A page that cannot be read, because the medium fails or the file was cut by somebody else, raises SIGBUS. Then
//! [`fault`] ends the process with a message that names file and offset.

mod fault;

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags};

/// What memory gives at a time, in bytes, on most processors.
const CACHE_LINE: usize = 64;

/// A mapping of a file as long as it was when the mapping was made. Needs no file descriptor; the file's content stays
/// for as long as the mapping does, though its name may go.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// Lets a fault be traced to the file. There until the mapping goes.
    watch: Option<fault::Watch>,
}

#[expect(unsafe_code, reason = "raw pointers are not Send by themselves")]
// SAFETY: the memory belongs to the process, not to a thread, and is only read.
unsafe impl Send for Mapping {}

#[expect(unsafe_code, reason = "raw pointers are not Sync by themselves")]
// SAFETY: as above; copying out of it at the same time from several threads is no conflict.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which was opened as `path`.
    pub(crate) fn new(file: impl AsFd, len: u64, path: &Path) -> io::Result<Mapping> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        #[expect(unsafe_code, reason = "see the module")]
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that is in use.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, 0)? };
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let watch = fault::watch(start.addr().get(), len, path);
        Ok(Mapping { start, len, watch: Some(watch) })
    }

    /// Appends the `len` bytes at `offset` to `out`. False, and nothing is appended, if the mapping ends before.
    pub(crate) fn append_to(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> bool {
        let Some(from) = self.find(offset, len) else { return false };
        out.reserve(len);
        #[expect(unsafe_code, reason = "see the module")]
        // SAFETY: `from` is good for `len` bytes of the mapping, which lives as long as `self`, and `reserve` has made
        // room for as many behind the end of `out`; the two are different allocations. Every byte up to the new length
        // is written.
        unsafe {
            ptr::copy_nonoverlapping(from, out.as_mut_ptr().add(out.len()), len);
            out.set_len(out.len() + len);
        }
        true
    }

    /// Makes memory fetch the first bytes of the `len` bytes at `offset`, `bytes_max` at most.
    pub(crate) fn fetch(&self, offset: u64, len: usize, bytes_max: usize) {
        let len = len.min(bytes_max);
        let Some(from) = self.find(offset, len) else { return };
        for at in (0..len).step_by(CACHE_LINE) {
            prefetch(from.wrapping_add(at));
        }
    }

    /// Copies bytes from `offset` on into the whole of `out`. False, and nothing is copied, if the mapping ends before.
    pub(crate) fn copy_to(&self, offset: u64, out: &mut [u8]) -> bool {
        let Some(from) = self.find(offset, out.len()) else { return false };
        #[expect(unsafe_code, reason = "see the module")]
        // SAFETY: `from` is good for as many bytes as `out` has; the two are different allocations.
        unsafe {
            ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len());
        }
        true
    }

    /// Where `len` bytes at `offset` lie, if they lie within the mapping.
    fn find(&self, offset: u64, len: usize) -> Option<*const u8> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(len)?;
        // Within the mapping, so the address is one of this allocation.
        (end <= self.len).then(|| self.start.as_ptr().wrapping_add(start).cast_const())
    }
}

/// Makes memory fetch the cache line at `at`. Unlike a read it is not waited for, and it does nothing where the page is
/// not in memory.
#[cfg(target_arch = "x86_64")]
fn prefetch(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    #[expect(unsafe_code, reason = "see the module")]
    // SAFETY: a prefetch is a hint, which may name any address.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}

/// Does nothing: there is no stable way to ask such a processor for it.
#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_at: *const u8) {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // First, since another mapping may get the same address.
        self.watch = None;
        #[expect(unsafe_code, reason = "see the module")]
        // SAFETY: mapped by `Mapping::new` with this length, and no pointer into it outlives a method.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.len) };
        debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped: {unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk, RealDisk};

    fn copy(mapping: &Mapping, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        mapping.append_to(offset, len, &mut out).then_some(out)
    }

    #[test]
    fn a_mapping_shows_what_is_written_after_it_was_made_up_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&root.path().join("f")).unwrap();
        assert!(file.map().is_err(), "an empty file cannot be mapped");
        file.reserve(8192).unwrap();
        let mapping = file.map().unwrap().unwrap();
        file.write_at(4090, b"across a page").unwrap();
        assert_eq!(copy(&mapping, 4090, 13).unwrap(), b"across a page");
        assert_eq!(copy(&mapping, 8190, 2).unwrap(), [0; 2]);
        let mut end = [1; 2];
        assert!(!mapping.copy_to(8191, &mut end) && end == [1; 2]);
        assert!(mapping.copy_to(8190, &mut end) && end == [0; 2]);
        file.write_at(8192, b"beyond").unwrap();
        assert_eq!(copy(&mapping, 8190, 3), None);
        assert_eq!(copy(&mapping, u64::MAX, 3), None);
    }

    #[test]
    fn a_mapping_outlives_its_file_and_its_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        let file = RealDisk.create(&path).unwrap();
        file.write_at(0, b"content").unwrap();
        let mapping = file.map().unwrap().unwrap();
        drop(file);
        RealDisk.remove(&path).unwrap();
        mapping.fetch(0, 7, 512);
        assert_eq!(copy(&mapping, 0, 7).unwrap(), b"content");
    }
}
