//! What happens when a page of a mapping cannot be read: the process ends, and says which file at which offset.
//!
//! The kernel raises SIGBUS in the thread that touched the page. The handler finds the mapping in a table that it can
//! read without a lock or an allocation, writes a line to the standard error, and ends the process. A signal for another
//! address goes to the handler that was there before.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// As many as the kernel allows a process by default. A mapping beyond that works too, but a fault in it goes to the
/// handler that was there before, which ends the process without naming the file.
const MAPPINGS_MAX: usize = 1 << 16;

/// Exit status of the process, as of every member that stops because its disk failed.
const EXIT_STATUS: c_int = 1;

/// One mapping, as the handler sees it.
struct Slot {
    /// Address of its first byte; 0 if the slot is free. Written last.
    start: AtomicUsize,
    len: AtomicUsize,
    path: AtomicPtr<u8>,
    path_len: AtomicUsize,
}

static SLOTS: [Slot; MAPPINGS_MAX] = [const {
    Slot {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        path: AtomicPtr::new(ptr::null_mut()),
        path_len: AtomicUsize::new(0),
    }
}; MAPPINGS_MAX];

/// Slots below this may be taken: the handler looks no farther.
static SLOTS_USED: AtomicUsize = AtomicUsize::new(0);

/// Slots below [`SLOTS_USED`] that are free.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// The handler that was there before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping's place in the table, for as long as this lives.
#[derive(Debug)]
pub(super) struct Watch {
    slot: Option<usize>,
    /// What the slot points to.
    _path: Box<[u8]>,
}

/// Enters the mapping of the file at `path` into the table.
pub(super) fn watch(start: usize, len: usize, path: &Path) -> Watch {
    BEFORE.get_or_init(install);
    let path: Box<[u8]> = path.as_os_str().as_bytes().into();
    let slot = take_slot();
    if let Some(slot) = slot.map(|slot| &SLOTS[slot]) {
        slot.len.store(len, Ordering::Relaxed);
        slot.path.store(path.as_ptr().cast_mut(), Ordering::Relaxed);
        slot.path_len.store(path.len(), Ordering::Relaxed);
        slot.start.store(start, Ordering::Release);
    }
    Watch { slot, _path: path }
}

fn take_slot() -> Option<usize> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    free.pop().or_else(|| {
        // Only under the lock, so nobody takes the same.
        let next = SLOTS_USED.load(Ordering::Relaxed);
        let is_left = next < MAPPINGS_MAX;
        is_left.then(|| SLOTS_USED.fetch_add(1, Ordering::Release))
    })
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        SLOTS[slot].start.store(0, Ordering::Release);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }
}

/// Installs the handler; returns the one before.
#[expect(unsafe_code, reason = "there is no safe way to handle a signal that a thread raises by itself")]
fn install() -> libc::sigaction {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
    // SAFETY: both structures are plain data that zeros are valid for, and live through the calls. The handler does
    // only what is allowed in one: it loads atomics, writes, and ends the process or puts the former handler back.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        let mut before: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before);
        before
    }
}

#[expect(unsafe_code, reason = "a signal handler gets pointers and makes system calls")]
extern "C" fn handle(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes the information of this signal, of which SIGBUS has an address.
    let address = unsafe { (*info).si_addr() }.addr();
    let Some((slot, start)) = slot_of(address) else {
        if let Some(before) = BEFORE.get() {
            // SAFETY: what `sigaction` returned can be given back. The instruction is tried again then, and the signal
            // raised again.
            unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
        }
        return;
    };
    let mut digits = [0; 20];
    let (path, path_len) = (slot.path.load(Ordering::Relaxed), slot.path_len.load(Ordering::Relaxed));
    // SAFETY: the thread is reading through this mapping, so its slot and the path it points to are there.
    let path = unsafe { std::slice::from_raw_parts(path.cast_const(), path_len) };
    let offset = decimal(address - start, &mut digits);
    for part in [b"cannot read ", path, b" at byte ", offset, b": the disk or the file system failed\n"] {
        // SAFETY: the pointer is good for the length. If the write fails there is nobody left to tell.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: ends the process at once, without what is not allowed here.
    unsafe { libc::_exit(EXIT_STATUS) };
}

/// The slot of the mapping that holds `address`, and where that begins.
fn slot_of(address: usize) -> Option<(&'static Slot, usize)> {
    let used = SLOTS_USED.load(Ordering::Acquire).min(MAPPINGS_MAX);
    SLOTS[..used].iter().find_map(|slot| {
        let start = slot.start.load(Ordering::Acquire);
        let is_inside = start != 0 && address >= start && address - start < slot.len.load(Ordering::Relaxed);
        is_inside.then_some((slot, start))
    })
}

/// `number` in decimal, without an allocation.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_traced_to_its_mapping() {
        // No address of a mapping: those are multiples of a page.
        let first = watch(1, 3, Path::new("/first"));
        let second = watch(4, 3, Path::new("/second"));
        assert_eq!(slot_of(3).unwrap().1, 1);
        assert_eq!(slot_of(4).unwrap().1, 4);
        drop(first);
        assert!(slot_of(3).is_none());
        drop(second);
        assert!(slot_of(6).is_none());
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 4096, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
