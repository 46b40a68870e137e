//! Our server and a peer under the same workloads, in turn, on the same machine, within minutes.
//!
//! Each run gets a fresh process and data directory. The sides alternate, and the side that goes first
//! changes with each repeat, so that a machine that slows down meanwhile charges both. Only one server runs at a
//! time; where there is more than one processor, it keeps to one half of them and the generator to the other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::load::Coordinator;
use crate::process;
use crate::report::Summary;
use crate::server::Server;
use crate::settings::{Settings, Workload};
use crate::table::{self, Row, SIDES};

/// What is to be compared, and how thoroughly.
#[derive(Debug, PartialEq)]
pub(crate) struct Comparison {
    /// Our server's binary.
    pub(crate) ours: String,
    /// The peer's command.
    pub(crate) peer: Vec<String>,
    /// Names of the cases to run; empty means all.
    pub(crate) only: Vec<String>,
    /// Runs of each case on each side.
    pub(crate) repeats: usize,
    /// Load before each measured time.
    pub(crate) warmup: Duration,
    /// Each measured time.
    pub(crate) duration: Duration,
    /// Where data directories are made; the system's directory for temporary files if not given.
    pub(crate) dir: Option<PathBuf>,
    /// Whether server and generator get processors of their own.
    pub(crate) pinned: bool,
    /// Report as JSON.
    pub(crate) json: bool,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            ours: "target/release/etcd".to_owned(),
            peer: Vec::new(),
            only: Vec::new(),
            repeats: 3,
            warmup: Duration::from_secs(2),
            duration: Duration::from_secs(10),
            dir: None,
            pinned: true,
            json: false,
        }
    }
}

/// One line of the table: its name, and what it changes in the defaults of its workload.
struct Case {
    name: &'static str,
    workload: Workload,
    change: fn(&mut Settings),
}

const CASES: &[Case] = &[
    Case { name: "put", workload: Workload::Put, change: |_| {} },
    Case { name: "put-one-client", workload: Workload::Put, change: |s| (s.connections, s.streams) = (1, 1) },
    Case { name: "txn-put", workload: Workload::TxnPut, change: |_| {} },
    Case { name: "get", workload: Workload::Get, change: |_| {} },
    Case { name: "get-serializable", workload: Workload::Get, change: |s| s.serializable = true },
    Case { name: "list-10k", workload: Workload::Range, change: |_| {} },
    Case { name: "page-500", workload: Workload::Range, change: |s| (s.keys, s.limit) = (100_000, 500) },
    Case {
        name: "count-100k",
        workload: Workload::Range,
        change: |s| (s.keys, s.count_only) = (100_000, true),
    },
    Case { name: "watch-1k", workload: Workload::Watch, change: |_| {} },
];

/// The names of all cases, as `--workloads` takes them.
pub(crate) fn case_names() -> String {
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    names.join(",")
}

/// Runs the comparison and returns its report. An interrupt ends it with the runs that were complete.
///
/// # Errors
/// If a case is unknown, no peer is given, or a server does not start. A case that cannot be run on one of the
/// servers is reported as such, and the next one follows.
pub(crate) fn run(comparison: &Comparison) -> Result<String, Error> {
    if comparison.peer.is_empty() {
        return Err(Error::Usage("compare needs `--` and the peer's command".to_owned()));
    }
    let cases = chosen(&comparison.only)?;
    let cores = Cores::split(&process::allowed_cores()?, comparison.pinned);
    let mut coordinator = Coordinator::new()?;
    let mut rows: Vec<Row> = cases.iter().map(|case| Row::new(case.name)).collect();
    'cases: for (case, row) in cases.iter().zip(&mut rows) {
        for (repeat, side) in turns(comparison.repeats) {
            eprintln!("{}, {} of {}: {}", case.name, repeat + 1, comparison.repeats, SIDES[side]);
            match measure(comparison, case, side, &cores, &mut coordinator) {
                Ok(summary) => row.sides[side].push(summary),
                Err(Error::Interrupted) => break 'cases,
                Err(error @ Error::Server { .. }) => return Err(error),
                Err(error) => {
                    row.failure = Some(format!("{}: {error}", SIDES[side]));
                    continue 'cases;
                }
            }
        }
    }
    Ok(if comparison.json { table::json(&rows).to_string() } else { table::text(&rows) })
}

fn chosen(only: &[String]) -> Result<Vec<&'static Case>, Error> {
    if only.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let find = |name: &String| {
        let case = CASES.iter().find(|case| case.name == name);
        let unknown = || format!("unknown workload `{name}` to compare; there are {}", case_names());
        case.ok_or_else(|| Error::Usage(unknown()))
    };
    only.iter().map(find).collect()
}

/// The runs of one case as (repeat, side), each side going first in turn.
fn turns(repeats: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..repeats).flat_map(|repeat| [(repeat, repeat % 2), (repeat, (repeat + 1) % 2)])
}

/// One run of one side, from the start of its server to the end.
fn measure(
    comparison: &Comparison,
    case: &Case,
    side: usize,
    cores: &Cores,
    coordinator: &mut Coordinator,
) -> Result<Summary, Error> {
    let ours = [comparison.ours.clone()];
    let command = [&ours[..], &comparison.peer[..]][side];
    let dir = comparison.dir.clone().unwrap_or_else(std::env::temp_dir);
    let server = cores.start(command, &dir)?;
    let mut settings = Settings::of(case.workload);
    (case.change)(&mut settings);
    settings.endpoint = server.endpoint().to_owned();
    settings.server_pid = Some(server.pid());
    settings.warmup = comparison.warmup;
    settings.duration = comparison.duration;
    let outcome = coordinator.run(&settings)?;
    if outcome.interrupted {
        return Err(Error::Interrupted);
    }
    let summary = Summary::of(&outcome);
    eprintln!("{}", summary.text(&settings));
    Ok(summary)
}

/// Which processors serve and which press; both empty when they share.
#[derive(Debug, PartialEq)]
struct Cores {
    server: Vec<usize>,
    generator: Vec<usize>,
}

impl Cores {
    /// Gives the server the larger half of `allowed`. A single processor is shared.
    fn split(allowed: &[usize], pinned: bool) -> Self {
        if !pinned || allowed.len() < 2 {
            return Self { server: Vec::new(), generator: Vec::new() };
        }
        let (server, generator) = allowed.split_at(allowed.len().div_ceil(2));
        Self { server: server.to_vec(), generator: generator.to_vec() }
    }

    /// Starts a server on its processors and leaves this thread on the generator's.
    ///
    /// A process inherits the affinity of the thread that starts it, which is the one moment at which all
    /// its threads can be pinned without a race.
    fn start(&self, command: &[String], dir: &Path) -> Result<Server, Error> {
        if self.server.is_empty() {
            return Server::start(command, dir);
        }
        process::pin(&self.server)?;
        let server = Server::start(command, dir);
        process::pin(&self.generator)?;
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_split_only_where_there_are_two() {
        let shared = Cores { server: vec![], generator: vec![] };
        assert_eq!(Cores::split(&[3], true), shared);
        assert_eq!(Cores::split(&[0, 1], false), shared);
        assert_eq!(Cores::split(&[0, 2, 5], true), Cores { server: vec![0, 2], generator: vec![5] });
    }

    #[test]
    fn the_sides_alternate_and_take_turns_to_go_first() {
        assert_eq!(turns(2).collect::<Vec<_>>(), [(0, 0), (0, 1), (1, 1), (1, 0)]);
    }

    #[test]
    fn each_case_has_a_name_of_its_own_and_consistent_settings() {
        for (idx, case) in CASES.iter().enumerate() {
            assert!(CASES[..idx].iter().all(|other| other.name != case.name), "{}", case.name);
            let mut settings = Settings::of(case.workload);
            (case.change)(&mut settings);
            settings.check().unwrap();
        }
    }

    #[test]
    fn an_unknown_case_is_refused_with_the_known_ones() {
        let Err(error) = chosen(&["put".to_owned(), "delete".to_owned()]) else { panic!("no such case") };
        assert!(error.to_string().contains("`delete` to compare; there are put,put-one-client"), "{error}");
    }

    #[test]
    fn a_comparison_without_a_peer_is_refused() {
        assert!(matches!(run(&Comparison::default()), Err(Error::Usage(_))));
    }
}
