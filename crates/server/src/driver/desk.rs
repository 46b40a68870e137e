//! Where the tasks of a worker thread write to the node's thread, and wait for its mail.
//!
//! Waking another thread costs a system call. So what the tasks ask collects on the desk until its pump, a task
//! of the same thread, has its turn: behind all tasks that could run by then. The node's thread in turn posts
//! its answers into one mailbox a worker and rings its bell, and the pump hands the letters to the tasks. Many
//! questions or answers, one wake-up.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;
use std::vec::Drain;

use node::{Answer, Input};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

/// How often waiting tasks are checked for having waited too long.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// What a task may find.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The node's answer.
    Answer(Answer),
    /// There is news for a watch stream.
    Signal,
    /// Nothing came in time.
    TimedOut,
}

/// Addresses one waiting task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Which mailbox.
    pub(super) worker: usize,
    slot: usize,
    /// Tells apart the tasks that use a slot one after the other.
    generation: u32,
}

/// The mailbox of one worker.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Vec<(Ticket, Mail)>>,
    bell: Notify,
}

impl Mailbox {
    /// Posts letters, which lie there until the bell rings. Any thread.
    pub(super) fn post(&self, letters: impl IntoIterator<Item = (Ticket, Mail)>) {
        self.letters().extend(letters);
    }

    /// Wakes the worker if there are letters.
    pub(super) fn ring(&self) {
        if !self.letters().is_empty() {
            self.bell.notify_one();
        }
    }

    fn take(&self, letters: &mut Vec<(Ticket, Mail)>) {
        std::mem::swap(&mut *self.letters(), letters);
    }

    fn letters(&self) -> MutexGuard<'_, Vec<(Ticket, Mail)>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The desk of one worker thread, shared by its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    worker: usize,
    mailbox: Arc<Mailbox>,
    slots: Rc<RefCell<Slots>>,
    /// Bounded by the calls that a worker has open: each asks one thing at a time.
    outbox: Rc<RefCell<Vec<Input<Ticket>>>>,
}

#[derive(Debug, Default)]
struct Slots {
    slots: Vec<SlotState>,
    free: Vec<usize>,
    /// Sweeps so far: a clock coarse enough to be free.
    sweeps: u64,
}

#[derive(Debug, Default)]
struct SlotState {
    generation: u32,
    mail: Option<Mail>,
    waker: Option<Waker>,
    /// The sweep at which waiting ends.
    expires: Option<u64>,
}

impl Desk {
    /// The desk of `worker`, whose mailbox this is. [`Desk::pump`] must run on the same thread.
    pub(crate) fn new(worker: usize, mailbox: Arc<Mailbox>) -> Desk {
        Desk { worker, mailbox, slots: Rc::default(), outbox: Rc::default() }
    }

    /// A place to wait for one letter, for up to `limit`.
    pub(crate) fn open(&self, limit: Duration) -> Slot {
        let mut slots = self.slots.borrow_mut();
        let sweeps = limit.as_millis().div_ceil(SWEEP_INTERVAL.as_millis()) as u64;
        let expires = Some(slots.sweeps + sweeps);
        self.slot(&mut slots, expires)
    }

    /// A place to wait for signals, as many as come.
    pub(crate) fn open_signal(&self) -> Slot {
        self.slot(&mut self.slots.borrow_mut(), None)
    }

    /// Tells the node of something. Its answer, if any, goes to the ticket in it.
    pub(crate) fn send(&self, input: Input<Ticket>) {
        let mut outbox = self.outbox.borrow_mut();
        outbox.push(input);
        if outbox.len() == 1 {
            self.mailbox.bell.notify_one();
        }
    }

    /// Carries letters to the node, by `send`, and from it for as long as the thread runs.
    pub(crate) async fn pump(self, mut send: impl FnMut(Drain<'_, Input<Ticket>>)) {
        let mut letters = Vec::new();
        let mut sweep = interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.mailbox.bell.notified() => {
                    send(self.outbox.borrow_mut().drain(..));
                    self.mailbox.take(&mut letters);
                    let mut slots = self.slots.borrow_mut();
                    for (ticket, mail) in letters.drain(..) {
                        slots.deliver(ticket, mail);
                    }
                }
                _ = sweep.tick() => self.slots.borrow_mut().sweep(),
            }
        }
    }

    fn slot(&self, slots: &mut Slots, expires: Option<u64>) -> Slot {
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push(SlotState::default());
            slots.slots.len() - 1
        });
        slots.slots[slot].expires = expires;
        let ticket = Ticket { worker: self.worker, slot, generation: slots.slots[slot].generation };
        Slot { ticket, slots: Rc::clone(&self.slots), mailbox: Arc::clone(&self.mailbox) }
    }
}

impl Slots {
    /// A letter for a task that no longer waits is dropped.
    fn deliver(&mut self, ticket: Ticket, mail: Mail) {
        let slot = &mut self.slots[ticket.slot];
        if slot.generation == ticket.generation {
            slot.mail = Some(mail);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    fn sweep(&mut self) {
        self.sweeps += 1;
        for slot in &mut self.slots {
            if slot.expires.is_some_and(|at| at < self.sweeps) {
                slot.expires = None;
                slot.mail.get_or_insert(Mail::TimedOut);
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            }
        }
    }
}

/// A place at the desk; given up when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    ticket: Ticket,
    slots: Rc<RefCell<Slots>>,
    mailbox: Arc<Mailbox>,
}

impl Slot {
    /// The address to be written to.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Something that wakes this place from any thread, once the bell of the mailbox rings.
    pub(crate) fn signal(&self) -> StreamSignal {
        StreamSignal { ticket: self.ticket, mailbox: Arc::clone(&self.mailbox) }
    }

    /// Waits for the next letter.
    pub(crate) async fn mail(&self) -> Mail {
        poll_fn(|cx| {
            let slot = &mut self.slots.borrow_mut().slots[self.ticket.slot];
            if let Some(mail) = slot.mail.take() {
                return Poll::Ready(mail);
            }
            slot.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots.slots[self.ticket.slot];
        let generation = slot.generation.wrapping_add(1);
        *slot = SlotState { generation, ..SlotState::default() };
        slots.free.push(self.ticket.slot);
    }
}

/// Addresses the task that serves a watch stream; who signals many rings once.
#[derive(Debug)]
pub(crate) struct StreamSignal {
    ticket: Ticket,
    mailbox: Arc<Mailbox>,
}

impl store::Signal for StreamSignal {
    fn signal(&self) {
        self.mailbox.post([(self.ticket, Mail::Signal)]);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::task::LocalSet;

    use super::*;

    /// Runs a test on a paused clock, with the pump of its one desk.
    fn with_desk<F: Future<Output = ()>>(test: impl FnOnce(Desk, Arc<Mailbox>) -> F) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mailbox = Arc::new(Mailbox::default());
            let desk = Desk::new(0, Arc::clone(&mailbox));
            tokio::task::spawn_local(desk.clone().pump(|inputs| drop(inputs)));
            test(desk, mailbox).await;
        });
    }

    #[test]
    fn what_tasks_send_before_the_pump_has_its_turn_goes_together() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let desk = Desk::new(0, Arc::default());
            let sent = Rc::new(RefCell::new(Vec::new()));
            let seen = Rc::clone(&sent);
            tokio::task::spawn_local(desk.clone().pump(move |inputs| seen.borrow_mut().push(inputs.len())));
            for batch in [2, 1] {
                (0..batch).for_each(|_| desk.send(Input::Defragment));
                while !desk.outbox.borrow().is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(*sent.borrow(), [2, 1]);
        });
    }

    #[test]
    fn a_letter_reaches_the_task_it_is_addressed_to() {
        with_desk(|desk, mailbox| async move {
            let (first, second) = (desk.open(Duration::from_secs(5)), desk.open(Duration::from_secs(5)));
            mailbox.post([(second.ticket(), Mail::Signal), (first.ticket(), Mail::Answer(Answer::Readable))]);
            mailbox.ring();
            assert!(matches!(first.mail().await, Mail::Answer(Answer::Readable)));
            assert!(matches!(second.mail().await, Mail::Signal));
        });
    }

    #[test]
    fn a_late_letter_does_not_reach_the_next_user_of_the_place() {
        with_desk(|desk, mailbox| async move {
            let abandoned = desk.open(Duration::from_secs(5));
            let ticket = abandoned.ticket();
            drop(abandoned);
            let next = desk.open(Duration::from_millis(500));
            mailbox.post([(ticket, Mail::Signal)]);
            mailbox.ring();
            assert!(matches!(next.mail().await, Mail::TimedOut));
        });
    }

    #[test]
    fn waiting_ends_at_the_limit() {
        with_desk(|desk, _| async move {
            let start = tokio::time::Instant::now();
            assert!(matches!(desk.open(Duration::from_secs(7)).mail().await, Mail::TimedOut));
            let waited = start.elapsed();
            assert!(waited >= Duration::from_secs(7) && waited <= Duration::from_millis(7600), "{waited:?}");
        });
    }

    #[test]
    fn signals_come_again_and_again() {
        with_desk(|desk, mailbox| async move {
            let slot = desk.open_signal();
            for _ in 0..3 {
                store::Signal::signal(&slot.signal());
                mailbox.ring();
                assert!(matches!(slot.mail().await, Mail::Signal));
            }
        });
    }
}
