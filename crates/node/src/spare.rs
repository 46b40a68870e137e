//! A spare file: whether one is being made, and when a failed attempt is repeated.

/// The progress of making a spare file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spare {
    /// Nothing is under way.
    Idle,
    /// A job is making the file.
    Making,
    /// There was no space for the file. The next attempt comes after this many ticks.
    Failed {
        /// Ticks until then.
        ticks_left: u32,
    },
}

impl Spare {
    /// Notes that the file was made, or that it was not. With `retry_ticks` the attempt failed, and is
    /// repeated after so many.
    pub(crate) fn finished(&mut self, retry_ticks: Option<u32>) {
        *self = match retry_ticks {
            Some(ticks_left) => Spare::Failed { ticks_left },
            None => Spare::Idle,
        };
    }

    /// Lets a tick pass. True if a failed attempt is to be repeated now.
    pub(crate) fn tick(&mut self) -> bool {
        let Spare::Failed { ticks_left } = self else { return false };
        if *ticks_left > 0 {
            *ticks_left -= 1;
            return false;
        }
        *self = Spare::Idle;
        true
    }

    /// Whether the disk had no space for the file when it was last asked.
    pub(crate) fn has_failed(self) -> bool {
        matches!(self, Spare::Failed { .. })
    }
}
