//! The workloads of one request and one answer.
//!
//! A worker keeps one call in flight; which call comes next is up to the workload. Answers are decoded only
//! where the next request depends on them. Else they are checked to be long enough for the values that they
//! must carry, which catches missing keys at no cost to the generator.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{LeaseGrantRequest, TxnResponse};
use tokio::task::JoinSet;

use super::keys::{Keys, Random};
use super::{Shared, kubernetes, lease, request};
use crate::client::{Connection, Head};
use crate::error::Error;
use crate::meter::{Meter, Phase};
use crate::settings::{KeyOrder, Workload};

/// The methods that are called.
pub(crate) const PUT: &str = "/etcdserverpb.KV/Put";
pub(crate) const TXN: &str = "/etcdserverpb.KV/Txn";
pub(crate) const RANGE: &str = "/etcdserverpb.KV/Range";

/// Starts one worker, which keeps one call in flight.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    worker: usize,
    connection: &Connection,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) {
    let caller = Caller::new(shared.clone(), worker, connection.clone());
    workers.spawn(caller.run(meter.clone()));
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Put,
    TxnPut,
    Update,
    Get,
    List,
    KubernetesPage,
    Grant,
}

struct Caller {
    shared: Arc<Shared>,
    connection: Connection,
    heads: Heads,
    keys: Keys,
    dice: Random,
    value: Bytes,
    owned: Owned,
}

/// The headers of each method.
struct Heads {
    put: Head,
    txn: Head,
    range: Head,
    grant: Head,
}

impl Caller {
    fn new(shared: Arc<Shared>, worker: usize, connection: Connection) -> Self {
        let settings = &shared.settings;
        let head = |path| connection.head(path);
        Self {
            heads: Heads { put: head(PUT), txn: head(TXN), range: head(RANGE), grant: head(lease::GRANT) },
            keys: Keys::new(settings.key_order, settings.keys, worker),
            // Another sequence than that of the keys, so that call and key are independent.
            dice: Random::new(usize::MAX - worker),
            value: request::value(settings.value_bytes),
            owned: Owned::new(settings.keys, worker, settings.connections * settings.streams),
            connection,
            shared,
        }
    }

    async fn run(mut self, mut meter: Meter) {
        meter.reached(Phase::WarmUp).await;
        while let Some(start) = meter.turn().await {
            let call = self.choose();
            let result = self.carry_out(call).await;
            meter.count(result.as_ref().map(|()| start.elapsed()));
            if result.is_err_and(|error| error.ends_connection()) {
                break;
            }
        }
    }

    fn choose(&mut self) -> Call {
        let settings = &self.shared.settings;
        match settings.workload {
            Workload::TxnPut => Call::TxnPut,
            Workload::TxnUpdate => Call::Update,
            Workload::Get => Call::Get,
            Workload::Range => Call::List,
            Workload::Mixed if self.dice.below(100) < settings.read_percent => Call::Get,
            Workload::Kubernetes => match self.dice.below(100) {
                0 => Call::KubernetesPage,
                1..21 => Call::Get,
                _ => Call::Update,
            },
            Workload::LeaseGrant => Call::Grant,
            _ => Call::Put,
        }
    }

    async fn carry_out(&mut self, call: Call) -> Result<(), Error> {
        let settings = &self.shared.settings;
        let (connection, heads) = (&self.connection, &self.heads);
        let mut number = || self.keys.next(&self.shared.next_key);
        let (answer, values) = match call {
            Call::Put => (connection.unary(heads.put, &request::put(number(), &self.value)).await?, 0),
            Call::TxnPut => {
                let txn = request::txn([request::put(number(), &self.value)]);
                (connection.unary(heads.txn, &txn).await?, 0)
            }
            Call::Update => return self.update().await,
            Call::Get => (connection.unary(heads.range, &request::get(settings, number())).await?, 1),
            Call::List => {
                let range = request::range(settings, 0..settings.keys, settings.limit);
                (connection.unary(heads.range, &range).await?, settings.range_len())
            }
            Call::KubernetesPage => {
                let numbers = kubernetes::resource(self.dice.below(kubernetes::resources(settings.keys)));
                let range = request::range(settings, numbers, kubernetes::PAGE);
                (connection.unary(heads.range, &range).await?, kubernetes::PAGE)
            }
            Call::Grant => {
                let grant = LeaseGrantRequest { ttl: lease::TTL_S, id: 0 };
                (connection.unary(heads.grant, &grant).await?, 0)
            }
        };
        check_len(&answer, values, settings.value_bytes)
    }

    /// Writes a key that nobody else does, unless it has changed since this worker saw it.
    async fn update(&mut self) -> Result<(), Error> {
        let (number, seen) = self.owned.next();
        let txn = request::update(request::put(number, &self.value), *seen);
        let answer = self.connection.unary(self.heads.txn, &txn).await?;
        *seen = request::seen(&TxnResponse::decode(answer)?);
        Ok(())
    }
}

/// The keys that one worker alone updates, with the revision it has last seen of each.
struct Owned {
    worker: u64,
    workers: u64,
    seen: Vec<i64>,
    keys: Keys,
}

impl Owned {
    /// Each `workers`th of `keys` keys, from key `worker` on.
    fn new(keys: u64, worker: usize, workers: usize) -> Self {
        let len = keys.div_ceil(workers as u64).max(1);
        let seen = vec![0; usize::try_from(len).expect("both have 64 bits")];
        let (worker_number, workers) = (worker as u64, workers as u64);
        Self { worker: worker_number, workers, seen, keys: Keys::new(KeyOrder::Random, len, worker) }
    }

    /// The number of a key, and the revision at which it was last seen to change.
    fn next(&mut self) -> (u64, &mut i64) {
        let idx = self.keys.next(&Default::default());
        let seen = usize::try_from(idx).expect("it is the index of an element");
        (self.worker + idx * self.workers, &mut self.seen[seen])
    }
}

/// Refuses an answer too short to hold `values` values.
fn check_len(answer: &[u8], values: u64, value_bytes: usize) -> Result<(), Error> {
    let expected = values * value_bytes as u64;
    if (answer.len() as u64) < expected {
        let text = format!("{} bytes in place of {values} values, {expected} bytes or more", answer.len());
        return Err(Error::Answer(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_a_method_of_the_service() {
        for path in [PUT, TXN, RANGE] {
            assert!(proto::etcdserverpb::KV.methods.iter().any(|method| method.path == path), "{path}");
        }
    }

    #[test]
    fn a_missing_value_is_noticed() {
        assert!(check_len(&[0; 2560], 10, 256).is_ok());
        let text = check_len(&[0; 2559], 10, 256).unwrap_err().to_string();
        assert_eq!(text, "wrong answer: 2559 bytes in place of 10 values, 2560 bytes or more");
        assert!(check_len(&[0; 30], 0, 256).is_ok());
    }

    #[test]
    fn no_two_workers_own_the_same_key() {
        for worker in 0..3 {
            let mut owned = Owned::new(10, worker, 3);
            assert!((0..50).all(|_| owned.next().0 % 3 == worker as u64));
        }
    }
}
