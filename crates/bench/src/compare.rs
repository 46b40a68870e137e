//! Our server and a peer under the same workloads, in turn, on the same machine, within minutes.
//!
//! Each run gets a fresh process and data directory. The sides alternate, and the side that goes first
//! changes with each repeat, so that a machine that slows down meanwhile charges both. Only one server, or one
//! cluster, runs at a time; where there is more than one processor, all its members keep to one half of them and
//! the generator to the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cases::{self, Case};
use crate::chart;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::load::Coordinator;
use crate::markdown;
use crate::process;
use crate::report::{ELECTIONS, Report};
use crate::table::{self, Row, SIDES};

/// What is to be compared, and how thoroughly.
#[derive(Debug, PartialEq)]
pub(crate) struct Comparison {
    /// Our server's binary.
    pub(crate) ours: String,
    /// The peer's command; without one only ours is measured.
    pub(crate) peer: Vec<String>,
    /// Names of the cases to run; empty means all.
    pub(crate) only: Vec<String>,
    /// Runs of each steady case on each side. Experiments, which take minutes, run half as often.
    pub(crate) repeats: usize,
    /// Load before each measured time.
    pub(crate) warmup: Duration,
    /// Each measured time.
    pub(crate) duration: Duration,
    /// What the sizes of experiments are divided by.
    pub(crate) shrink: u64,
    /// The most keys of the case that measures what they cost.
    pub(crate) keys_max: u64,
    /// How often the case that measures time without service kills a leader, and how often it stops one.
    pub(crate) kills: usize,
    /// Where data directories are made; the system's directory for temporary files if not given.
    pub(crate) dir: Option<PathBuf>,
    /// Whether server and generator get processors of their own.
    pub(crate) pinned: bool,
    /// A file for all numbers.
    pub(crate) json: Option<PathBuf>,
    /// A file for a picture of the ratios.
    pub(crate) chart: Option<PathBuf>,
    /// A file for the table as a document has it.
    pub(crate) markdown: Option<PathBuf>,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            ours: "target/release/etcd".to_owned(),
            peer: Vec::new(),
            only: Vec::new(),
            repeats: 2,
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(3),
            shrink: 1,
            keys_max: 1_000_000,
            kills: 10,
            dir: None,
            pinned: true,
            json: None,
            chart: None,
            markdown: None,
        }
    }
}

impl Comparison {
    /// All numbers, with the conditions under which they came about.
    fn json(&self, rows: &[Row]) -> Value {
        json!({
            "ours": self.ours,
            "peer": self.peer,
            "repeats": self.repeats,
            "warmup_s": self.warmup.as_secs_f64(),
            "seconds": self.duration.as_secs_f64(),
            "experiments_shrunk_by": self.shrink,
            "kills": self.kills,
            "pinned": self.pinned,
            "workloads": table::json(rows),
        })
    }

    /// Runs a minute or two in place of twenty: once each, a second, experiments of a tenth of the size.
    pub(crate) fn hurry(&mut self) {
        self.repeats = 1;
        self.warmup = Duration::from_millis(500);
        self.duration = Duration::from_secs(1);
        self.shrink = 10;
    }
}

/// Runs the comparison, writes its files and returns its table. An interrupt ends it with the runs that were
/// complete.
///
/// # Errors
/// If a case is unknown, no peer is given, a server does not start, or a file cannot be written. A case that
/// cannot be run on one of the servers is reported as such, and the next one follows.
pub(crate) fn run(comparison: &Comparison) -> Result<String, Error> {
    if comparison.peer.is_empty() {
        return Err(Error::Usage("compare needs `--` and the peer's command".to_owned()));
    }
    let rows = measure(comparison)?;
    let write = |path: &PathBuf, text: String| {
        fs::write(path, text).map_err(|cause| Error::File { path: path.clone(), cause })
    };
    if let Some(path) = &comparison.json {
        write(path, format!("{:#}\n", comparison.json(&rows)))?;
    }
    if let Some(path) = &comparison.chart {
        write(path, chart::svg(&rows))?;
    }
    if let Some(path) = &comparison.markdown {
        write(path, markdown::text(&rows))?;
    }
    Ok(table::text(&rows))
}

/// Runs all chosen cases on all sides. An interrupt ends it with the runs that were complete.
pub(crate) fn measure(comparison: &Comparison) -> Result<Vec<Row>, Error> {
    let cases = cases::chosen(&comparison.only)?;
    if comparison.ours.contains('/') && !Path::new(&comparison.ours).is_file() {
        let text = format!(
            "there is no server `{}`: build it with `cargo build --release -p etcd`",
            comparison.ours
        );
        return Err(Error::Usage(text + ", or name another with --ours"));
    }
    let cores = Cores::split(&process::allowed_cores()?, comparison.pinned);
    cores.keep_generator()?;
    let mut coordinator = Coordinator::new()?;
    let mut rows: Vec<Row> = cases.iter().map(|case| case.row()).collect();
    'cases: for (case, row) in cases.iter().zip(&mut rows) {
        let is_short = case.is_steady() || case.is_bare();
        let repeats = if is_short { comparison.repeats } else { comparison.repeats.div_ceil(2) };
        let with_peer = !comparison.peer.is_empty() && !case.is_bare();
        for (repeat, side) in turns(repeats, with_peer) {
            eprintln!("{}, {} of {repeats}: {}", case.name, repeat + 1, SIDES[side]);
            match measure_once(comparison, case, side, &cores, &mut coordinator) {
                Ok(report) if report.interrupted => break 'cases,
                Ok(report) => row.sides[side].push(report),
                Err(Error::Interrupted) => break 'cases,
                Err(error @ Error::Server { .. }) => return Err(error),
                Err(error) => {
                    eprintln!("{error}");
                    row.failure = Some(format!("{}: {error}", SIDES[side]));
                    continue 'cases;
                }
            }
        }
    }
    Ok(rows)
}

/// The runs of one case as (repeat, side), each side going first in turn.
fn turns(repeats: usize, with_peer: bool) -> impl Iterator<Item = (usize, usize)> {
    let both = (0..repeats).flat_map(|repeat| [(repeat, repeat % 2), (repeat, (repeat + 1) % 2)]);
    both.filter(move |(_, side)| with_peer || *side == 0)
}

/// One run of one side, from the start of its server to the end.
fn measure_once(
    comparison: &Comparison,
    case: &Case,
    side: usize,
    cores: &Cores,
    coordinator: &mut Coordinator,
) -> Result<Report, Error> {
    let mut settings = case.settings(comparison);
    settings.dir.clone_from(&comparison.dir);
    settings.server_cores.clone_from(&cores.server);
    if case.is_bare() {
        let report = coordinator.run(&settings, None)?;
        eprintln!("{}", report.text(&settings.describe()));
        return Ok(report);
    }
    let ours = [comparison.ours.clone()];
    let command = [&ours[..], &comparison.peer[..]][side];
    let dir = comparison.dir.clone().unwrap_or_else(std::env::temp_dir);
    let start = Cluster::start(command, Path::new(&dir), &cores.server, settings.members);
    let mut cluster = coordinator.block_on(start)?;
    let before = coordinator.block_on(cluster.leadership())?;
    settings.endpoint = cluster.endpoint(settings.called, before).to_owned();
    settings.server_pids = cluster.pids();
    let mut report = coordinator.run(&settings, Some(&mut cluster))?;
    if settings.members > 1 && case.is_steady() && !report.interrupted {
        let after = coordinator.block_on(cluster.leadership())?;
        report.add(&ELECTIONS, after.term.saturating_sub(before.term) as f64);
    }
    eprintln!("{}", report.text(&settings.describe()));
    Ok(report)
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

    /// Keeps this thread, and the generator's threads that it starts, to the generator's processors.
    fn keep_generator(&self) -> Result<(), Error> {
        if self.generator.is_empty() { Ok(()) } else { process::pin(&self.generator) }
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
        assert_eq!(turns(2, true).collect::<Vec<_>>(), [(0, 0), (0, 1), (1, 1), (1, 0)]);
        assert_eq!(turns(2, false).collect::<Vec<_>>(), [(0, 0), (1, 0)]);
    }

    #[test]
    fn a_comparison_without_a_peer_is_refused() {
        assert!(matches!(run(&Comparison::default()), Err(Error::Usage(_))));
    }
}
