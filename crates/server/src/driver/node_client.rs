//! Where the tasks of a worker thread send to the node, and wait for its answers.
//!
//! What the tasks send collects until [`NodeClient::run`], a task of the same thread, has its turn: behind all tasks that
//! could run by then. It hands all of it to the node together, and the mail that has come to the tasks. Many
//! questions or answers, one wake-up.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use node::Input;
use proto::etcdserverpb::TxnRequest;
use proto::etcdserverpb::request_op::Request as Op;
use store::Request;
use tokio::time::{MissedTickBehavior, interval};

use super::mailbox::{Mail, Mailbox, StreamSignal, Ticket};

/// How often waiting tasks are checked for having waited too long.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Operations of a transaction that is brief, at most.
const BRIEF_OPS_MAX: usize = 16;

/// Length of a brief command, at most, in bytes.
const BRIEF_LEN_MAX: usize = 16 << 10;

/// Whether a command touches so few keys that no thread minds to carry it out: a put, the grant of a lease, or a
/// transaction of a few operations on one key each.
pub(crate) fn is_brief(request: &Request) -> bool {
    match request {
        Request::Put(put) => put.value.len() <= BRIEF_LEN_MAX,
        Request::LeaseGrant(_) => true,
        Request::Txn(txn) => is_brief_txn(txn),
        _ => false,
    }
}

fn is_brief_txn(txn: &TxnRequest) -> bool {
    let (mut n_ops, mut len) = (txn.compare.len(), 0);
    for op in txn.success.iter().chain(&txn.failure) {
        let is_of_one_key = match &op.request {
            Some(Op::RequestPut(put)) => {
                len += put.value.len();
                true
            }
            Some(Op::RequestRange(range)) => range.range_end.is_empty(),
            Some(Op::RequestDeleteRange(delete)) => delete.range_end.is_empty(),
            Some(Op::RequestTxn(_)) | None => false,
        };
        if !is_of_one_key {
            return false;
        }
        n_ops += 1;
    }
    n_ops <= BRIEF_OPS_MAX
        && len <= BRIEF_LEN_MAX
        && txn.compare.iter().all(|compare| compare.range_end.is_empty())
}

/// The means of one worker thread to reach the node, shared by its tasks.
#[derive(Debug, Clone)]
pub(crate) struct NodeClient {
    worker: usize,
    mailbox: Arc<Mailbox>,
    slots: Rc<RefCell<Slots>>,
    outbox: Rc<RefCell<Outbox>>,
}

/// What the tasks have sent since the node was last told.
#[derive(Debug, Default)]
struct Outbox {
    /// Bounded by the calls that a worker has open: each asks one thing at a time.
    inputs: Vec<Input<Ticket>>,
    /// Whether something other than a brief command is among them.
    has_long: bool,
}

#[derive(Debug, Default)]
struct Slots {
    slots: Vec<SlotState>,
    free: Vec<usize>,
    /// Slots whose waiting may end by itself.
    n_expiring: usize,
    /// Sweeps so far: a clock coarse enough to be free. It stands still while nobody waits.
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

impl NodeClient {
    /// That of `worker`, whose mailbox this is. [`NodeClient::run`] must run on the same thread.
    pub(crate) fn new(worker: usize, mailbox: Arc<Mailbox>) -> NodeClient {
        NodeClient { worker, mailbox, slots: Rc::default(), outbox: Rc::default() }
    }

    /// A place to wait for one answer, for up to `limit`.
    pub(crate) fn open(&self, limit: Duration) -> Slot {
        let mut slots = self.slots.borrow_mut();
        let sweeps = limit.as_millis().div_ceil(SWEEP_INTERVAL.as_millis()) as u64;
        let expires = Some(slots.sweeps + sweeps);
        slots.n_expiring += 1;
        self.slot(&mut slots, expires)
    }

    /// A place to wait for signals, as many as come.
    pub(crate) fn open_signal(&self) -> Slot {
        self.slot(&mut self.slots.borrow_mut(), None)
    }

    /// Tells the node of something. Its answer, if any, goes to the ticket in it.
    pub(crate) fn send(&self, input: Input<Ticket>) {
        self.outbox.borrow_mut().has_long = true;
        self.send_brief(input);
    }

    /// The same for the proposal of a brief command ([`is_brief`]).
    pub(crate) fn send_brief(&self, input: Input<Ticket>) {
        let inputs = &mut self.outbox.borrow_mut().inputs;
        inputs.push(input);
        if inputs.len() == 1 {
            self.mailbox.notify_always();
        }
    }

    /// Hands over what the tasks send, by `send`, and the mail that comes, for as long as the thread runs. `send` takes
    /// the number of this worker, the inputs, which it leaves empty, and whether all of them are brief.
    pub(crate) async fn run(self, mut send: impl FnMut(usize, &mut Vec<Input<Ticket>>, bool)) {
        let mut mail = Vec::new();
        let mut sweep = interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let may_expire = self.slots.borrow().n_expiring > 0;
            tokio::select! {
                () = self.mailbox.notified() => {
                    {
                        let Outbox { inputs, has_long } = &mut *self.outbox.borrow_mut();
                        if !inputs.is_empty() {
                            send(self.worker, inputs, !std::mem::take(has_long));
                        }
                    }
                    self.mailbox.take(&mut mail);
                    let mut slots = self.slots.borrow_mut();
                    for (ticket, mail) in mail.drain(..) {
                        slots.deliver(ticket, mail);
                    }
                }
                _ = sweep.tick(), if may_expire => self.slots.borrow_mut().sweep(),
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
    /// Mail for a task that no longer waits is dropped.
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
                self.n_expiring -= 1;
                slot.mail.get_or_insert(Mail::TimedOut);
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            }
        }
    }
}

/// A place to wait; given up when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    ticket: Ticket,
    slots: Rc<RefCell<Slots>>,
    mailbox: Arc<Mailbox>,
}

impl Slot {
    /// The address for mail.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Something that wakes this place from any thread, once the worker is notified.
    pub(crate) fn signal(&self) -> StreamSignal {
        StreamSignal { ticket: self.ticket, mailbox: Arc::clone(&self.mailbox) }
    }

    /// Waits for the next mail.
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
        let may_expire = slot.expires.is_some();
        *slot = SlotState { generation, ..SlotState::default() };
        slots.n_expiring -= usize::from(may_expire);
        slots.free.push(self.ticket.slot);
    }
}

#[cfg(test)]
mod tests {
    use node::Answer;
    use proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp};
    use tokio::runtime::Builder;
    use tokio::task::LocalSet;

    use super::*;

    /// Runs a test on a paused clock, with the task of its one node_client.
    fn with_node_client<F: Future<Output = ()>>(test: impl FnOnce(NodeClient, Arc<Mailbox>) -> F) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mailbox = Arc::new(Mailbox::default());
            let node_client = NodeClient::new(0, Arc::clone(&mailbox));
            tokio::task::spawn_local(node_client.clone().run(|_, inputs, _| inputs.clear()));
            test(node_client, mailbox).await;
        });
    }

    #[test]
    fn what_tasks_send_before_it_is_handed_over_goes_together() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let node_client = NodeClient::new(7, Arc::default());
            let sent = Rc::new(RefCell::new(Vec::new()));
            let seen = Rc::clone(&sent);
            tokio::task::spawn_local(node_client.clone().run(move |worker, inputs, are_brief| {
                seen.borrow_mut().push((worker, inputs.drain(..).count(), are_brief));
            }));
            for batch in [2, 1] {
                (0..batch).for_each(|_| node_client.send(Input::Tick));
                while !node_client.outbox.borrow().inputs.is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(*sent.borrow(), [(7, 2, false), (7, 1, false)]);
        });
    }

    #[test]
    fn only_commands_of_a_few_short_keys_are_brief() {
        let put = |len| PutRequest { value: vec![0; len].into(), ..PutRequest::default() };
        let range = |end: &'static [u8]| RangeRequest { range_end: end.into(), ..RangeRequest::default() };
        let txn = |op: Op, n: usize| {
            let success = vec![RequestOp { request: Some(op) }; n];
            Request::Txn(TxnRequest { success, ..TxnRequest::default() })
        };
        assert!(is_brief(&Request::Put(put(BRIEF_LEN_MAX))));
        assert!(!is_brief(&Request::Put(put(BRIEF_LEN_MAX + 1))));
        assert!(is_brief(&txn(Op::RequestPut(put(1)), BRIEF_OPS_MAX)));
        assert!(!is_brief(&txn(Op::RequestPut(put(1)), BRIEF_OPS_MAX + 1)), "many operations");
        assert!(!is_brief(&txn(Op::RequestPut(put(BRIEF_LEN_MAX / 2 + 1)), 2)), "long together");
        assert!(is_brief(&txn(Op::RequestRange(range(b"")), 1)));
        assert!(!is_brief(&txn(Op::RequestRange(range(b"z")), 1)), "a range of keys");
        assert!(!is_brief(&txn(Op::RequestTxn(TxnRequest::default()), 1)), "a transaction in another");
        let compare = vec![Compare { range_end: b"z"[..].into(), ..Compare::default() }];
        assert!(!is_brief(&Request::Txn(TxnRequest { compare, ..TxnRequest::default() })));
        assert!(!is_brief(&Request::DeleteRange(DeleteRangeRequest::default())));
    }

    #[test]
    fn mail_reaches_the_task_it_is_addressed_to() {
        with_node_client(|node_client, mailbox| async move {
            let (first, second) =
                (node_client.open(Duration::from_secs(5)), node_client.open(Duration::from_secs(5)));
            mailbox.post([(second.ticket(), Mail::Signal), (first.ticket(), Mail::Answer(Answer::Readable))]);
            mailbox.notify();
            assert!(matches!(first.mail().await, Mail::Answer(Answer::Readable)));
            assert!(matches!(second.mail().await, Mail::Signal));
        });
    }

    #[test]
    fn late_mail_does_not_reach_the_next_user_of_the_place() {
        with_node_client(|node_client, mailbox| async move {
            let abandoned = node_client.open(Duration::from_secs(5));
            let ticket = abandoned.ticket();
            drop(abandoned);
            let next = node_client.open(Duration::from_millis(500));
            mailbox.post([(ticket, Mail::Signal)]);
            mailbox.notify();
            assert!(matches!(next.mail().await, Mail::TimedOut));
        });
    }

    #[test]
    fn waiting_ends_at_the_limit() {
        with_node_client(|node_client, _| async move {
            let start = tokio::time::Instant::now();
            assert!(matches!(node_client.open(Duration::from_secs(7)).mail().await, Mail::TimedOut));
            let waited = start.elapsed();
            assert!(waited >= Duration::from_secs(7) && waited <= Duration::from_millis(7600), "{waited:?}");
        });
    }

    #[test]
    fn signals_come_again_and_again() {
        with_node_client(|node_client, mailbox| async move {
            let slot = node_client.open_signal();
            for _ in 0..3 {
                store::Signal::signal(&slot.signal());
                mailbox.notify();
                assert!(matches!(slot.mail().await, Mail::Signal));
            }
        });
    }
}
