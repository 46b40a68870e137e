//! Ctrl-C and SIGTERM, remembered from the start of the program until somebody waits for them.
//!
//! One listener lasts for the whole program: between two runs of a comparison a signal would otherwise be lost,
//! and a program that died of it would leave a server behind.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The user's wish to end early.
pub(crate) struct Interrupt {
    ctrl_c: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Takes the signals over from their default, which ends the process. Needs a runtime to be entered.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { ctrl_c: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits until one of them has come since the last call.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
