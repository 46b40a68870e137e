//! The priority of threads whose work can wait: behind those that answer calls, but never starved.

use rustix::process::{getpriority_process, setpriority_process};

/// Niceness of such a thread: it gets a third of a normal one's share of a busy processor.
const NICENESS: i32 = 5;

/// Lowers the priority of the calling thread, unless it is that low already. If the system refuses, it stays.
pub(crate) fn lower_priority() {
    // To Linux, which numbers threads as it does processes, `None` means the calling thread.
    if getpriority_process(None).is_ok_and(|niceness| niceness < NICENESS) {
        let _ = setpriority_process(None, NICENESS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_is_lowered() {
        let niceness = || getpriority_process(None).unwrap();
        let before = niceness();
        let lowered = std::thread::spawn(move || {
            lower_priority();
            niceness()
        });
        assert_eq!(lowered.join().unwrap(), NICENESS.max(before));
        assert_eq!(niceness(), before);
    }
}
