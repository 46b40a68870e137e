//! Tests with a registry in memory, on a clock that moves when everybody waits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::Instant;

use super::*;

/// A registry in memory that several members share.
struct FakeRegistry {
    entries: RefCell<BTreeMap<String, Entry>>,
    revision: watch::Sender<i64>,
    /// Calls that fail before the first that does not.
    failures: Cell<usize>,
    calls: Cell<usize>,
}

impl FakeRegistry {
    fn of_size(size: &str) -> FakeRegistry {
        let registry = FakeRegistry {
            entries: RefCell::default(),
            revision: watch::Sender::new(1),
            failures: Cell::new(0),
            calls: Cell::new(0),
        };
        registry.store("/_etcd/registry/t/_config/size", size);
        registry
    }

    fn store(&self, key: &str, value: &str) {
        let revision = *self.revision.borrow() + 1;
        let entry = Entry { key: key.to_owned(), value: value.to_owned(), create_revision: revision };
        let mut entries = self.entries.borrow_mut();
        entries.entry(key.to_owned()).and_modify(|entry| value.clone_into(&mut entry.value)).or_insert(entry);
        drop(entries);
        self.revision.send_replace(revision);
    }

    fn call(&self) -> Result<(), String> {
        self.calls.set(self.calls.get() + 1);
        match self.failures.get() {
            0 => Ok(()),
            left => {
                self.failures.set(left - 1);
                Err("context deadline exceeded".to_owned())
            }
        }
    }

    /// Entries by creation.
    fn since(&self, prefix: &str, revision: i64) -> Vec<Entry> {
        let entries = self.entries.borrow();
        let mut found: Vec<Entry> = entries
            .values()
            .filter(|e| e.key.starts_with(prefix) && e.create_revision > revision)
            .cloned()
            .collect();
        found.sort_by_key(|entry| entry.create_revision);
        found
    }

    async fn join(&self, id: u64, own: &str) -> Result<String, Error> {
        let members = join(self, "t", id, own).await?;
        let entry = |member: &InitialMember| format!("{}={}", member.name, member.peer_urls[0]);
        Ok(members.iter().map(entry).collect::<Vec<_>>().join(","))
    }
}

impl Registry for FakeRegistry {
    async fn value(&self, key: &str) -> Result<Option<String>, String> {
        self.call()?;
        Ok(self.entries.borrow().get(key).map(|entry| entry.value.clone()))
    }

    async fn entries(&self, prefix: &str, max: usize) -> Result<(Vec<Entry>, i64), String> {
        self.call()?;
        let mut entries = self.since(prefix, 0);
        entries.truncate(max);
        Ok((entries, *self.revision.borrow()))
    }

    async fn put(&self, key: &str, value: &str) -> Result<(), String> {
        self.call()?;
        self.store(key, value);
        Ok(())
    }

    async fn changes(&self, prefix: &str, revision: i64) -> Result<(Vec<Entry>, i64), String> {
        self.call()?;
        let mut revisions = self.revision.subscribe();
        loop {
            let found = self.since(prefix, revision);
            if !found.is_empty() {
                return Ok((found, *self.revision.borrow()));
            }
            revisions.changed().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_members_are_the_cluster_for_all_of_them() {
    let registry = FakeRegistry::of_size("3");
    let joined = tokio::join!(
        registry.join(0xa, "a=http://a:1"),
        registry.join(0xb, "b=http://b:1"),
        registry.join(0xc, "c=http://c:1")
    );
    let cluster = Ok("a=http://a:1,b=http://b:1,c=http://c:1".to_owned());
    assert_eq!(joined, (cluster.clone(), cluster.clone(), cluster));
    assert_eq!(registry.join(0xd, "d=http://d:1").await, Err(Error::Full));
    assert!(
        !registry.entries.borrow().contains_key("/_etcd/registry/t/members/d"),
        "it leaves nothing behind"
    );
    assert!(registry.join(0xa, "a=http://a:1").await.is_ok(), "one that starts again is still one of them");
}

#[tokio::test(start_paused = true)]
async fn without_a_usable_size_nobody_is_found() {
    for (size, error) in [
        ("0", Error::BadSize),
        ("-1", Error::BadSize),
        ("many", Error::BadSize),
        ("1001", Error::BadSize),
        ("18446744073709551616", Error::BadSize),
    ] {
        assert_eq!(FakeRegistry::of_size(size).join(1, "a=http://a:1").await, Err(error), "{size}");
    }
    let registry = FakeRegistry::of_size("1");
    registry.entries.borrow_mut().clear();
    assert_eq!(registry.join(1, "a=http://a:1").await, Err(Error::SizeNotFound));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_member_does_not_count_and_a_bad_url_ends_the_search() {
    let registry = FakeRegistry::of_size("1");
    registry.store("/_etcd/registry/t/members/1", "garbage");
    assert_eq!(registry.join(2, "a=http://a:1").await.unwrap(), "a=http://a:1");
    let registry = FakeRegistry::of_size("2");
    registry.store("/_etcd/registry/t/members/1", "b=nonsense");
    assert_eq!(registry.join(2, "a=http://a:1").await, Err(Error::InvalidUrl));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_called_again_with_longer_pauses() {
    let registry = FakeRegistry::of_size("1");
    registry.failures.set(10);
    let began = Instant::now();
    assert!(registry.join(1, "a=http://a:1").await.is_ok());
    let pauses: u64 = [2, 4, 8, 16, 32, 64, 128, 256, 256, 256].iter().sum();
    assert_eq!(began.elapsed(), Duration::from_secs(pauses));
    assert_eq!(registry.calls.get(), 10 + 2 + 1 + 2, "failures, a look, the entry, another look");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_too_late_at_the_same_time_is_refused() {
    let registry = FakeRegistry::of_size("1");
    let (first, second) =
        tokio::join!(registry.join(0xb, "b=http://b:1"), registry.join(0xa, "a=http://a:1"));
    // The first future runs to its end before the second begins.
    assert_eq!(first.unwrap(), "b=http://b:1");
    assert_eq!(second, Err(Error::Full));
}
