//! Pages for whoever looks into a running member: `/debug/vars`, and `/debug/pprof/` with `--enable-pprof`.
//!
//! What Go's profiler offers has no counterpart in a program without its runtime; of `/debug/pprof/` there is the
//! command line, and the threads with the processor time that each has used. `perf` does the rest.

use std::fmt::Write;
use std::fs;

use http::{StatusCode, header};
use rustix::process::{Resource, getrlimit};
use serde_json::json;

use super::not_found;
use crate::api::Api;
use crate::http::Answer;

/// The pages' settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Debug {
    /// Whether there is a `/debug/pprof/`.
    pub(crate) has_profiles: bool,
}

const INDEX: &str = "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<br>\n\
                     <p>What there is:</p>\n<ul>\n\
                     <li><a href='cmdline'>cmdline</a>: the command line of this process</li>\n\
                     <li><a href='threads'>threads</a>: its threads and the processor time of each</li>\n\
                     </ul>\n</body>\n</html>\n";

impl Debug {
    /// Numbers of the process, under the names that etcd exports.
    pub(super) fn vars(self, api: &Api) -> Answer {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let vars = [
            ("cmdline", json!(command_line())),
            ("file_descriptor_limit", json!(files)),
            ("memstats", json!({ "Sys": resident_bytes() })),
            ("raft.status", api.raft_status()),
        ];
        let vars: Vec<String> = vars.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        let body = format!("{{\n{}\n}}\n", vars.join(",\n"));
        Answer::new(StatusCode::OK, "application/json; charset=utf-8", body)
    }

    /// Whatever `path` below `/debug/pprof/` shows.
    pub(super) fn profile(self, path: &str) -> Answer {
        let answer = match path.trim_start_matches("/debug/pprof/") {
            _ if !self.has_profiles => return not_found(),
            "" => Answer::new(StatusCode::OK, "text/html; charset=utf-8", INDEX),
            "cmdline" => Answer::text(StatusCode::OK, command_line().join("\0")),
            "threads" => Answer::text(StatusCode::OK, threads()),
            _ => return Answer::error(StatusCode::NOT_FOUND, "Unknown profile\n"),
        };
        answer.with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
    }
}

fn command_line() -> Vec<String> {
    std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// Bytes of memory in use; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

/// A line for each thread: name, state, ticks in user and in system mode.
fn threads() -> String {
    let mut text = String::from("name\tstate\tuser ticks\tsystem ticks\n");
    for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name stands in parentheses and may hold some itself.
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        writeln!(text, "{name}\t{}\t{}\t{}", field(0), field(11), field(12))
            .expect("a String takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_names_and_times() {
        let name = "sometest";
        let table = std::thread::Builder::new().name(name.to_owned()).spawn(threads).unwrap().join().unwrap();
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split('\t').count(), 4);
        assert!(resident_bytes() > 0);
    }

    #[test]
    fn profiles_are_offered_only_on_demand() {
        let status = |has_profiles, path| Debug { has_profiles }.profile(path).status;
        assert_eq!(status(false, "/debug/pprof/"), StatusCode::NOT_FOUND);
        assert_eq!(status(true, "/debug/pprof/"), StatusCode::OK);
        assert_eq!(status(true, "/debug/pprof/cmdline"), StatusCode::OK);
        assert_eq!(status(true, "/debug/pprof/heap"), StatusCode::NOT_FOUND);
    }
}
