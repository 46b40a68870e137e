//! Defragmentation: gives back the space of all dead records, however few are in a segment, when a client
//! asks for it.
//!
//! The space of a record can be given back once compaction has trimmed it. So a run first waits for the
//! compactions that were asked for before it; then it has segments rewritten; then a checkpoint releases the
//! old files.

/// Limit of rewrites in a run: this many for each segment that existed at its beginning, and this many more.
/// Without a limit a run would never end while new records die all the time.
const REWRITINGS_PER_SEGMENT: usize = 2;
const REWRITINGS_MORE: usize = 8;

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no run.
    Idle,
    /// The compaction at this revision, and all before it.
    Trimming {
        /// The revision.
        up_to: i64,
    },
    /// That no segment has dead records, or that this many more rewrites are done.
    Rewriting {
        /// How many.
        left: usize,
    },
    /// A checkpoint that does not list the old segments, and the removal of their files.
    Releasing,
}

/// The runs, one after the other.
#[derive(Debug)]
pub(super) struct Defragmentation {
    stage: Stage,
    /// Number of the run under way, or of the last.
    run: u64,
    /// Bytes of the data when it began.
    bytes_before: u64,
    /// Whether another run was asked for.
    is_repeated: bool,
    /// Ticks without progress.
    idle_ticks: u32,
}

impl Defragmentation {
    pub(super) fn new() -> Defragmentation {
        Defragmentation { stage: Stage::Idle, run: 0, bytes_before: 0, is_repeated: false, idle_ticks: 0 }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Asks for a run; returns its number. `compacting` is the newest compaction that is under way.
    pub(super) fn request(&mut self, compacting: Option<i64>, bytes: u64) -> u64 {
        match self.stage {
            Stage::Idle => {
                self.begin(compacting, bytes);
                self.run
            }
            // The run has not rewritten anything yet, so it serves this request too.
            Stage::Trimming { up_to } if compacting.is_none_or(|revision| revision <= up_to) => self.run,
            _ => {
                self.is_repeated = true;
                self.run + 1
            }
        }
    }

    /// Begins a run if another one was asked for while the last was under way.
    pub(super) fn begin_repeated(&mut self, compacting: Option<i64>, bytes: u64) {
        if self.stage == Stage::Idle && self.is_repeated {
            self.is_repeated = false;
            self.begin(compacting, bytes);
        }
    }

    fn begin(&mut self, compacting: Option<i64>, bytes: u64) {
        self.run += 1;
        self.bytes_before = bytes;
        self.idle_ticks = 0;
        self.stage = Stage::Trimming { up_to: compacting.unwrap_or(i64::MIN) };
    }

    /// All compactions that the run waits for are finished. There are so many segments.
    pub(super) fn trimmed(&mut self, n_segments: usize) {
        self.stage = Stage::Rewriting { left: REWRITINGS_PER_SEGMENT * n_segments + REWRITINGS_MORE };
    }

    /// A rewriting begins.
    pub(super) fn rewriting(&mut self) {
        if let Stage::Rewriting { left } = &mut self.stage {
            *left = left.saturating_sub(1);
        }
    }

    pub(super) fn advance(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Ends the run; returns its number and the bytes that there were before.
    pub(super) fn finish(&mut self) -> (u64, u64) {
        self.stage = Stage::Idle;
        (self.run, self.bytes_before)
    }

    /// Lets a tick pass. True if a run is under way and has made no progress for `ticks_max`.
    pub(super) fn tick(&mut self, is_moving: bool, ticks_max: u32) -> bool {
        self.idle_ticks = if is_moving { 0 } else { self.idle_ticks.saturating_add(1) };
        self.stage != Stage::Idle && self.idle_ticks > ticks_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_joins_a_run_that_still_waits_for_what_it_is_about() {
        let mut defragmentation = Defragmentation::new();
        assert_eq!(defragmentation.request(Some(5), 100), 1);
        assert_eq!(defragmentation.request(Some(5), 100), 1);
        assert_eq!(defragmentation.request(Some(9), 100), 2, "a later compaction");
        defragmentation.trimmed(3);
        assert_eq!(defragmentation.request(None, 90), 2, "segments may have been looked at");
        assert_eq!(defragmentation.finish(), (1, 100));
        defragmentation.begin_repeated(None, 80);
        assert_eq!(defragmentation.finish(), (2, 80));
        defragmentation.begin_repeated(None, 70);
        assert_eq!(defragmentation.stage(), Stage::Idle);
    }
}
