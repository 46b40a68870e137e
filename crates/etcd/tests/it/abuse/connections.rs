//! Connections that say nothing, or nothing sensible.

use fastrand::Rng;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::trial::Trial;
use super::wire::{self, PREFACE};
use crate::client::Client;
use crate::setting;

/// Connections at the same time; the open-files limit must leave room for them.
const CONNECTIONS: usize = 300;
/// Resident memory of a connection that is open, whatever it has sent, in bytes.
const CONNECTION_BYTES_MAX: usize = 48 << 10;
/// What the server may take for other reasons, in bytes.
const SLACK_BYTES: usize = 24 << 20;

#[test]
fn garbage_is_answered_or_cut_off() {
    Trial::run("garbage", async |trial| {
        let address = trial.address();
        let n = setting("ABUSE_CONNECTIONS", CONNECTIONS);
        let abuse = async {
            let mut random = Rng::with_seed(1);
            for number in 0..n {
                let noise: Vec<u8> = (0..random.usize(..5000)).map(|_| random.u64(..) as u8).collect();
                let long_head = [b"GET / HTTP/1.1\r\nx: ", &[b'x'; 1 << 20][..]].concat();
                let (bytes, beginning) = match number % 6 {
                    0 => ([b"\x16\x03\x01", &noise[..]].concat(), "HTTP/1.1 400 Bad Request\r\n"),
                    1 => {
                        ([b"GET /\x00 HTTP/1.1\r\n\r\n", &noise[..]].concat(), "HTTP/1.1 400 Bad Request\r\n")
                    }
                    2 => (
                        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n".to_vec(),
                        "HTTP/1.1 400 Bad Request\r\n",
                    ),
                    3 => (long_head, "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
                    // Settings come first, and then why it was cut off.
                    4 => ([PREFACE, &noise[..]].concat(), ""),
                    _ => (noise, ""),
                };
                let mut socket = wire::send(address, &bytes).await;
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut socket).await;
                let answer = wire::read_to_the_end(socket).await;
                let answer = String::from_utf8_lossy(&answer);
                assert!(answer.starts_with(beginning), "{} is answered {answer}", bytes.escape_ascii());
            }
        };
        trial.endure(abuse).await;
        trial.end(32);
    });
}

#[test]
fn half_open_connections_cost_little() {
    Trial::run("half-open connections", async |trial| {
        let n = setting("ABUSE_CONNECTIONS", CONNECTIONS);
        let put = "/etcdserverpb.KV/Put";
        let beginnings = [
            Vec::new(),
            PREFACE[..9].to_vec(),
            b"GET /health HTTP/1.1\r\nhost: ".to_vec(),
            PREFACE.to_vec(),
            // A frame of 16 KiB, of which nothing comes.
            [wire::hello(), vec![0, 0x40, 0, 0, 0, 0, 0, 0, 1]].concat(),
            [wire::hello(), wire::call(1, put)].concat(),
            // A message of 1 MiB, of which one byte comes.
            [wire::hello(), wire::call(1, put), vec![0, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 16, 0, 0, 7]].concat(),
        ];
        let open = async {
            let mut open = Vec::new();
            for number in 0..n {
                open.push(wire::send(trial.address(), &beginnings[number % beginnings.len()]).await);
            }
            open
        };
        let open = trial.endure(open).await;
        trial.endure(std::future::ready(())).await;
        assert_small(&trial, open.len());
        drop(open);
        trial.end((n * CONNECTION_BYTES_MAX + SLACK_BYTES) >> 20);
    });
}

#[test]
fn idle_connections_cost_little() {
    Trial::run("idle connections", async |trial| {
        let n = setting("ABUSE_CONNECTIONS", CONNECTIONS);
        let address = trial.address();
        let open = async {
            let mut open = Vec::new();
            for _ in 0..n {
                let client = Client::connect(address).await;
                client.unary("/etcdserverpb.Maintenance/Status", &[]).await.unwrap();
                open.push(client);
            }
            open
        };
        let open = trial.endure(open).await;
        trial.endure(std::future::ready(())).await;
        assert_small(&trial, open.len());
        trial.end((n * CONNECTION_BYTES_MAX + SLACK_BYTES) >> 20);
    });
}

#[test]
fn a_crowd_that_comes_and_goes_is_let_in() {
    Trial::run("a crowd", async |trial| {
        let (n, address) = (setting("ABUSE_CONNECTIONS", CONNECTIONS), trial.address());
        let crowd = async {
            let mut crowd = JoinSet::new();
            for number in 0..n {
                crowd.spawn(async move {
                    let socket = TcpStream::connect(address).await.unwrap();
                    if number % 2 == 0 {
                        // Closes by a reset.
                        socket.set_zero_linger().unwrap();
                    }
                });
            }
            crowd.join_all().await;
        };
        trial.endure(crowd).await;
        trial.end(96);
    });
}

fn assert_small(trial: &Trial, n: usize) {
    let growth = trial.growth();
    println!("{} KiB for each of {n} connections", (growth / n) >> 10);
    assert!(growth <= n * CONNECTION_BYTES_MAX + SLACK_BYTES, "{growth} bytes for {n} connections");
}
