//! Scripts of commands with what they answer.
//!
//! A line that begins with `$ ` is the rest of a command line of `etcdctl`, read by the shell; `$3 ` ends the
//! command after three lines of output. Lines with `< ` before it are its standard input, what follows is its
//! standard output, then the last line of its standard error after `! `, then `[code]` unless that is zero.
//! Output that looks like one of these has a backslash before it. What differs from run to run has a name in angle brackets: the endpoint, the ids of the cluster and of the
//! member, of leases and of other members in the order of their coming, times, sizes and counters of the server.

use std::env::var;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::member::Server;

/// The program that is tested, or another to record what it answers.
pub(crate) fn etcdctl() -> String {
    var("GOLDEN_ETCDCTL").unwrap_or_else(|_| env!("CARGO_BIN_EXE_etcdctl").to_owned())
}

/// Runs the script of that name and compares; with `UPDATE=1` writes down what was answered.
pub(crate) fn run(name: &str) {
    let path = format!("{}/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(&path).unwrap();
    let mut run = Run::start();
    let mut seen = String::new();
    let mut input = String::new();
    let mut is_after_comment = true;
    for line in script.lines() {
        if let Some(text) = line.strip_prefix("< ").or((line == "<").then_some("")) {
            input += &format!("{text}\n");
            seen += &format!("{line}\n");
        } else if let Some(command) = line.strip_prefix('$') {
            seen += &format!("{line}\n{}", run.command(command, &std::mem::take(&mut input)));
        } else if line.starts_with('#') {
            let gap = if is_after_comment { "" } else { "\n" };
            seen += &format!("{gap}{line}\n");
        }
        is_after_comment = line.starts_with('#');
    }
    if var("UPDATE").is_ok() {
        fs::write(&path, seen).unwrap();
    } else {
        assert!(script == seen, "{path} has other answers (UPDATE=1 rewrites it):\n{seen}");
    }
}

/// A server, and the names of what it chose.
struct Run {
    server: Server,
    /// Texts of the answers with the names that stand for them.
    names: Vec<(String, String)>,
    leases: usize,
    added_members: usize,
}

impl Run {
    fn start() -> Self {
        let server = Server::start();
        let names = vec![
            (server.endpoint.clone(), "<endpoint>".to_owned()),
            (server.peer.to_owned(), "<peer>".to_owned()),
        ];
        let mut run = Run { server, names, leases: 0, added_members: 0 };
        let (out, ..) = run.execute("member list -w json", "", None);
        for field in ["cluster_id", "member_id"] {
            let id = number_after(&out, &format!("\"{field}\":")).expect("the answer names it");
            run.name(id, &field[..field.len() - "_id".len()]);
        }
        run
    }

    fn name(&mut self, id: u64, name: &str) {
        // Some texts have the id of a member or a cluster filled up with blanks.
        for before in ["Member", "cluster"] {
            self.names.push((format!("{before} {id:16x}"), format!("{before} <{name}>")));
        }
        self.names.push((format!("{id:016x}"), format!("<{name}>")));
        self.names.push((format!("{id:x}"), format!("<{name}>")));
        self.names.push((id.to_string(), format!("<{name} in decimal>")));
    }

    /// Runs what stands behind the `$` and returns what belongs below it.
    fn command(&mut self, command: &str, input: &str) -> String {
        let (lines, command) = command.split_once(' ').expect("a command follows a blank");
        let mut command = command.to_owned();
        // The padded form of an id stands first, so commands get that.
        for (text, name) in self.names.iter().rev() {
            command = command.replace(name, text);
        }
        let (out, err, code) = self.execute(&command, input, lines.parse().ok());
        if command.starts_with("lease grant") && code == Some(0) {
            let hex = out.split("lease ").nth(1).and_then(|rest| rest.split(' ').next());
            let id = hex.and_then(|hex| u64::from_str_radix(hex, 16).ok());
            let id = id.or_else(|| number_after(&out, "\"ID\":")).or_else(|| number_after(&out, "\"ID\" : "));
            if let Some(id) = id {
                self.leases += 1;
                self.name(id, &format!("lease {}", self.leases));
            }
        }
        if command.starts_with("member add") {
            self.name_added_members();
        }
        let mut answer = out;
        if let Some(line) = err.lines().rfind(|line| !line.is_empty()) {
            answer += &format!("! {line}\n");
        }
        match code {
            Some(0) => {}
            Some(code) => answer += &format!("[{code}]\n"),
            None => answer += "[ended]\n",
        }
        let named = self.names.iter().fold(mask(&answer), |answer, (text, name)| answer.replace(text, name));
        named.split_inclusive('\n').map(escape).collect()
    }

    /// Names the members that have no name yet: what `member add` prints does not show the id in each format.
    fn name_added_members(&mut self) {
        let (list, ..) = self.execute("member list -w json", "", None);
        for member in list.split("{\"ID\":").skip(1) {
            let id = number_after(member, "").expect("an id is a number");
            let hex = format!("{id:x}");
            if !self.names.iter().any(|(text, _)| *text == hex) {
                self.added_members += 1;
                self.name(id, &format!("member {}", self.added_members));
            }
        }
    }

    /// Runs `etcdctl` with `line`, or until it has written so many lines.
    fn execute(&self, line: &str, input: &str, lines: Option<usize>) -> (String, String, Option<i32>) {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec \"$PROGRAM\" {line}")])
            .env("PROGRAM", etcdctl())
            .env("ETCDCTL_ENDPOINTS", &self.server.endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may have ended already.
        let _ = child.stdin.as_mut().expect("it was asked for").write_all(input.as_bytes());
        let Some(lines) = lines else {
            let output = child.wait_with_output().unwrap();
            return (text(&output.stdout), text(&output.stderr), output.status.code());
        };
        let mut reader = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut out = Vec::new();
        for _ in 0..lines {
            reader.read_until(b'\n', &mut out).unwrap();
        }
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        (text(&out), text(&output.stderr), output.status.code())
    }
}

/// A line of output with a backslash before it if it could be taken for a line of the script.
fn escape(line: &str) -> String {
    let escape =
        if line.starts_with(['$', '#']) || line.starts_with("< ") || line == "<\n" { "\\" } else { "" };
    format!("{escape}{line}")
}

/// Output as text; bytes that are none are shown as Rust escapes them.
fn text(bytes: &[u8]) -> String {
    let shown = |chunk: std::str::Utf8Chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii());
    bytes.utf8_chunks().map(shown).collect()
}

fn number_after(text: &str, before: &str) -> Option<u64> {
    let rest = &text[text.find(before)? + before.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// Hides times, sizes and counters of the server.
fn mask(answer: &str) -> String {
    let numbers =
        ["\"dbSize\":", "\"dbSizeInUse\":", "\"raftIndex\":", "\"raftAppliedIndex\":", "\"DBSize\" : "];
    let more = ["\"DBSizeInUse\" : ", "\"RaftIndex\" : ", "\"RaftAppliedIndex\" : "];
    let times = ["took = ", "took ", "\"took\":\"", "\"Took\" : "];
    let masked = numbers
        .iter()
        .chain(&more)
        .fold(answer.to_owned(), |answer, before| hide(&answer, before, |c| !c.is_ascii_digit()));
    times.iter().fold(masked, |answer, before| hide(&answer, before, |c| c != '.' && !c.is_alphanumeric()))
}

/// Replaces what stands between each `before` and the next character that is an `end`.
fn hide(text: &str, before: &str, is_end: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(before);
    let mut hidden = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(&is_end).unwrap_or(part.len());
        let name = if end == 0 { "" } else { "<…>" };
        // Nothing but a point ends a sentence and not a number.
        let rest = if part[..end].ends_with('.') { &part[end - 1..] } else { &part[end..] };
        hidden += &format!("{before}{name}{rest}");
    }
    hidden
}
