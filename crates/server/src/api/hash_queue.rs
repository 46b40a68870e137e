//! The queue of requests for a hash of the store: one is computed at a time, and equal ones share the
//! result.
//!
//! A hash reads the whole store and takes all processor time that it can get. Requests that come meanwhile
//! wait, and find the result there if they ask for the same.

use tokio::sync::Mutex;

/// The requests of one worker; `Q` says what is asked for, `H` is the hash.
#[derive(Debug)]
pub(super) struct HashQueue<Q, H> {
    /// The hash that was computed last, and what for. Locked while the next one is computed.
    last: Mutex<Option<(Q, H)>>,
}

impl<Q, H> Default for HashQueue<Q, H> {
    fn default() -> Self {
        HashQueue { last: Mutex::new(None) }
    }
}

impl<Q: Copy + PartialEq, H: Copy> HashQueue<Q, H> {
    /// Waits for the requests before this one, then answers it: with the last result if `query` is what that
    /// is for, else by `compute`. `query` is made when the wait is over, so that it can tell what the store
    /// is like then.
    pub(super) async fn answer<E>(
        &self,
        query: impl FnOnce() -> Q,
        compute: impl AsyncFnOnce(Q) -> Result<H, E>,
    ) -> Result<H, E> {
        let mut last = self.last.lock().await;
        let query = query();
        if let Some((answered, hash)) = *last
            && answered == query
        {
            return Ok(hash);
        }
        let hash = compute(query).await?;
        *last = Some((query, hash));
        Ok(hash)
    }

    /// Waits for the requests before this one, then answers it by `compute`. The result is not shared.
    pub(super) async fn answer_alone<E>(&self, compute: impl AsyncFnOnce() -> Result<H, E>) -> Result<H, E> {
        let _last = self.last.lock().await;
        compute().await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::task::{LocalSet, yield_now};

    use super::*;

    /// Counts hashes that are computed, and those at the same time.
    #[derive(Default)]
    struct Counter {
        n_computed: Cell<usize>,
        n_at_once: Cell<usize>,
    }

    impl Counter {
        async fn compute(&self, hash: u32) -> Result<u32, ()> {
            self.n_computed.set(self.n_computed.get() + 1);
            self.n_at_once.set(self.n_at_once.get() + 1);
            assert_eq!(self.n_at_once.get(), 1, "one at a time");
            yield_now().await;
            self.n_at_once.set(0);
            Ok(hash)
        }
    }

    /// Asks for all `queries` at once; the number of hashes that were computed.
    async fn n_computed(queries: impl Iterator<Item = u32>) -> usize {
        let (queue, counter) = (Rc::new(HashQueue::default()), Rc::new(Counter::default()));
        let tasks = LocalSet::new();
        for query in queries {
            let (queue, counter) = (Rc::clone(&queue), Rc::clone(&counter));
            tasks.spawn_local(async move {
                let hash = queue.answer(|| query, async |query| counter.compute(10 * query).await).await;
                assert_eq!(hash, Ok(10 * query));
            });
        }
        tasks.await;
        counter.n_computed.get()
    }

    #[tokio::test]
    async fn equal_hashes_at_once_are_computed_once() {
        assert_eq!(n_computed((0..400).map(|_| 7)).await, 1);
    }

    #[tokio::test]
    async fn different_hashes_are_computed_one_after_the_other() {
        assert_eq!(n_computed(0..50).await, 50);
    }

    #[tokio::test]
    async fn a_failure_is_nobody_elses() {
        let queue = HashQueue::default();
        assert_eq!(queue.answer(|| 1, async |_| Err::<u32, _>("damaged")).await, Err("damaged"));
        assert_eq!(queue.answer(|| 1, async |_| Ok::<_, &str>(5)).await, Ok(5));
    }
}
