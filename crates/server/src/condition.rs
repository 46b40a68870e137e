//! Something that many tasks of a thread wait for and that hardly ever comes, as the end of the server.
//!
//! Whoever waits is known here from its first poll on, and costs no more than a look at a flag each time it is
//! polled again.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;
use tokio::task::spawn_local;

/// A condition, at first not met.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    is_met: Cell<bool>,
    waiting: RefCell<Waiting>,
}

/// Wakers by their places.
#[derive(Debug, Default)]
struct Waiting {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// Resolves once the condition is met.
#[derive(Debug)]
pub(crate) struct Met<'a> {
    condition: &'a Condition,
    place: Option<usize>,
}

impl Condition {
    /// A condition that is met once `sender` has said so. Must be called in a `LocalSet`.
    pub(crate) fn follow(mut sender: watch::Receiver<bool>) -> Rc<Condition> {
        let condition = Rc::<Condition>::default();
        let followed = Rc::clone(&condition);
        spawn_local(async move {
            // If the sender is gone, nobody can say otherwise any more.
            let _ = sender.wait_for(|is_met| *is_met).await;
            followed.set(true);
        });
        condition
    }

    /// Says whether the condition is met; wakes all who wait for it if it is.
    pub(crate) fn set(&self, is_met: bool) {
        self.is_met.set(is_met);
        if is_met {
            self.waiting.borrow().places.iter().flatten().for_each(Waker::wake_by_ref);
        }
    }

    /// Waits until the condition is met. One that has been met meanwhile and no longer is may be missed.
    pub(crate) fn met(&self) -> Met<'_> {
        Met { condition: self, place: None }
    }
}

impl Future for Met<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.condition.is_met.get() {
            return Poll::Ready(());
        }
        let place = self.place;
        self.place = Some(self.condition.waiting.borrow_mut().stay(place, cx));
        Poll::Pending
    }
}

impl Drop for Met<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.condition.waiting.borrow_mut().leave(place);
        }
    }
}

impl Waiting {
    /// Lets a task be woken that has this place, or none so far. Returns its place.
    fn stay(&mut self, place: Option<usize>, cx: &Context<'_>) -> usize {
        let place = place.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let waker = &mut self.places[place];
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        place
    }

    fn leave(&mut self, place: usize) {
        self.places[place] = None;
        self.free.push(place);
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
    fn all_who_wait_are_woken_when_it_is_met() {
        let (condition, counter) = (Condition::default(), Arc::new(Counter::default()));
        let waker = Waker::from(Arc::clone(&counter));
        let mut cx = Context::from_waker(&waker);
        let (mut first, mut second) = (pin!(condition.met()), pin!(condition.met()));
        assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
        condition.set(false);
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
        condition.set(true);
        assert_eq!(counter.0.load(Ordering::Relaxed), 2);
        assert!(first.poll(&mut cx).is_ready() && second.poll(&mut cx).is_ready());
    }

    #[test]
    fn who_no_longer_waits_leaves_nothing_behind() {
        let condition = Condition::default();
        for _ in 0..3 {
            let met = pin!(condition.met());
            assert!(met.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let waiting = condition.waiting.borrow();
        assert!(waiting.places.iter().all(Option::is_none) && waiting.places.len() == waiting.free.len());
    }
}
