//! Members that cannot be reached, or not all the time.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::member::Server;
use crate::script::etcdctl;

fn run(args: &[&str]) -> Output {
    Command::new(etcdctl()).args(args).output().unwrap()
}

fn put(server: &Server, value: &str) {
    let output = run(&["--endpoints", &server.endpoint, "put", "k", value]);
    assert!(output.status.success(), "{output:?}");
}

/// An address at which nobody listens.
fn deserted() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn one_member_that_answers_is_enough() {
    let server = Server::start();
    let endpoints = format!("{},{}", deserted(), server.endpoint);
    assert_eq!(run(&["--endpoints", &endpoints, "put", "k", "v"]).stdout, b"OK\n");
    assert_eq!(run(&["--endpoints", &endpoints, "get", "k"]).stdout, b"k\nv\n");
}

#[test]
fn without_a_member_the_time_for_the_command_runs_out() {
    let output = run(&["--endpoints", &deserted(), "--command-timeout=200ms", "put", "k", "v"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, b"Error: context deadline exceeded\n");
}

#[test]
fn a_watch_goes_on_after_its_member_was_killed() {
    let mut server = Server::start();
    put(&server, "before");
    let mut watch = Command::new(etcdctl())
        .args(["--endpoints", &server.endpoint, "watch", "k", "--rev=1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(3).collect::<Vec<_>>(), ["PUT", "k", "before"]);
    server.kill_and_restart();
    put(&server, "after");
    assert_eq!(lines.by_ref().take(3).collect::<Vec<_>>(), ["PUT", "k", "after"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
}
