//! One connection as a task: reads, runs calls, writes.
//!
//! Each time it is woken it works in rounds: read once, start the calls that came with that, poll those that
//! were woken, write all that has been answered. It sleeps when a round has read nothing and no call was
//! woken. When its [`time_slice`] is over, other connections go on first; it can be over between any two
//! frames of the input. Calls that arrive while too many answers wait for the client are started later, and
//! refused if there are too many.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http2::{Config, Connection, Event, Output};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::call::Call;
use super::input::Input;
use super::link::{Link, Traffic};
use super::routes::Routes;
use super::tasks::Tasks;
use super::{Limits, Service};
use crate::time_slice;

/// What a read costs beside its bytes: there are no more than four in a time slice.
const READ_COST: usize = 64 << 10;

/// Pieces of output that one system call takes.
const SLICES_MAX: usize = 64;

/// Calls that wait to be started; more are refused.
const WAITING_MAX: usize = 1000;

/// How long after a read a connection frees the memory of calls that have ended.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// How long a client that broke the connection has for reading why.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// Serves a connection until the client closes it or, once `stop` resolves, until the calls that are open
/// then have ended: the client is told to go elsewhere (GOAWAY) and no new calls are taken.
///
/// The error says how the client broke the connection.
pub async fn serve<S: Service>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    service: Rc<S>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let handle = |service: Rc<S>, route, call| async move { service.call(route, call).await };
    let mut session = Session::new(io, peer, limits, service, handle);
    let mut stop = pin!(stop);
    let mut is_stopping = false;
    let end = poll_fn(|cx| {
        if !is_stopping && stop.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            session.link.connection().shut_down(Instant::now().into_std());
        }
        session.poll(cx)
    })
    .await;
    session.close(end).await
}

/// Why a connection is no longer served.
#[derive(Debug)]
enum End {
    /// The client closed it, or all is done.
    Orderly,
    /// The client broke the protocol and is to be told so.
    Broken(http2::Error),
    /// The socket failed, or the client is silent.
    Lost(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => End::Orderly,
            _ => End::Lost(error),
        }
    }
}

/// A connection and its calls, which `handle` makes futures of.
struct Session<T, S: Service, H, F> {
    io: T,
    limits: Limits,
    service: Rc<S>,
    handle: H,
    routes: Routes<S::Route>,
    link: Rc<Link>,
    input: Input,
    /// Calls not yet started.
    waiting: VecDeque<(Rc<S::Route>, Call)>,
    tasks: Tasks<F>,
    /// Whether the last round has not read because calls were left over.
    has_deferred_read: bool,
    /// When the connection wants to look at the clock.
    timer: Pin<Box<Sleep>>,
    /// When the memory of ended calls is freed; `None` if nothing has been read since the last time.
    shrink_at: Option<Instant>,
}

impl<T, S, H, F> Session<T, S, H, F>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service,
    H: Fn(Rc<S>, Rc<S::Route>, Call) -> F,
    F: Future<Output = ()>,
{
    fn new(io: T, peer: SocketAddr, limits: Limits, service: Rc<S>, handle: H) -> Session<T, S, H, F> {
        let Limits { concurrent_streams_max, keepalive, .. } = limits;
        let config = Config { concurrent_streams_max, keepalive };
        let connection = Connection::new(config, Instant::now().into_std());
        let timer = Box::pin(sleep_until(connection.deadline().into()));
        let (link, waiting) = (Link::new(connection, peer), VecDeque::new());
        Session {
            io,
            limits,
            service,
            handle,
            routes: Routes::default(),
            link,
            input: Input::default(),
            waiting,
            tasks: Tasks::new(),
            has_deferred_read: false,
            timer,
            shrink_at: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        time_slice::begin();
        let end = self.run_slice(cx);
        time_slice::end();
        end
    }

    fn run_slice(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while !time_slice::is_over() {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) if self.link.connection().is_done() && self.tasks.is_empty() => {
                    return Poll::Ready(End::Orderly);
                }
                Ok(false) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
        // Tokio wakes a task that yields after it has looked at the sockets. One that wakes itself comes
        // first, and so would keep the others from being looked at.
        let mut yielding = pin!(yield_now());
        if yielding.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Does all that can be done at once. False if nothing more can.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let was_full = !self.link.connection().wants_input();
        let is_reading = !was_full && self.may_read();
        let has_read = is_reading && self.receive(cx)?;
        self.start_calls();
        self.tasks.poll_woken(|| !time_slice::is_over());
        self.write(cx)?;
        self.link.wake_if_room();
        self.look_at_clock(cx)?;
        // What came while nothing was read has woken this task already, and will not do so again.
        let is_unread = !is_reading && self.link.connection().wants_input();
        Ok(has_read || is_unread || time_slice::is_over() || !self.tasks.sleep(cx))
    }

    /// Whether to read now: not while calls can be started that were read before. Calls that the last time
    /// slice has left woken come first, but only once: some may be woken in each slice for a long time, and
    /// the client must be heard meanwhile.
    fn may_read(&mut self) -> bool {
        if !self.waiting.is_empty() && !self.link.connection().is_congested() {
            return false;
        }
        self.has_deferred_read = self.tasks.is_behind() && !self.has_deferred_read;
        !self.has_deferred_read
    }

    /// Handles what the last time slice has left of the input, or reads once and handles that. False if
    /// there was nothing.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.input.is_handled() {
            let Poll::Ready(read) = self.input.poll_read(&mut self.io, cx) else { return Ok(false) };
            read?;
            time_slice::charge(READ_COST + self.input.unhandled().len());
        }
        let now = Instant::now();
        self.shrink_at.get_or_insert(now + SHRINK_AFTER);
        while !time_slice::is_over() {
            let mut connection = self.link.connection();
            let event = connection.next_event(self.input.unhandled(), now.into_std()).map_err(End::Broken)?;
            time_slice::charge(connection.take_cost());
            drop(connection);
            let Some(event) = event else {
                self.input.wait_for_more();
                break;
            };
            self.take(event, now);
        }
        Ok(true)
    }

    fn take(&mut self, event: Event<Traffic>, now: Instant) {
        match event {
            Event::Request { id, head, is_end } => {
                if is_end {
                    self.link.push(id, &[], true);
                }
                if self.waiting.len() >= WAITING_MAX && self.link.connection().is_congested() {
                    return self.link.connection().reset(id, http2::Code::RefusedStream);
                }
                match self.routes.find(head, |head| self.service.route(head)) {
                    Ok((preamble, route)) => {
                        let call = Call::new(&self.link, id, preamble, now, self.limits.message_len_max);
                        self.waiting.push_back((route, call));
                    }
                    Err(refusal) => {
                        time_slice::charge(time_slice::CALL_COST);
                        refusal.send(&mut self.link.connection(), id);
                    }
                }
            }
            Event::Data { id, data, is_end } => self.link.push(id, &data, is_end),
            Event::StreamGone { owner } => owner.leave(),
            Event::Handled => {}
        }
    }

    /// Starts calls when all that was read with them is in place, so that most need not wait for it.
    fn start_calls(&mut self) {
        while !time_slice::is_over()
            && !self.link.connection().is_congested()
            && let Some((route, call)) = self.waiting.pop_front()
        {
            if !call.is_gone() {
                self.tasks.start((self.handle)(Rc::clone(&self.service), route, call));
            }
        }
    }

    /// Writes until the output is empty or the socket full.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let mut connection = self.link.connection();
            connection.fill_output(Traffic::sent);
            time_slice::charge(connection.take_cost());
            let output = connection.output();
            if output.is_empty() {
                return Ok(());
            }
            match poll_write(&mut self.io, output, cx) {
                Poll::Ready(written) => {
                    let len = written?;
                    output.advance(len);
                    time_slice::charge(len);
                }
                Poll::Pending => return Ok(()),
            }
            if time_slice::is_over() {
                return Ok(());
            }
        }
    }

    fn look_at_clock(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let deadline = self.deadline();
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        // Deadlines that moved on meanwhile are found out when the timer rings, not at each read.
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if !self.link.connection().tick(now.into_std()) {
                return Err(End::Lost(io::ErrorKind::TimedOut.into()));
            }
            if self.shrink_at.take_if(|at| *at <= now).is_some() {
                self.tasks.shrink();
            }
            let deadline = self.deadline();
            self.timer.as_mut().reset(deadline);
            self.write(cx)?;
        }
        Ok(())
    }

    /// When to look at the clock again.
    fn deadline(&self) -> Instant {
        let deadline = self.link.connection().deadline().into();
        self.shrink_at.map_or(deadline, |at| at.min(deadline))
    }

    /// Lets the calls see that their client is gone, and end; other connections have their turn in between.
    async fn end_calls(&mut self) {
        let owners: Vec<Traffic> = self.link.connection().abandon().collect();
        let mut owners = owners.into_iter();
        loop {
            time_slice::begin();
            while !time_slice::is_over()
                && let Some(owner) = owners.next()
            {
                time_slice::charge(time_slice::CALL_COST);
                owner.leave();
            }
            self.tasks.poll_woken(|| !time_slice::is_over());
            time_slice::end();
            if owners.len() == 0 && !self.tasks.is_behind() {
                return;
            }
            yield_now().await;
        }
    }

    /// Ends the calls, since their client is gone, then tells the client why it is disconnected if it is
    /// still there.
    async fn close(mut self, end: End) -> io::Result<()> {
        self.end_calls().await;
        drop((self.tasks, self.waiting));
        match end {
            End::Lost(error) => Err(error),
            End::Orderly => self.io.shutdown().await,
            End::Broken(error) => {
                let output = std::mem::take(self.link.connection().output());
                // A client that does not read is not waited for.
                let _ = timeout(FAREWELL_TIME_MAX, farewell(self.io, output)).await;
                Err(io::Error::other(error))
            }
        }
    }
}

fn poll_write(
    io: &mut (impl AsyncWrite + Unpin),
    output: &Output,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let n = output.slices(&mut slices);
    match Pin::new(io).poll_write_vectored(cx, &slices[..n]) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        polled => polled,
    }
}

/// Writes what is left and waits until the client has closed: a socket closed with unread input loses its
/// output.
async fn farewell(mut io: impl AsyncRead + AsyncWrite + Unpin, mut output: Output) -> io::Result<()> {
    while !output.is_empty() {
        let len = poll_fn(|cx| poll_write(&mut io, &output, cx)).await?;
        output.advance(len);
    }
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(u64::MAX), &mut tokio::io::sink()).await.map(drop)
}

#[cfg(test)]
mod tests;
