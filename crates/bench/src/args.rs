//! The command line: one table a command, in which each flag has its name, its meaning and its effect.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::cases;
use crate::compare::Comparison;
use crate::error::Error;
use crate::settings::{KeyOrder, Settings, Workload};

/// What the user asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Print the usage.
    Help,
    /// Put load on a server that runs already.
    Load(Settings),
    /// Start two servers in turn and compare them.
    Compare(Comparison),
    /// Start ours, and a peer if one is given, and hold the numbers against thresholds.
    Check(Comparison),
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// [`Error::Usage`] for an unknown workload or flag, a value that does not fit, or one that is missing.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, Error> {
    let mut args = args.into_iter();
    match args.next().as_deref() {
        None | Some("help" | "--help" | "-h") => Ok(Command::Help),
        Some("compare") => Ok(Command::Compare(comparison(COMPARE_FLAGS, args)?)),
        Some("check") => Ok(Command::Check(comparison(&[SERVER_FLAGS], args)?)),
        Some(name) => {
            let mut settings = Settings::of(Workload::named(name)?);
            if !parse_flags(&[LOAD_FLAGS], &mut settings, args)?.is_empty() {
                return usage("`--` and a peer's command belong to `bench compare`");
            }
            settings.check()?;
            Ok(Command::Load(settings))
        }
    }
}

fn comparison(
    flags: &[&[Flag<Comparison>]],
    args: impl Iterator<Item = String>,
) -> Result<Comparison, Error> {
    let mut comparison = Comparison::default();
    comparison.peer = parse_flags(flags, &mut comparison, args)?;
    Ok(comparison)
}

/// The text of `bench help`.
pub(crate) fn help() -> String {
    let mut text = "Usage: bench WORKLOAD [FLAGS]\n\
         \x20      bench compare [FLAGS] -- PEER-COMMAND...\n\
         \x20      bench check [FLAGS] [-- PEER-COMMAND...]\n"
        .to_owned();
    text += "\nWorkloads:\n";
    for (_, name, meaning) in Workload::ALL {
        writeln!(text, "  {name:<22} {meaning}").expect("a string takes any text");
    }
    text += "\nFlags of a workload:\n";
    describe(&mut text, LOAD_FLAGS);
    text += "\nFlags of compare and check:\n";
    describe(&mut text, SERVER_FLAGS);
    text += "\nFlags of compare alone:\n";
    describe(&mut text, TABLE_FLAGS);
    writeln!(text, "\nCases of compare: {}", cases::names()).expect("a string takes any text");
    text += "\nPEER-COMMAND may hold {name}, {data}, {client}, {peer} and {cluster}: the name of a member, a fresh\n\
             directory, its URL for clients, its URL for members, and NAME=URL of all members. Without them, etcd's\n\
             own flags are appended.\n";
    text
}

/// One flag of a command that fills in a `T`.
struct Flag<T> {
    name: &'static str,
    /// What the value stands for; empty for a flag without one.
    value: &'static str,
    help: &'static str,
    /// Takes the value over; `None` if it does not fit.
    set: fn(&mut T, &str) -> Option<()>,
}

const LOAD_FLAGS: &[Flag<Settings>] = &[
    flag("--endpoint", "HOST:PORT", "the server (127.0.0.1:2379)", |s, v| {
        s.endpoint = v.strip_prefix("http://").unwrap_or(v).to_owned();
        Some(())
    }),
    flag("--connections", "N", "TCP connections (8; range 2, idle-connections 2000)", |s, v| {
        store(&mut s.connections, positive(v))
    }),
    flag("--streams", "N", "calls in flight on each (32; kubernetes 8, range 2, watch 1)", |s, v| {
        store(&mut s.streams, positive(v))
    }),
    flag("--threads", "N", "threads of the generator (1)", |s, v| store(&mut s.threads, positive(v))),
    flag("--rate", "OPS", "open loop: operations a second, of watched keys: puts", |s, v| {
        store(&mut s.rate, above_zero(v).map(Some))
    }),
    flag(
        "--keys",
        "N",
        "distinct keys (100000; range, kubernetes 10000; restart, keys, overwrite a million)",
        |s, v| store(&mut s.keys, positive(v).map(|keys: usize| keys as u64)),
    ),
    flag("--key-order", "ORDER", "sequential, random or one (random)", |s, v| {
        store(&mut s.key_order, KeyOrder::named(v))
    }),
    flag(
        "--value-bytes",
        "N",
        "length of each value (256; kubernetes, restart, overwrite 1024, keys 64)",
        |s, v| store(&mut s.value_bytes, number(v)),
    ),
    flag("--serializable", "", "read without asking the cluster", |s, _| {
        store(&mut s.serializable, Some(true))
    }),
    flag("--limit", "N", "keys that a range returns at most (all)", |s, v| store(&mut s.limit, number(v))),
    flag("--count-only", "", "a range returns the count only", |s, _| store(&mut s.count_only, Some(true))),
    flag("--read-percent", "N", "calls of a mixed load that read (90)", |s, v| {
        store(&mut s.read_percent, number(v).filter(|&percent| percent <= 100))
    }),
    flag("--watchers", "N", "watchers in all (1000; kubernetes 100, catch-up 4, idle 100000)", |s, v| {
        store(&mut s.watchers, positive(v))
    }),
    flag("--puts-ahead", "N", "puts ahead of their deliveries (4; watch-prefixes 64)", |s, v| {
        store(&mut s.puts_ahead, positive(v))
    }),
    flag("--revisions", "N", "puts before catch-up and compaction (a million)", |s, v| {
        store(&mut s.revisions, positive(v).map(|revisions| revisions as u64))
    }),
    flag("--leases", "N", "leases that run out (a million)", |s, v| {
        store(&mut s.leases, positive(v).map(|leases| leases as u64))
    }),
    flag("--warmup", "SECONDS", "load before the measured time (2)", |s, v| store(&mut s.warmup, seconds(v))),
    flag("--seconds", "SECONDS", "the measured time (10)", |s, v| store(&mut s.duration, some_seconds(v))),
    flag("--server-pid", "PID", "the process whose CPU and memory are read; several are added up", |s, v| {
        s.server_pids.push(number(v)?);
        Some(())
    }),
    flag("--json", "", "report as JSON", |s, _| store(&mut s.json, Some(true))),
];

const SERVER_FLAGS: &[Flag<Comparison>] = &[
    flag("--ours", "PATH", "our server (target/release/etcd)", |c, v| store(&mut c.ours, Some(v.into()))),
    flag("--repeats", "N", "runs of each case on each side, experiments half as many (2)", |c, v| {
        store(&mut c.repeats, positive(v))
    }),
    flag("--warmup", "SECONDS", "load before each measured time (1)", |c, v| {
        store(&mut c.warmup, seconds(v))
    }),
    flag("--seconds", "SECONDS", "each measured time (3)", |c, v| store(&mut c.duration, some_seconds(v))),
    flag("--dir", "PATH", "where data directories are made (the system's place)", |c, v| {
        store(&mut c.dir, Some(Some(PathBuf::from(v))))
    }),
    flag("--no-pin", "", "let servers and generator share all processors", |c, _| {
        store(&mut c.pinned, Some(false))
    }),
];

const TABLE_FLAGS: &[Flag<Comparison>] = &[
    flag("--only", "A,B", "which cases (all)", |c, v| {
        store(&mut c.only, Some(v.split(',').map(str::to_owned).collect()))
    }),
    flag(
        "--keys-max",
        "N",
        "where the case `keys` ends (a million; ten million takes a peer minutes)",
        |c, v| store(&mut c.keys_max, positive(v).map(|keys: usize| keys as u64)),
    ),
    flag(
        "--kills",
        "N",
        "how often `cluster-failover` kills a leader, and how often it stops one (10)",
        |c, v| store(&mut c.kills, positive(v)),
    ),
    flag("--quick", "", "a second each, once, experiments of a tenth of the size", |c, _| {
        c.hurry();
        Some(())
    }),
    flag("--json", "FILE", "write all numbers as JSON", |c, v| store(&mut c.json, Some(Some(v.into())))),
    flag("--chart", "FILE", "write a picture of the ratios as SVG", |c, v| {
        store(&mut c.chart, Some(Some(v.into())))
    }),
    flag("--markdown", "FILE", "write the table as a document has it", |c, v| {
        store(&mut c.markdown, Some(Some(v.into())))
    }),
];

const COMPARE_FLAGS: &[&[Flag<Comparison>]] = &[SERVER_FLAGS, TABLE_FLAGS];

const fn flag<T>(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    set: fn(&mut T, &str) -> Option<()>,
) -> Flag<T> {
    Flag { name, value, help, set }
}

/// Applies the flags in `args` to `target` and returns what follows `--`.
fn parse_flags<T>(
    flags: &[&[Flag<T>]],
    target: &mut T,
    mut args: impl Iterator<Item = String>,
) -> Result<Vec<String>, Error> {
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        }
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let Some(flag) = flags.iter().copied().flatten().find(|flag| flag.name == name) else {
            return usage(format!("unknown flag `{arg}`"));
        };
        let value = match (flag.value.is_empty(), inline) {
            (true, None) => String::new(),
            (true, Some(_)) => return usage(format!("{name} takes no value")),
            (false, Some(value)) => value,
            (false, None) => match args.next() {
                Some(value) => value,
                None => return usage(format!("{name} needs a value: {}", flag.value)),
            },
        };
        if (flag.set)(target, &value).is_none() {
            return usage(format!("`{value}` does not fit {name} {}: {}", flag.value, flag.help));
        }
    }
    Ok(args.collect())
}

fn describe<T>(text: &mut String, flags: &[Flag<T>]) {
    for flag in flags {
        let usage = format!("{} {}", flag.name, flag.value);
        writeln!(text, "  {usage:<22} {}", flag.help).expect("a string takes any text");
    }
}

fn usage<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Usage(text.into()))
}

fn store<V>(place: &mut V, value: Option<V>) -> Option<()> {
    *place = value?;
    Some(())
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

fn positive(text: &str) -> Option<usize> {
    number(text).filter(|&n| n > 0)
}

fn above_zero(text: &str) -> Option<f64> {
    number(text).filter(|&n: &f64| n > 0.0 && n.is_finite())
}

fn seconds(text: &str) -> Option<Duration> {
    number(text).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn some_seconds(text: &str) -> Option<Duration> {
    seconds(text).filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str) -> Settings {
        match parse(line.split_whitespace().map(str::to_owned)) {
            Ok(Command::Load(settings)) => settings,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        parse(line.split_whitespace().map(str::to_owned)).unwrap_err().to_string()
    }

    #[test]
    fn a_flag_takes_its_value_from_the_next_argument_or_after_an_equals_sign() {
        let settings = load("put --endpoint http://localhost:1 --connections=3 --seconds 0.5 --json");
        assert_eq!(settings.endpoint, "localhost:1");
        assert_eq!(settings.connections, 3);
        assert_eq!(settings.duration, Duration::from_millis(500));
        assert!(settings.json);
    }

    #[test]
    fn each_flag_is_accepted_with_a_fitting_value() {
        for flag in LOAD_FLAGS {
            let value = match flag.value {
                "" => "",
                "ORDER" => "one",
                _ => "8",
            };
            load(&format!("put {} {value}", flag.name));
        }
    }

    #[test]
    fn a_rate_makes_the_loop_open() {
        assert_eq!(load("get").rate, None);
        assert_eq!(load("get --rate 1500").rate, Some(1500.0));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        assert!(refusal("put --keys 0").starts_with("`0` does not fit --keys N: distinct keys"));
        assert!(refusal("put --keys").starts_with("--keys needs a value: N"));
        assert!(refusal("put --json=yes").starts_with("--json takes no value"));
        assert!(refusal("put --colour red").starts_with("unknown flag `--colour`"));
        assert!(refusal("put --rate inf").contains("does not fit --rate"));
        assert!(refusal("put -- etcd").contains("belong to `bench compare`"));
    }

    #[test]
    fn compare_takes_the_peer_after_two_dashes() {
        let line = "compare --repeats 2 --no-pin --only put,get -- etcd --data-dir {data}";
        let command = parse(line.split_whitespace().map(str::to_owned)).unwrap();
        let Command::Compare(comparison) = command else { panic!("{command:?}") };
        assert_eq!(comparison.peer, ["etcd", "--data-dir", "{data}"]);
        assert_eq!((comparison.repeats, comparison.pinned), (2, false));
        assert_eq!(comparison.only, ["put", "get"]);
    }

    #[test]
    fn check_does_without_a_peer() {
        let command = parse(["check", "--seconds", "1"].map(str::to_owned)).unwrap();
        let Command::Check(comparison) = command else { panic!("{command:?}") };
        assert!(comparison.peer.is_empty());
        assert!(refusal("check --only put").starts_with("unknown flag `--only`"));
    }

    #[test]
    fn help_names_each_workload_and_flag() {
        let text = help();
        let compare = COMPARE_FLAGS.iter().copied().flatten().map(|flag| flag.name);
        let flags = LOAD_FLAGS.iter().map(|flag| flag.name).chain(compare);
        for name in flags.chain(Workload::ALL.map(|(_, name, _)| name)) {
            assert!(text.contains(name), "{name}");
        }
        assert_eq!(parse([]).unwrap(), Command::Help);
    }
}
