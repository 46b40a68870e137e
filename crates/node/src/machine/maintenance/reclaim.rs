//! Giving back the space of dead records: segments are rewritten by jobs, and the index is pointed to the
//! copies.

use store::Store;

/// The progress of reclaiming.
///
/// ```text
///   Idle ──▶ Due ──▶ Rewriting ──▶ Relocating ──▶ Due
///             │          └──▶ Failed ──▶ Due
///             └▶ Idle
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reclaim {
    /// Nothing is worth rewriting, as far as is known.
    Idle,
    /// Something has changed: it is time to look whether anything is worth rewriting.
    Due,
    /// A job copies what is needed of some segments.
    Rewriting,
    /// The index is being pointed to the copies.
    Relocating,
    /// There was no space for the copies; the next attempt comes after so many ticks.
    Failed {
        /// Ticks until then.
        ticks_left: u32,
    },
}

impl Reclaim {
    /// Something has changed that may make a rewriting worthwhile, or possible.
    pub(super) fn look(&mut self) {
        match self {
            // When the work under way ends, the state becomes `Due` anyway.
            Reclaim::Rewriting | Reclaim::Relocating => {}
            Reclaim::Idle | Reclaim::Due | Reclaim::Failed { .. } => *self = Reclaim::Due,
        }
    }

    pub(super) fn tick(&mut self) {
        if let Reclaim::Failed { ticks_left } = self {
            match ticks_left.checked_sub(1) {
                Some(left) => *ticks_left = left,
                None => *self = Reclaim::Due,
            }
        }
    }

    /// Looks, if it is time to, for segments worth rewriting; `thoroughly`, for all with dead records.
    pub(super) fn begin(&mut self, store: &mut Store, thoroughly: bool) -> Option<crate::Job> {
        if *self != Reclaim::Due {
            return None;
        }
        let job = store.reclaim_job(thoroughly);
        *self = if job.is_some() { Reclaim::Rewriting } else { Reclaim::Idle };
        job.map(crate::Job::Reclaim)
    }

    /// The copies are made, or (`None`) there was no space for them.
    pub(super) fn finished(
        &mut self,
        rewritten: Option<disk::revision_log::Rewritten>,
        retry_ticks: u32,
        store: &mut Store,
    ) {
        *self = match rewritten {
            Some(rewritten) => {
                store.reclaimed(rewritten);
                Reclaim::Relocating
            }
            None => Reclaim::Failed { ticks_left: retry_ticks },
        };
    }

    /// Points some of the index to the copies. True if that was the last of it: the old segments are retired.
    pub(super) fn relocate_step(&mut self, store: &mut Store) -> bool {
        let has_finished = store.relocate_step();
        if has_finished {
            *self = Reclaim::Due;
        }
        has_finished
    }
}
