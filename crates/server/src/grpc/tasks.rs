//! The calls of a connection that are not finished, each a future with a place of its own.
//!
//! A call is polled when it starts, and most end with that. One that waits stays in its place until it is
//! woken. All that were woken are polled together when the connection's task runs, so that their answers
//! share a write.
//!
//! A place that has become free keeps its memory for the next call, until [`Tasks::shrink`]: in a burst,
//! calls cost no allocation. That is why places are not kept in a `Slab`, which drops what is removed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use crate::time_slice;

/// The calls of one connection.
pub(super) struct Tasks<F> {
    places: Vec<Place<F>>,
    free: Vec<usize>,
    wake_queue: Arc<WakeQueue>,
    /// The places that are to be polled next.
    due: VecDeque<usize>,
}

struct Place<F> {
    future: Pin<Box<Option<F>>>,
    waker: Waker,
    place_waker: Arc<PlaceWaker>,
}

/// The waker of the call in a place.
#[derive(Debug)]
struct PlaceWaker {
    place: usize,
    is_queued: AtomicBool,
    wake_queue: Arc<WakeQueue>,
}

/// Wakes the connection's task, once for all places that are woken while it sleeps.
#[derive(Debug, Default)]
struct WakeQueue(Mutex<WakeState>);

#[derive(Debug, Default)]
struct WakeState {
    /// Places that were woken and not polled since.
    woken: Vec<usize>,
    /// The waker of the connection's task, while that sleeps.
    sleeper: Option<Waker>,
}

impl<F: Future<Output = ()>> Tasks<F> {
    pub(super) fn new() -> Tasks<F> {
        Tasks { places: Vec::new(), free: Vec::new(), wake_queue: Arc::default(), due: VecDeque::new() }
    }

    /// Starts a call.
    pub(super) fn start(&mut self, future: F) {
        let place = self.free.pop().unwrap_or_else(|| self.add_place());
        self.places[place].future.as_mut().set(Some(future));
        self.poll(place);
    }

    /// Polls the calls that have been woken, as long as `may_go_on`; the others come first the next time.
    pub(super) fn poll_woken(&mut self, may_go_on: impl Fn() -> bool) {
        self.due.extend(self.wake_queue.lock().woken.drain(..));
        while may_go_on()
            && let Some(place) = self.due.pop_front()
        {
            // A call may be woken after its end, when its place has another call or is gone.
            if let Some(woken) = self.places.get(place) {
                woken.place_waker.is_queued.store(false, Ordering::Release);
                self.poll(place);
            }
        }
    }

    /// Whether [`Tasks::poll_woken`] has left some to be polled.
    pub(super) fn is_behind(&self) -> bool {
        !self.due.is_empty()
    }

    /// Lets `cx` be woken for the calls. False if some already wait to be polled.
    pub(super) fn sleep(&mut self, cx: &Context<'_>) -> bool {
        let mut state = self.wake_queue.lock();
        let may_sleep = state.woken.is_empty() && self.due.is_empty();
        if may_sleep && !state.sleeper.as_ref().is_some_and(|sleeper| sleeper.will_wake(cx.waker())) {
            state.sleeper = Some(cx.waker().clone());
        }
        may_sleep
    }

    /// Frees the memory of all places behind the last one that is in use.
    pub(super) fn shrink(&mut self) {
        while self.places.pop_if(|place| place.future.is_none()).is_some() {}
        self.free.retain(|place| *place < self.places.len());
        self.places.shrink_to_fit();
        self.free.shrink_to_fit();
    }

    /// Whether no call is open.
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    fn add_place(&mut self) -> usize {
        let place = self.places.len();
        let place_waker =
            PlaceWaker { place, is_queued: AtomicBool::new(false), wake_queue: Arc::clone(&self.wake_queue) };
        let place_waker = Arc::new(place_waker);
        let waker = Waker::from(Arc::clone(&place_waker));
        self.places.push(Place { future: Box::pin(None), waker, place_waker });
        place
    }

    fn poll(&mut self, index: usize) {
        let place = &mut self.places[index];
        let Some(future) = place.future.as_mut().as_pin_mut() else { return };
        time_slice::charge(time_slice::CALL_COST);
        if future.poll(&mut Context::from_waker(&place.waker)).is_ready() {
            place.future.as_mut().set(None);
            self.free.push(index);
        }
    }
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.wake_queue.lock();
        state.woken.push(self.place);
        let sleeper = state.sleeper.take();
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}

impl WakeQueue {
    fn lock(&self) -> MutexGuard<'_, WakeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Poll;

    use super::*;

    /// A call that is done when told so, and counts how often it was polled.
    #[derive(Default)]
    struct Switch {
        is_on: Cell<bool>,
        n_polls: Cell<u32>,
        waker: RefCell<Option<Waker>>,
    }

    async fn wait_for(switch: Rc<Switch>) {
        poll_fn(|cx| {
            switch.n_polls.set(switch.n_polls.get() + 1);
            *switch.waker.borrow_mut() = Some(cx.waker().clone());
            if switch.is_on.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn switch(is_on: bool) -> Rc<Switch> {
        Rc::new(Switch { is_on: Cell::new(is_on), ..Switch::default() })
    }

    fn turn_on(switch: &Switch) {
        switch.is_on.set(true);
        switch.waker.borrow().as_ref().unwrap().wake_by_ref();
    }

    #[test]
    fn call_that_needs_not_wait_is_done_at_once() {
        let mut tasks = Tasks::new();
        for _ in 0..3 {
            tasks.start(wait_for(switch(true)));
            assert!(tasks.is_empty());
        }
        assert_eq!(tasks.places.len(), 1, "the place is used again");
    }

    #[test]
    fn only_woken_calls_are_polled() {
        let mut tasks = Tasks::new();
        let (first, second) = (switch(false), switch(false));
        tasks.start(wait_for(Rc::clone(&first)));
        tasks.start(wait_for(Rc::clone(&second)));
        turn_on(&second);
        turn_on(&second);
        tasks.poll_woken(|| true);
        assert_eq!((first.n_polls.get(), second.n_polls.get()), (1, 2));
        assert!(!tasks.is_empty());
        turn_on(&first);
        tasks.poll_woken(|| true);
        assert!(tasks.is_empty());
    }

    #[test]
    fn calls_left_over_are_polled_first_the_next_time() {
        let mut tasks = Tasks::new();
        let calls = [(); 3].map(|()| switch(false));
        calls.iter().for_each(|call| tasks.start(wait_for(Rc::clone(call))));
        let n_polls = || calls.iter().map(|call| call.n_polls.get() - 1).sum::<u32>();
        calls.iter().for_each(|call| turn_on(call));
        tasks.poll_woken(|| n_polls() < 2);
        assert_eq!(n_polls(), 2);
        assert!(!tasks.sleep(&Context::from_waker(Waker::noop())));
        tasks.poll_woken(|| true);
        assert!(tasks.is_empty());
    }

    #[test]
    fn task_does_not_sleep_while_a_call_is_due() {
        let mut tasks = Tasks::new();
        let call = switch(false);
        tasks.start(wait_for(Rc::clone(&call)));
        assert!(tasks.sleep(&Context::from_waker(Waker::noop())));
        turn_on(&call);
        assert!(!tasks.sleep(&Context::from_waker(Waker::noop())));
    }

    #[test]
    fn no_free_place_behind_the_last_open_call_is_kept() {
        let mut tasks = Tasks::new();
        let calls = [(); 3].map(|()| switch(false));
        calls.iter().for_each(|call| tasks.start(wait_for(Rc::clone(call))));
        for (ended, n_kept) in [(0, 3), (2, 2), (1, 0)] {
            turn_on(&calls[ended]);
            tasks.poll_woken(|| true);
            tasks.shrink();
            assert_eq!(tasks.places.len(), n_kept);
        }
        assert!(tasks.is_empty());
    }

    #[test]
    fn waking_a_call_that_has_ended_does_nothing() {
        let mut tasks = Tasks::new();
        let call = switch(true);
        tasks.start(wait_for(Rc::clone(&call)));
        tasks.shrink();
        turn_on(&call);
        tasks.poll_woken(|| true);
        let next = switch(false);
        tasks.start(wait_for(Rc::clone(&next)));
        turn_on(&call);
        tasks.poll_woken(|| true);
        assert!(!tasks.is_empty());
    }
}
