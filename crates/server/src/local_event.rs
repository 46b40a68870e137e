//! An event that the tasks of one thread wait for, many of them at once, and that is mostly far away, such
//! as the end of the server.
//!
//! A task that waits registers its waker at its first poll; each poll after that costs a look at a flag.
//! That is why this is not `tokio::sync::Notify`, which takes a lock each time: a watch stream is polled for
//! every event, and waits for two of these beside it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::sync::watch;
use tokio::task::spawn_local;

/// An event, at first not set.
#[derive(Debug, Default)]
pub(crate) struct LocalEvent {
    is_set: Cell<bool>,
    waiters: RefCell<Slab<Waker>>,
}

/// Resolves once the event is set.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    event: &'a LocalEvent,
    /// The key of this task's waker among the waiters, from the first poll on.
    key: Option<usize>,
}

impl LocalEvent {
    /// An event that is set once `sender` has sent `true`. Must be called in a `LocalSet`.
    pub(crate) fn follow(mut sender: watch::Receiver<bool>) -> Rc<LocalEvent> {
        let event = Rc::<LocalEvent>::default();
        let followed = Rc::clone(&event);
        spawn_local(async move {
            // An error means that the sender is gone: then it cannot send `false` any more either.
            let _ = sender.wait_for(|is_set| *is_set).await;
            followed.set(true);
        });
        event
    }

    /// Sets or clears the event; setting it wakes all tasks that wait.
    pub(crate) fn set(&self, is_set: bool) {
        self.is_set.set(is_set);
        if is_set {
            self.waiters.borrow().iter().for_each(|(_, waker)| waker.wake_by_ref());
        }
    }

    /// Waits until the event is set. A task that is polled only after the event was cleared again goes on
    /// waiting.
    pub(crate) fn wait(&self) -> Wait<'_> {
        Wait { event: self, key: None }
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.event.is_set.get() {
            return Poll::Ready(());
        }
        let mut waiters = self.event.waiters.borrow_mut();
        match self.key.and_then(|key| waiters.get_mut(key)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                let key = waiters.insert(cx.waker().clone());
                drop(waiters);
                self.key = Some(key);
            }
        }
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.event.waiters.borrow_mut().try_remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_tasks_that_wait_are_woken_when_the_event_is_set() {
        let (event, counter) = (LocalEvent::default(), Arc::new(Counter::default()));
        let waker = Waker::from(Arc::clone(&counter));
        let mut cx = Context::from_waker(&waker);
        let (mut first, mut second) = (pin!(event.wait()), pin!(event.wait()));
        assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
        event.set(false);
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
        event.set(true);
        assert_eq!(counter.0.load(Ordering::Relaxed), 2);
        assert!(first.poll(&mut cx).is_ready() && second.poll(&mut cx).is_ready());
    }

    #[test]
    fn a_task_that_no_longer_waits_leaves_nothing_behind() {
        let event = LocalEvent::default();
        for _ in 0..3 {
            let waiting = pin!(event.wait());
            assert!(waiting.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let waiters = event.waiters.borrow();
        assert!(waiters.is_empty() && waiters.capacity() <= 4);
    }
}
