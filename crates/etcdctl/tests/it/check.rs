//! Loads of `check` against a server, judged by what they leave there and not by their speed.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use crate::member::Server;
use crate::script::etcdctl;

fn command(server: &Server, line: &str) -> Command {
    let mut command = Command::new(etcdctl());
    command.args(["--endpoints", &server.endpoint]).args(line.split(' '));
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The revision of the server, which has to hold no key.
fn revision_of_empty(server: &Server) -> i64 {
    let output = command(server, "get --prefix --write-out=fields /etcdctl-check").output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("\"Count\" : 0\n"), "{text}");
    let revision = text.lines().find_map(|line| line.strip_prefix("\"Revision\" : "));
    revision.unwrap().parse().unwrap()
}

#[test]
fn an_interrupted_check_judges_what_it_has_and_deletes_its_keys() {
    let server = Server::start();
    let mut check = command(&server, "check perf --auto-compact");
    let mut check = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    check.stderr.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert!(first[0].is_ascii_digit(), "the bar is drawn, so the load has begun");
    let pid = check.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = check.wait_with_output().unwrap();
    let revision = revision_of_empty(&server);
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("Compacting with revision {revision}"));
    assert_eq!(lines[1], format!("Compacted with revision {revision}"));
    let throughput = ["PASS: Throughput is ", "FAIL: Throughput too low: "];
    assert!(throughput.iter().any(|start| lines[2].starts_with(start)), "{text}");
    match output.status.code() {
        Some(0) => assert_eq!(lines[3..].last(), Some(&"PASS")),
        code => assert_eq!((code, lines[3..].last()), (Some(1), Some(&"FAIL"))),
    }
}

#[test]
fn the_scale_of_data_is_ten_thousand_keys_which_are_deleted() {
    let server = Server::start();
    let output = command(&server, "check datascale --auto-defrag").output().unwrap();
    let text = stdout(&output);
    let (start, memory) = text.split_once("PASS: ").unwrap();
    let expected = format!(
        "Start data scale check for work load [10000 key-value pairs, 1024 bytes per key-value, 50 concurrent \
         clients].\nDefragmenting \"{0}\"\nDefragmented \"{0}\"\n",
        server.endpoint
    );
    assert_eq!(start, expected);
    let megabytes = memory.strip_prefix("Approximate system memory used : ").unwrap();
    assert!(megabytes.strip_suffix(" MB.\n").unwrap().parse::<f64>().is_ok(), "{memory}");
    assert!(output.status.success());
    let bar = String::from_utf8(output.stderr).unwrap();
    assert!(bar.contains("10000 / 10000 [---") && bar.contains("---] 100.00% "), "{bar}");
    // One for each key, one for their deletion.
    assert_eq!(revision_of_empty(&server), 1 + 10_000 + 1);
}
