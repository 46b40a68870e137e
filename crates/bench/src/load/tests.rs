//! Whole runs against a server of ours, and the arithmetic around them.

use std::env::{current_exe, temp_dir, var};

use super::*;
use crate::settings::{Role, Workload};

/// Holds the flags of the server that this test program, started again, is to be.
const FLAGS: &str = "BENCH_TEST_SERVER";

#[test]
#[ignore = "it is the server of the other tests, which start it"]
fn serve() {
    if let Ok(flags) = var(FLAGS) {
        let _ = ::server::run_with(flags.split_whitespace().map(str::to_owned), []);
    }
}

/// A server with a coordinator for runs against it.
struct Bench {
    coordinator: Coordinator,
    cluster: Cluster,
    /// Where clients of the leader connect.
    endpoint: String,
}

impl Bench {
    fn start() -> Self {
        Self::of(1)
    }

    /// The same with so many members.
    fn of(members: usize) -> Self {
        let mut coordinator = Coordinator::new().unwrap();
        let script = format!(
            "{FLAGS}='--name={{name}} --data-dir={{data}} --listen-client-urls={{client}} --advertise-client-urls={{client}} \
             --listen-peer-urls={{peer}} --initial-advertise-peer-urls={{peer}} --initial-cluster={{cluster}}' \
             exec '{}' --ignored --exact load::tests::serve --nocapture",
            current_exe().unwrap().display()
        );
        let command = ["sh".to_owned(), "-c".to_owned(), script];
        let cluster = coordinator.block_on(Cluster::start(&command, &temp_dir(), &[], members)).unwrap();
        let leadership = coordinator.block_on(cluster.leadership()).unwrap();
        let endpoint = cluster.endpoint(Role::Leader, leadership).to_owned();
        Self { coordinator, cluster, endpoint }
    }

    /// A short run of `workload`, two threads of it.
    fn settings(&self, workload: Workload) -> Settings {
        Settings {
            endpoint: self.endpoint.clone(),
            connections: 3,
            threads: 2,
            streams: 2,
            keys: if workload == Workload::Keys { 10_000 } else { 1000 },
            watchers: 6,
            revisions: 100,
            leases: 100,
            warmup: Duration::ZERO,
            duration: Duration::from_millis(150),
            server_pids: self.cluster.pids(),
            kills: 1,
            ..Settings::of(workload)
        }
    }

    fn run(&mut self, settings: &Settings) -> Report {
        self.coordinator.run(settings, Some(&mut self.cluster)).unwrap()
    }

    /// Runs a steady load until an operation ends within the time of a run, which is doubled until then: a busy machine
    /// may do nothing at all for a while.
    fn run_until_something_ends(&mut self, settings: &Settings) -> Report {
        let mut settings = settings.clone();
        loop {
            let report = self.run(&settings);
            if report.first_error.is_some() || report.value("ops/s").unwrap() > 0.0 {
                return report;
            }
            settings.duration *= 2;
        }
    }
}

#[test]
fn each_steady_workload_runs_without_a_failure() {
    let mut bench = Bench::start();
    for (workload, name, _) in Workload::ALL.into_iter().filter(|(workload, ..)| workload.is_steady()) {
        let report = bench.run_until_something_ends(&bench.settings(workload));
        assert_eq!((report.first_error.as_deref(), report.interrupted), (None, false), "{name}");
        assert!(report.value("generator CPU µs/op").is_some(), "{name}");
    }
}

#[test]
fn each_experiment_runs_without_a_failure() {
    for (workload, name, _) in Workload::ALL.into_iter().filter(|(workload, ..)| !workload.is_steady()) {
        let members = Settings::of(workload).members;
        let mut bench = Bench::of(members);
        let report = bench.run(&bench.settings(workload));
        assert_eq!((report.first_error.as_deref(), report.measures().count() > 0), (None, true), "{name}");
    }
}

#[test]
fn a_cluster_is_read_at_each_of_its_members_and_left_alone() {
    let mut bench = Bench::of(3);
    let leadership = bench.coordinator.block_on(bench.cluster.leadership()).unwrap();
    let leader = bench.settings(Workload::Get);
    let endpoint = bench.cluster.endpoint(Role::Follower, leadership).to_owned();
    let follower = Settings { endpoint, ..leader.clone() };
    assert_ne!(follower.endpoint, leader.endpoint);
    for settings in [leader, follower] {
        assert_eq!(settings.server_pids.len(), 3);
        let report = bench.run_until_something_ends(&settings);
        assert_eq!(report.first_error, None, "{}", settings.endpoint);
    }
    let report = bench.run(&bench.settings(Workload::IdleServer));
    assert!(report.value("bytes/s between members").unwrap() > 0.0, "a leader sends heartbeats");
}

#[test]
fn an_answer_of_megabytes_arrives_whole() {
    let mut bench = Bench::start();
    let settings = Settings { keys: 10_000, value_bytes: 300, ..bench.settings(Workload::Range) };
    let report = bench.run(&settings);
    assert_eq!(report.first_error, None);
    assert!(report.value("ops/s").unwrap() > 0.0);
}

#[test]
fn an_experiment_on_memory_needs_a_process() {
    let settings = Settings::of(Workload::IdleConnections);
    assert!(run(&settings).unwrap_err().to_string().starts_with("idle-connections needs --server-pid"));
}

#[test]
fn a_restart_needs_a_server_that_was_started_here() {
    let error = run(&Settings::of(Workload::Restart)).unwrap_err();
    assert!(error.to_string().starts_with("restart needs a server"), "{error}");
}

#[test]
fn an_open_loop_does_not_exceed_its_rate() {
    let mut bench = Bench::start();
    let settings = Settings { rate: Some(200.0), ..bench.settings(Workload::Get) };
    let start = Instant::now();
    let ops_per_s = bench.run(&settings).value("ops/s").unwrap();
    // The first operation of each thread is due at once.
    let ops = ops_per_s * settings.duration.as_secs_f64();
    let most = 200.0 * start.elapsed().as_secs_f64() + 2.0;
    assert!(ops > 0.0 && ops <= most, "{ops}");
}

#[test]
fn what_the_server_refuses_is_a_failure() {
    let mut bench = Bench::start();
    let settings = Settings { value_bytes: 1_700_000, ..bench.settings(Workload::Put) };
    let report = bench.run(&settings);
    assert_eq!((report.value("ops/s"), report.value("server CPU µs/op")), (Some(0.0), None));
    assert_eq!(
        report.first_error.as_deref(),
        Some("the server refused with gRPC code 3: etcdserver: request is too large")
    );
}

#[test]
fn a_run_without_a_server_says_where_it_looked() {
    let vacant = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for workload in [Workload::Put, Workload::Get, Workload::WatchCatchUp] {
        let settings = Settings { endpoint: vacant.to_string(), ..Settings::of(workload) };
        let error = run(&settings).unwrap_err();
        assert!(error.to_string().starts_with(&format!("no server at {vacant}: ")), "{error}");
    }
}

fn run(settings: &Settings) -> Result<Report, Error> {
    Coordinator::new().unwrap().run(settings, None)
}

/// A second in which the server used `server` and the generator `generator` milliseconds.
fn span(server: Option<u64>, generator: u64) -> Span {
    // A wake-up a millisecond, and as many switches that were forced.
    let reading = |ms| {
        let switches = Switches { voluntary: ms, involuntary: ms };
        Reading { cpu: Duration::from_millis(ms), switches, rss_bytes: 3 << 20 }
    };
    let start = Sample { at: Instant::now(), server: server.map(|_| reading(100)), generator: reading(100) };
    let end = Sample {
        at: start.at + Duration::from_secs(1),
        server: server.map(|ms| reading(100 + ms)),
        generator: reading(100 + generator),
    };
    Span { start, end }
}

#[test]
fn cpu_is_set_against_the_operations() {
    let mut tally = Tally::new();
    (0..1000).for_each(|_| tally.succeed(Duration::from_millis(2)));
    let report = span(Some(80), 5).report(&tally);
    assert_eq!(report.value("server CPU µs/op"), Some(80.0));
    assert_eq!(report.value("wake-ups/op"), Some(0.08));
    assert_eq!(report.value("switches/op"), Some(0.16));
    assert_eq!(report.value("generator CPU µs/op"), Some(5.0));
    assert_eq!(report.value("RSS MiB"), Some(3.0));
    assert_eq!(report.value("ops/s"), Some(1000.0));
    for name in ["mean ms", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"] {
        assert!((report.value(name).unwrap() - 2.0).abs() < 0.01, "{name}");
    }
    assert_eq!(span(None, 5).report(&tally).value("server CPU µs/op"), None);
}

#[test]
fn the_generator_is_the_limit_when_it_alone_is_busy() {
    let observed = Settings { server_pids: vec![std::process::id()], ..Settings::of(Workload::Get) };
    let alone = Settings { server_pids: vec![], ..observed.clone() };
    let cores = process::core_count(std::process::id()).unwrap() as u64;
    assert!(span(Some(100), 950).generator_bound(&observed).unwrap());
    assert!(!span(Some(950 * cores), 950).generator_bound(&observed).unwrap());
    assert!(!span(Some(100), 500).generator_bound(&observed).unwrap());
    assert!(span(None, 950).generator_bound(&alone).unwrap());
}

#[test]
fn progress_tells_of_failures_only_when_there_are_some() {
    let mut total = Tally::new();
    assert_eq!(line(Duration::from_secs(3), 14_012, &total), "   3 s     14012 ops/s");
    total.fail(&Error::Answer("short".to_owned()));
    let text = line(Duration::from_secs(3), 0, &total);
    assert_eq!(text, "   3 s         0 ops/s   1 failed: wrong answer: short");
}
