//! Signals that would end the process and must not: those that Go's runtime passes over.
//!
//! Scripts send SIGUSR1 and the like to many programs at once, to have them rotate their logs for instance. SIGTERM and
//! SIGINT stop the server elsewhere; SIGHUP and SIGQUIT end it, as they end etcd.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::Signal;
use signal_hook::flag;

/// What etcd outlives. SIGXFSZ then leaves a write with an error, which says more than the end of the process.
const IGNORED: [Signal; 9] = [
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::IO,
    Signal::POWER,
];

/// Makes these signals do nothing for the rest of the process's life.
pub(super) fn ignore() -> io::Result<()> {
    let unread = Arc::new(AtomicBool::new(false));
    for signal in IGNORED {
        flag::register(signal.as_raw(), Arc::clone(&unread))?;
    }
    Ok(())
}
