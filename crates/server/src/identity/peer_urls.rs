//! Whether two lists of peer URLs mean the same place: by their texts, or by the addresses that they stand for.
//!
//! Error texts are etcd's.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::urls;
use crate::config::{Scheme, Url, go_text};

/// How long names may fail to be found, all together, and the pause between two attempts.
const RESOLVE_LIMIT: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How names become addresses.
pub(crate) trait Names {
    /// The address of `host:port`.
    fn address(&mut self, host_and_port: &str) -> io::Result<SocketAddr>;

    /// Waits before another attempt. False once the time for attempts is over.
    fn wait(&mut self) -> bool;
}

/// The names that the system knows.
#[derive(Debug)]
pub(crate) struct SystemNames {
    deadline: Instant,
}

impl SystemNames {
    /// Looks names up again for half a minute, from now on.
    pub(crate) fn new() -> SystemNames {
        SystemNames { deadline: Instant::now() + RESOLVE_LIMIT }
    }
}

impl Names for SystemNames {
    fn address(&mut self, host_and_port: &str) -> io::Result<SocketAddr> {
        // Of several addresses always the same one: a name server may change their order.
        let found = host_and_port.to_socket_addrs()?.min();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
    }

    fn wait(&mut self) -> bool {
        let is_left = Instant::now() + RETRY_PAUSE < self.deadline;
        if is_left {
            sleep(RETRY_PAUSE);
        }
        is_left
    }
}

/// Whether the texts of both lists are the same, in any order.
pub(super) fn are_equal(a: &[Url], b: &[Url]) -> bool {
    sorted(urls(a)) == sorted(urls(b))
}

/// Checks that both lists stand for the same addresses.
pub(super) fn check_same_place(a: &[Url], b: &[Url], names: &mut impl Names) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("len({}) != len({})", quoted(a), quoted(b)));
    }
    if are_equal(a, b) {
        return Ok(());
    }
    let (a, b) = (resolve_all(a, names)?, resolve_all(b, names)?);
    match a.iter().zip(&b).find(|(a, b)| a != b) {
        Some((a, b)) => Err(format!("resolved urls: {a:?} != {b:?}")),
        None => Ok(()),
    }
}

/// The URLs with addresses instead of names, as sorted texts.
fn resolve_all(urls: &[Url], names: &mut impl Names) -> Result<Vec<String>, String> {
    let resolved: Result<Vec<String>, String> = urls.iter().map(|url| resolve(url, names)).collect();
    resolved.map(sorted)
}

fn resolve(url: &Url, names: &mut impl Names) -> Result<String, String> {
    let has_name = matches!(url.scheme, Scheme::Http | Scheme::Https) && url.host() != "localhost";
    if !has_name {
        return Ok(url.to_string());
    }
    loop {
        match names.address(&url.address) {
            Ok(address) => return Ok(url.at(address.ip(), url.port()).to_string()),
            Err(error) if !names.wait() => {
                let (url, host, error) = (url.to_string(), url.host(), go_text(&error));
                return Err(format!("failed to resolve {url:?} (lookup {host}: {error})"));
            }
            Err(_) => {}
        }
    }
}

/// A list as Go prints it.
fn quoted(list: &[Url]) -> String {
    let texts: Vec<String> = urls(list).iter().map(|url| format!("{url:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Names of a test, which are found after some attempts.
    #[derive(Debug, Default)]
    pub(crate) struct FakeNames {
        pub(crate) addresses: BTreeMap<&'static str, &'static str>,
        pub(crate) failures: usize,
        pub(crate) attempts_max: usize,
        pub(crate) attempts: usize,
    }

    impl FakeNames {
        pub(crate) fn of(addresses: &[(&'static str, &'static str)]) -> FakeNames {
            FakeNames { addresses: addresses.iter().copied().collect(), ..FakeNames::default() }
        }
    }

    impl Names for FakeNames {
        fn address(&mut self, host_and_port: &str) -> io::Result<SocketAddr> {
            self.attempts += 1;
            if let Ok(address) = host_and_port.parse() {
                return Ok(address);
            }
            let found = self.addresses.get(host_and_port).filter(|_| self.attempts > self.failures);
            found.map(|address| address.parse().unwrap()).ok_or_else(|| io::Error::other("no such host"))
        }

        fn wait(&mut self) -> bool {
            self.attempts < self.attempts_max
        }
    }

    fn list(text: &str) -> Vec<Url> {
        Url::parse_list(text).unwrap()
    }

    #[test]
    fn a_name_and_its_address_are_the_same_place() {
        let mut names = FakeNames::of(&[("a:1", "10.0.0.1:1"), ("b:1", "10.0.0.2:1")]);
        let same = |a: &str, b: &str, names: &mut FakeNames| check_same_place(&list(a), &list(b), names);
        assert_eq!(same("http://a:1", "http://10.0.0.1:1", &mut names), Ok(()));
        assert_eq!(same("http://a:1,http://b:1", "http://10.0.0.2:1,http://10.0.0.1:1", &mut names), Ok(()));
        let text = "resolved urls: \"http://10.0.0.1:1\" != \"http://10.0.0.2:1\"";
        assert_eq!(same("http://a:1", "http://b:1", &mut names), Err(text.to_owned()));
        let text = "len([\"http://a:1\"]) != len([\"http://a:1\" \"http://b:1\"])";
        assert_eq!(same("http://a:1", "http://a:1,http://b:1", &mut names), Err(text.to_owned()));
    }

    #[test]
    fn equal_texts_are_not_looked_up() {
        let mut names = FakeNames::default();
        assert_eq!(check_same_place(&list("http://x:1"), &list("http://x:1"), &mut names), Ok(()));
        assert_eq!(names.attempts, 0);
    }

    #[test]
    fn a_name_is_looked_up_again_until_the_time_is_over() {
        let mut names = FakeNames::of(&[("a:1", "10.0.0.1:1")]);
        (names.failures, names.attempts_max) = (2, 9);
        let (a, b) = (list("http://a:1"), list("http://10.0.0.1:1"));
        assert_eq!(check_same_place(&a, &b, &mut names), Ok(()));
        assert_eq!(names.attempts, 4, "two failures, then each of the two URLs");
        let mut names = FakeNames { attempts_max: 3, ..FakeNames::default() };
        let text = "failed to resolve \"http://a:1\" (lookup a: no such host)";
        assert_eq!(check_same_place(&a, &b, &mut names), Err(text.to_owned()));
        assert_eq!(names.attempts, 3);
    }

    #[test]
    fn sockets_and_localhost_are_not_looked_up() {
        let mut names = FakeNames::default();
        for (a, b) in [("unix://a:1", "unix://b:1"), ("http://localhost:1", "http://localhost:2")] {
            assert!(check_same_place(&list(a), &list(b), &mut names).is_err());
        }
        assert_eq!(names.attempts, 0);
    }
}
