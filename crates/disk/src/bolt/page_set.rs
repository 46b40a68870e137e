//! Which pages were seen: one bit each.

/// A set of page numbers below a bound.
#[derive(Debug)]
pub(super) struct PageSet {
    words: Vec<u64>,
}

impl PageSet {
    /// An empty set of pages below `pages`.
    pub(super) fn new(pages: u64) -> PageSet {
        let words = usize::try_from(pages.div_ceil(64)).expect("the number of pages was limited");
        PageSet { words: vec![0; words] }
    }

    /// Adds a page, which must be below the bound; false if it was there.
    pub(super) fn insert(&mut self, page: u64) -> bool {
        let word = &mut self.words[(page / 64) as usize];
        let bit = 1 << (page % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Whether a page below the bound is in the set.
    pub(super) fn contains(&self, page: u64) -> bool {
        self.words[(page / 64) as usize] & (1 << (page % 64)) != 0
    }
}
