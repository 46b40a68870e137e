//! The memory of the nodes of a tree: blocks, so that growth never moves a node.
//!
//! In one vector, the insertion that makes it grow would copy all nodes: at ten million keys a pause of some
//! milliseconds, and longer the more there are.

use std::ops::{Index, IndexMut};

/// Items of a block.
const BLOCK_LEN: usize = 256;

/// Items by number. The first one added has number 0.
#[derive(Debug)]
pub(super) struct Arena<T> {
    blocks: Vec<Vec<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { blocks: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK_LEN + last.len())
    }

    /// Adds an item and returns its number. [`u32::MAX`] is never given: it means that there is no item.
    pub(super) fn push(&mut self, item: T) -> u32 {
        let id = u32::try_from(self.len()).ok().filter(|&id| id != u32::MAX);
        match self.blocks.last_mut().filter(|last| last.len() < BLOCK_LEN) {
            Some(block) => block.push(item),
            None => {
                let mut block = Vec::with_capacity(BLOCK_LEN);
                block.push(item);
                self.blocks.push(block);
            }
        }
        id.expect("4 billion nodes do not fit into memory")
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        &self.blocks[id as usize / BLOCK_LEN][id as usize % BLOCK_LEN]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.blocks[id as usize / BLOCK_LEN][id as usize % BLOCK_LEN]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_where_they_are() {
        let mut arena = Arena::default();
        assert_eq!(arena.push(0), 0);
        let first: *const usize = &raw const arena[0];
        for n in 1..3 * BLOCK_LEN {
            assert_eq!(arena.push(n) as usize, n);
        }
        arena[300] = 7;
        assert_eq!((arena.len(), arena[300], arena[299]), (3 * BLOCK_LEN, 7, 299));
        assert_eq!(first, &raw const arena[0]);
    }
}
