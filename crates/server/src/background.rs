//! The priority of threads whose work can wait: behind those that answer calls, but never starved.

use std::cell::Cell;

use rustix::process::{getpriority_process, setpriority_process};

/// How much nicer such a thread is than the process: it has a third of a normal thread's share of a busy processor.
const NICENESS: i32 = 5;

thread_local! {
    static IS_LOWERED: Cell<bool> = const { Cell::new(false) };
}

/// Lowers the priority of the calling thread, unless this has been done before. If the system refuses, it stays.
pub(crate) fn lower_priority() {
    if IS_LOWERED.replace(true) {
        return;
    }
    // To Linux, which numbers threads as it does processes, `None` means the calling thread.
    if let Ok(niceness) = getpriority_process(None) {
        let _ = setpriority_process(None, niceness + NICENESS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_is_lowered_and_only_once() {
        let niceness = || getpriority_process(None).unwrap();
        let before = niceness();
        let lowered = std::thread::spawn(move || {
            lower_priority();
            lower_priority();
            niceness()
        });
        // The system has no niceness above 19.
        assert_eq!(lowered.join().unwrap(), (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
