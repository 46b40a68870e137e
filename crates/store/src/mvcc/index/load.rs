//! Building the index at a restart, from records in the order of their keys.
//!
//! The history of a key is put together and trimmed before the key enters the tree, so that what a
//! compaction has dropped and no rewrite has removed yet costs no memory.

use disk::Location;

use super::history::{History, Trimmed};
use super::journal::Journal;
use super::tree;
use super::{Index, Newest};

/// An index under construction.
#[derive(Debug)]
pub(crate) struct Loader {
    compacted: i64,
    tree: tree::Loader<History>,
    /// The key whose changes are coming, and those so far.
    key: Vec<u8>,
    history: Option<History>,
}

impl Loader {
    /// Begins the index of a store whose last compaction was at main revision `compacted`.
    pub(crate) fn new(compacted: i64) -> Loader {
        Loader { compacted, tree: tree::Loader::default(), key: Vec::new(), history: None }
    }

    /// Takes the next change: keys must ascend, the changes of a key by revision. `dropped` is called for
    /// each record that the compaction has dropped.
    pub(crate) fn put(&mut self, key: &[u8], change: &Newest, dropped: &mut dyn FnMut(Location)) {
        match &mut self.history {
            Some(history) if self.key == key => history.push(change),
            _ => {
                self.finish_key(dropped);
                self.key.clear();
                self.key.extend_from_slice(key);
                self.history = Some(History::new(change));
            }
        }
    }

    /// The index; `revision` is that of the store. Counts at an older one walk until keys come and go again.
    pub(crate) fn finish(mut self, revision: i64, dropped: &mut dyn FnMut(Location)) -> Index {
        self.finish_key(dropped);
        Index { tree: self.tree.finish(), journal: Journal::beginning_after(revision) }
    }

    fn finish_key(&mut self, dropped: &mut dyn FnMut(Location)) {
        if let Some(mut history) = self.history.take()
            && history.trim(self.compacted, &[], &mut { usize::MAX }, &mut |change| dropped(change.location))
                == Trimmed::Done
        {
            self.tree.push(&self.key, history);
        }
    }
}
