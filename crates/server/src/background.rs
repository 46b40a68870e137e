//! The priority of threads whose work can wait: behind those that answer calls, but never starved.

/// Niceness of such a thread: a third of a normal one's share of a busy processor.
const NICENESS: i32 = 5;

/// Lets other threads go before the calling one. Where the system refuses, it stays as it is.
pub(crate) fn lower_priority() {
    // To Linux, which numbers threads as it does processes, no number means the calling thread.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_is_lowered() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let lowered = std::thread::spawn(move || {
            lower_priority();
            niceness()
        });
        assert_eq!(lowered.join().unwrap(), NICENESS.max(before));
        assert_eq!(niceness(), before);
    }
}
