//! All records of a log in the order of their keys: the sidecars of its segments, merged.
//!
//! Every segment covers revisions above those of the one before it, so the records of one key come in revision order if
//! equal keys are taken from the earlier segment first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use super::segment::Segment;
use super::sidecar::{Entries, Entry, Sidecar};
use super::{Location, RecordMeta};
use crate::Error;

/// Visits every record of `log`, which is in revision order; see [`super::RevisionLog::load`].
///
/// Memory is taken for a piece of each sidecar, and for one whole sidecar, that of the segment being written. Those that
/// sealed segments lack are made and saved first.
pub(super) fn visit(
    log: &[Arc<Segment>],
    visit: &mut dyn FnMut(&[u8], &RecordMeta, Location),
) -> Result<(), Error> {
    let mut sources = BinaryHeap::with_capacity(log.len());
    for (place, segment) in log.iter().enumerate() {
        let sidecar = Sidecar::load(segment)?;
        let is_sealed = place + 1 < log.len();
        let sidecar = if is_sealed { sidecar.saved()? } else { sidecar };
        let mut entries = sidecar.entries();
        if let Some(first) = entries.next().transpose()? {
            sources.push(Reverse(Source { first, place, entries }));
        }
    }
    while let Some(mut source) = sources.peek_mut() {
        let Reverse(Source { first, place, .. }) = &*source;
        check_order(log, *place, first)?;
        visit(&first.key, &first.meta, first.at);
        match source.0.entries.next().transpose()? {
            Some(next) => source.0.first = next,
            None => drop(PeekMut::pop(source)),
        }
    }
    Ok(())
}

/// One segment's records from `first` on.
#[derive(Debug)]
struct Source {
    first: Entry,
    /// Of its segment in the log.
    place: usize,
    entries: Entries,
}

impl Ord for Source {
    fn cmp(&self, other: &Source) -> Ordering {
        self.first.key.cmp(&other.first.key).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Source {
    fn partial_cmp(&self, other: &Source) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Source {}

/// Whether a record lies within the revisions of its segment.
fn check_order(log: &[Arc<Segment>], place: usize, entry: &Entry) -> Result<(), Error> {
    let revision = entry.meta.revision;
    let is_in_order =
        revision >= log[place].first() && log.get(place + 1).is_none_or(|next| revision < next.first());
    if is_in_order {
        return Ok(());
    }
    let expected = "a revision between the first of this segment and that of the next";
    Err(log[place].corrupt(entry.at.offset.into(), expected))
}
