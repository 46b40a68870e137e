//! All streams of a connection, found by number.
//!
//! Numbers only grow, so new streams go to the end of a list that stays sorted. Most numbers are
//! consecutive, so the place of a stream is guessed from its distance to the first or the last number of the
//! list; where that fails, a binary search finds it. A stream that ends leaves a gap. Gaps are removed when
//! they are more than the streams, so that a stream open for days does not make the list long.

use std::collections::VecDeque;

use slab::Slab;

use crate::StreamId;
use crate::limits::REMEMBERED_MAX;
use crate::stream::Stream;

/// Memory for streams that an idle connection keeps.
const IDLE_CAPACITY_MAX: usize = 16;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client knew: whatever it sends for the stream after that is an error.
    ByBoth,
    /// We ended it first: what the client sends before it knows is no error.
    ByUs,
}

/// Streams by their numbers.
#[derive(Debug)]
pub(crate) struct Streams<T> {
    /// Ascending; the key in `slab`, or none in a gap.
    index: VecDeque<(StreamId, Option<usize>)>,
    slab: Slab<Stream<T>>,
    /// The streams that ended last.
    endings: VecDeque<(StreamId, Ended)>,
    /// The highest number that a client has used.
    last: StreamId,
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Streams { index: VecDeque::new(), slab: Slab::new(), endings: VecDeque::new(), last: 0 }
    }
}

impl<T> Streams<T> {
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest number used so far.
    pub(crate) fn last(&self) -> StreamId {
        self.last
    }

    /// Whether a number has not been used and may come.
    pub(crate) fn is_idle(&self, id: StreamId) -> bool {
        id > self.last || id.is_multiple_of(2)
    }

    /// Marks a number, higher than all before, as used.
    pub(crate) fn use_number(&mut self, id: StreamId) {
        debug_assert!(self.is_idle(id), "numbers grow");
        self.last = id;
    }

    /// Adds the stream of the last number used.
    pub(crate) fn insert(&mut self, stream: Stream<T>) {
        let key = self.slab.insert(stream);
        self.index.push_back((self.last, Some(key)));
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream<T>> {
        let (_, key) = *self.index.get(self.place(id)?)?;
        self.slab.get_mut(key?)
    }

    pub(crate) fn remove(&mut self, id: StreamId, ended: Ended) -> Option<Stream<T>> {
        let place = self.place(id)?;
        let (_, key) = self.index.get_mut(place)?;
        let stream = self.slab.try_remove(key.take()?)?;
        self.remember(id, ended);
        self.close_gaps();
        Some(stream)
    }

    /// Notes how a number was used up that has no stream, or none any more.
    pub(crate) fn remember(&mut self, id: StreamId, ended: Ended) {
        if self.endings.len() == REMEMBERED_MAX {
            self.endings.pop_front();
        }
        self.endings.push_back((id, ended));
    }

    /// How a stream ended, unless that is long ago.
    pub(crate) fn ending(&self, id: StreamId) -> Option<Ended> {
        self.endings.iter().rev().find(|(other, _)| *other == id).map(|(_, ended)| *ended)
    }

    /// Visits all streams, by ascending number.
    pub(crate) fn for_each_mut(&mut self, mut visit: impl FnMut(StreamId, &mut Stream<T>)) {
        for (id, key) in &self.index {
            if let Some(stream) = key.and_then(|key| self.slab.get_mut(key)) {
                visit(*id, stream);
            }
        }
    }

    /// Takes all streams away.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Stream<T>> {
        self.index.clear();
        std::mem::take(&mut self.slab).into_iter().map(|(_, stream)| stream)
    }

    fn place(&self, id: StreamId) -> Option<usize> {
        let ((first, _), (last, _)) = (self.index.front()?, self.index.back()?);
        let after_first = (id.checked_sub(*first)? / 2) as usize;
        let before_last = (last.checked_sub(id)? / 2) as usize;
        let guesses = [Some(after_first), (self.index.len() - 1).checked_sub(before_last)];
        let is_there = |place: &usize| self.index.get(*place).is_some_and(|(other, _)| *other == id);
        let found = guesses.into_iter().flatten().find(is_there);
        found.or_else(|| self.index.binary_search_by_key(&id, |(id, _)| *id).ok())
    }

    fn close_gaps(&mut self) {
        if self.is_empty() {
            self.index.clear();
            self.index.shrink_to(IDLE_CAPACITY_MAX);
            if self.slab.capacity() > IDLE_CAPACITY_MAX {
                self.slab = Slab::new();
            }
        } else if self.index.len() > 2 * self.len() + IDLE_CAPACITY_MAX {
            self.index.retain(|(_, key)| key.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn add(streams: &mut Streams<u32>, id: StreamId) {
        streams.use_number(id);
        streams.insert(Stream::new(id, 0, None, Instant::now()));
    }

    #[test]
    fn streams_are_found_whatever_gaps_there_are() {
        let mut streams = Streams::default();
        for id in (1..1000).step_by(2) {
            add(&mut streams, id);
        }
        for id in (1..1000).step_by(2).filter(|id| id % 6 != 1) {
            assert_eq!(streams.remove(id, Ended::ByBoth).unwrap().owner, id);
            assert!(streams.get_mut(id).is_none() && streams.remove(id, Ended::ByBoth).is_none());
        }
        for id in (1..1000).step_by(6) {
            assert_eq!(streams.get_mut(id).unwrap().owner, id);
        }
        let mut n_visited = 0;
        streams.for_each_mut(|id, stream| {
            assert_eq!(id, stream.owner);
            n_visited += 1;
        });
        assert_eq!(streams.len(), n_visited);
        assert!(streams.get_mut(1001).is_none());
    }

    #[test]
    fn lasting_stream_does_not_keep_gaps_open() {
        let mut streams = Streams::default();
        add(&mut streams, 1);
        for id in (3..10_000).step_by(2) {
            add(&mut streams, id);
            streams.remove(id, Ended::ByBoth);
        }
        assert!(streams.index.len() <= 2 + IDLE_CAPACITY_MAX);
        assert!(streams.slab.capacity() <= 4);
        assert_eq!(streams.get_mut(1).unwrap().owner, 1);
    }

    #[test]
    fn last_endings_are_remembered() {
        let mut streams = Streams::default();
        for id in (1..1000).step_by(2) {
            add(&mut streams, id);
            streams.remove(id, if id == 999 { Ended::ByUs } else { Ended::ByBoth });
        }
        assert_eq!(streams.ending(999), Some(Ended::ByUs));
        assert_eq!(streams.ending(997), Some(Ended::ByBoth));
        assert_eq!(streams.ending(1), None);
        assert_eq!(streams.endings.len(), REMEMBERED_MAX);
    }
}
