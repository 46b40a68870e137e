//! The network between members: a proxy in front of each, with a rule for each direction between two of them.
//!
//! ```text
//!   member 0 ──dials──▶ front of 1 ──▶ where member 1 listens
//!                          │  bytes 0 → 1 obey the rule of link 0 → 1,
//!                          │  bytes 1 → 0 the rule of link 1 → 0
//! ```
//!
//! A front listens on the peer URL that its member advertises, and on the same one for all lives of the member. It
//! knows who dials by [`super::dialer`]. A connection obeys the rules of both its directions at every moment; what
//! is not a member (the test itself) meets no rules.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::dialer;

/// Bytes that a proxy reads at once, and how many such chunks may be on their way in one direction.
const CHUNK_LEN: usize = 16 << 10;
const CHUNKS_MAX: usize = 64;

/// From one member to another, by their places in the cluster.
pub(crate) type Link = (usize, usize);

/// What happens to bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rule {
    /// They pass.
    #[default]
    Open,
    /// They pass so much later, in their order.
    Delayed(Duration),
    /// They are lost, and neither end is told. A connection that has lost some ends with the rule.
    Silent,
    /// Connections break, and new ones break at once.
    Cut,
}

/// The rule of a link, and how many times its connections were broken.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    rule: Rule,
    n_cuts: u64,
}

/// All fronts, and the rules between them.
pub(crate) struct Network {
    rules: watch::Sender<HashMap<Link, State>>,
    shared: Arc<Mutex<Shared>>,
}

/// Processes and where they listen, by place.
#[derive(Default)]
struct Shared {
    pids: Vec<Option<u32>>,
    targets: Vec<Option<SocketAddr>>,
}

impl Network {
    /// A network without members.
    pub(crate) fn new() -> Network {
        Network { rules: watch::Sender::default(), shared: Arc::default() }
    }

    /// A front for the next place; the address that its member advertises.
    pub(crate) async fn add_front(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut shared = self.shared.lock().unwrap();
        let place = shared.targets.len();
        shared.pids.push(None);
        shared.targets.push(None);
        let front = Front { place, rules: self.rules.subscribe(), shared: Arc::clone(&self.shared) };
        tokio::spawn(front.accept(listener));
        address
    }

    /// The member at `place` is now process `pid`, and does not listen yet.
    pub(crate) fn set_process(&self, place: usize, pid: u32) {
        let mut shared = self.shared.lock().unwrap();
        shared.pids[place] = Some(pid);
        shared.targets[place] = None;
    }

    /// The member at `place` takes connections of its peers at `target`.
    pub(crate) fn set_target(&self, place: usize, target: SocketAddr) {
        self.shared.lock().unwrap().targets[place] = Some(target);
    }

    /// Gives a link another rule.
    pub(crate) fn set(&self, link: Link, rule: Rule) {
        self.rules.send_modify(|rules| {
            let state = rules.entry(link).or_default();
            state.rule = rule;
            state.n_cuts += u64::from(rule == Rule::Cut);
        });
    }

    /// Breaks the connections between two members; new ones pass.
    pub(crate) fn break_connections(&self, link: Link) {
        self.rules.send_modify(|rules| rules.entry(link).or_default().n_cuts += 1);
    }

    /// Opens every link.
    pub(crate) fn heal(&self) {
        self.rules.send_modify(|rules| rules.values_mut().for_each(|state| state.rule = Rule::Open));
    }
}

/// What listens for one member.
struct Front {
    place: usize,
    rules: watch::Receiver<HashMap<Link, State>>,
    shared: Arc<Mutex<Shared>>,
}

impl Front {
    async fn accept(self, listener: TcpListener) {
        // An accept that fails is that of a dialer who has gone.
        loop {
            let Ok((dialed, near)) = listener.accept().await else { continue };
            let Some(target) = self.shared.lock().unwrap().targets[self.place] else { continue };
            let far = dialed.local_addr().unwrap();
            let place = self.place;
            let link = self.dialer(near, far).map(|dialer| (dialer, place));
            tokio::spawn(carry(dialed, target, link, self.rules.clone()));
        }
    }

    /// The place of the member that opened a connection.
    fn dialer(&self, near: SocketAddr, far: SocketAddr) -> Option<usize> {
        let pids = self.shared.lock().unwrap().pids.clone();
        pids.iter().position(|pid| pid.is_some_and(|pid| dialer::holds(pid, near, far)))
    }
}

/// Carries a connection until either end or a rule ends it.
async fn carry(
    dialed: TcpStream,
    target: SocketAddr,
    link: Option<Link>,
    rules: watch::Receiver<HashMap<Link, State>>,
) -> io::Result<()> {
    let onward = TcpStream::connect(target).await?;
    dialed.set_nodelay(true)?;
    onward.set_nodelay(true)?;
    let (from_dialer, to_dialer) = dialed.into_split();
    let (from_target, to_target) = onward.into_split();
    let there = Direction::new(link, rules.clone());
    let back = Direction::new(link.map(|(from, to)| (to, from)), rules);
    tokio::try_join!(there.carry(from_dialer, to_target), back.carry(from_target, to_dialer))?;
    Ok(())
}

/// One direction of a connection.
struct Direction {
    link: Option<Link>,
    rules: watch::Receiver<HashMap<Link, State>>,
    /// How many times the link was cut when the connection began.
    n_cuts: u64,
    /// Whether bytes were lost.
    is_torn: bool,
}

impl Direction {
    fn new(link: Option<Link>, rules: watch::Receiver<HashMap<Link, State>>) -> Direction {
        let mut direction = Direction { link, rules, n_cuts: 0, is_torn: false };
        direction.n_cuts = direction.state().n_cuts;
        direction
    }

    fn state(&mut self) -> State {
        let rules = self.rules.borrow_and_update();
        self.link.and_then(|link| rules.get(&link).copied()).unwrap_or_default()
    }

    /// Carries bytes to the end of the stream. An error breaks the connection.
    async fn carry(self, from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<()> {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        tokio::try_join!(self.read(from, sender), write(to, chunks))?;
        Ok(())
    }

    async fn read(mut self, from: OwnedReadHalf, chunks: mpsc::Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
        loop {
            let rule = self.rule()?;
            tokio::select! {
                changed = self.rules.changed() => changed.map_err(io::Error::other)?,
                readable = from.readable() => {
                    readable?;
                    let Some(chunk) = take(&from)? else { continue };
                    if chunk.is_empty() {
                        return Ok(());
                    }
                    let due = match rule {
                        Rule::Silent => {
                            self.is_torn = true;
                            continue;
                        }
                        Rule::Delayed(delay) => Instant::now() + delay,
                        Rule::Open | Rule::Cut => Instant::now(),
                    };
                    self.send(&chunks, (due, chunk)).await?;
                }
            }
        }
    }

    /// Puts a chunk on its way. The receiver may stand still, and the link may be cut meanwhile.
    async fn send(
        &mut self,
        chunks: &mpsc::Sender<(Instant, Vec<u8>)>,
        chunk: (Instant, Vec<u8>),
    ) -> io::Result<()> {
        let room = loop {
            tokio::select! {
                room = chunks.reserve() => break room.map_err(io::Error::other)?,
                changed = self.rules.changed() => changed.map_err(io::Error::other)?,
            }
            self.rule()?;
        };
        room.send(chunk);
        Ok(())
    }

    /// The rule in force, unless it breaks the connection.
    fn rule(&mut self) -> io::Result<Rule> {
        let state = self.state();
        let is_cut = state.rule == Rule::Cut || state.n_cuts != self.n_cuts;
        if is_cut || (self.is_torn && state.rule != Rule::Silent) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(state.rule)
    }
}

/// What has arrived; `None` if nothing has, and an empty chunk at the end of the stream.
fn take(from: &OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = vec![0; CHUNK_LEN];
    match from.try_read(&mut chunk) {
        Ok(len) => {
            chunk.truncate(len);
            Ok(Some(chunk))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes each chunk when it is due, and ends the stream behind the last.
async fn write(to: OwnedWriteHalf, mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
    let mut to = to;
    while let Some((due, chunk)) = chunks.recv().await {
        tokio::time::sleep_until(due).await;
        tokio::io::AsyncWriteExt::write_all(&mut to, &chunk).await?;
    }
    tokio::io::AsyncWriteExt::shutdown(&mut to).await
}
