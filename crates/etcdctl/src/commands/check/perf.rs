//! `etcdctl check perf`: puts keys for a minute, and says whether the cluster was fast enough.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::ctrl_c;
use tokio::sync::watch;
use tokio::time::Instant;

use super::load::{self, Keys, Steady};
use super::progress_bar::ProgressBar;
use super::summary::Summary;
use super::{AUTO_COMPACT, AUTO_DEFRAG, CLEANUP_TIMEOUT, Size};
use crate::cli::{Action, Call, Command, Flag};
use crate::failure::{Failure, INVALID_INPUT};
use crate::session::Session;
use crate::text::quote;

pub(super) const COMMAND: Command = Command::new(
    "perf [options]",
    "Check the performance of the etcd cluster",
    Action::Run(|call| Box::pin(run(call))),
)
.flags(&[
    Flag::text(
        "load",
        "s",
        "The performance check's workload model. Accepted workloads: s(small), m(medium), l(large), xl(xLarge). \
         Different workload models use different configurations in terms of number of clients and expected \
         throughput.",
    ),
    Flag::text("prefix", "/etcdctl-check-perf/", "The prefix for writing the performance check's keys."),
    AUTO_COMPACT,
    AUTO_DEFRAG,
]);

const DURATION: Duration = Duration::from_secs(60);
/// Bytes of a key after the prefix, and of a value.
const KEY_TAIL_LEN: usize = 256;
const VALUE_LEN: usize = 1024;

/// A cluster is fast enough if it takes more than this share of the puts that it is asked for.
const SHARE_MIN: f64 = 0.9;
const SLOWEST_MAX_S: f64 = 0.5;
const DEVIATION_MAX_S: f64 = 0.1;

/// The exit code of a process that the second interrupt ends.
const INTERRUPTED: i32 = 130;

/// How many puts a second the cluster is asked for.
fn puts_per_second(size: Size) -> u32 {
    match size {
        Size::Small => 150,
        Size::Medium => 1000,
        Size::Large => 8000,
        Size::ExtraLarge => 15_000,
    }
}

async fn run(mut call: Call) -> Result<(), Failure> {
    let size = Size::read(&call.flags)?;
    let prefix = call.flags.text("prefix").to_owned();
    let session = Session::new(&mut call.flags)?;
    if super::has_keys(&session.patient_client()?.with_timeout(DURATION), &prefix).await? {
        let quoted = quote(&prefix);
        let message = format!("prefix {quoted} has keys. Delete with 'etcdctl del --prefix {prefix}' first");
        return Err(Failure::new(INVALID_INPUT, message));
    }
    let summary = put_for_a_minute(&session, size, &prefix).await?;
    clean_up(&session, &prefix, call.flags.bool("auto-compact")).await?;
    if call.flags.bool("auto-defrag") {
        super::defragment(&session).await?;
    }
    let (lines, is_fast_enough) = verdict(&summary, puts_per_second(size));
    print!("{lines}");
    if is_fast_enough { Ok(()) } else { Err(Failure::told()) }
}

/// The load, which an interrupt ends early.
async fn put_for_a_minute(session: &Session, size: Size, prefix: &str) -> Result<Summary, Failure> {
    let putters = super::putters(session, size, &Keys::new(prefix, KEY_TAIL_LEN), VALUE_LEN)?;
    let (stop, stopped) = watch::channel(false);
    let interrupts = tokio::spawn(stop_at_interrupt(stop));
    let (start, seconds) = (Instant::now(), DURATION.as_secs());
    let bar = ProgressBar::show(seconds, move || start.elapsed().as_secs().min(seconds));
    let turns = Steady::new(puts_per_second(size), DURATION, stopped.clone());
    let summary = load::run(putters, turns, Arc::default()).await;
    if !*stopped.borrow() {
        tokio::time::sleep_until(start + DURATION).await;
        bar.finish().await;
        interrupts.abort();
    }
    Ok(summary)
}

/// The first interrupt stops the load, the second one the process, which may wait for puts for ever.
async fn stop_at_interrupt(stop: watch::Sender<bool>) {
    if ctrl_c().await.is_ok() {
        stop.send_replace(true);
        if ctrl_c().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    }
}

async fn clean_up(session: &Session, prefix: &str, compact: bool) -> Result<(), Failure> {
    let client = session.patient_client()?.with_timeout(CLEANUP_TIMEOUT);
    match super::delete(&client, prefix).await {
        Ok(revision) if compact => super::compact(session, revision).await,
        Ok(_) => Ok(()),
        Err(error) => {
            println!("FAIL: Cleanup failed during key deletion: ERROR({error})");
            Ok(())
        }
    }
}

/// What is printed, and whether the cluster was fast enough.
fn verdict(summary: &Summary, puts_per_second: u32) -> (String, bool) {
    let mut lines = summary.error_lines();
    let mut is_fast_enough = lines.is_empty();
    let mut judge = |is_good: bool, good: String, bad: String| {
        lines += if is_good { &good } else { &bad };
        is_fast_enough &= is_good;
    };
    let rate = summary.puts_per_second();
    // etcd's adds one to the rounded rate.
    let writes = rate as i64 + 1;
    judge(
        rate / f64::from(puts_per_second) > SHARE_MIN,
        format!("PASS: Throughput is {writes} writes/s\n"),
        format!("FAIL: Throughput too low: {writes} writes/s\n"),
    );
    // A deviation that is not a number passes, as in etcd's.
    let (slowest, deviation) = (summary.slowest_s, summary.deviation_s());
    judge(
        slowest <= SLOWEST_MAX_S,
        format!("PASS: Slowest request took {slowest:.6}s\n"),
        format!("Slowest request took too long: {slowest:.6}s\n"),
    );
    judge(
        deviation.is_nan() || deviation <= DEVIATION_MAX_S,
        format!("PASS: Stddev is {deviation:.6}s\n"),
        format!("Stddev too high: {deviation:.6}s\n"),
    );
    lines += if is_fast_enough { "PASS\n" } else { "FAIL\n" };
    (lines, is_fast_enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many puts in a minute, of which every tenth takes `slow` and the others 20 ms.
    fn summary(n_puts: u64, slow: Duration) -> Summary {
        let mut summary = Summary::default();
        summary.total = DURATION;
        for n in 0..n_puts {
            let took = if n % 10 == 0 { slow } else { Duration::from_millis(20) };
            summary.count(took, Ok(()));
        }
        summary
    }

    #[test]
    fn a_fast_cluster_passes() {
        let (lines, passes) = verdict(&summary(8940, Duration::from_millis(20)), 150);
        let expected = "PASS: Throughput is 150 writes/s\nPASS: Slowest request took 0.020000s\n\
                        PASS: Stddev is 0.000000s\nPASS\n";
        assert_eq!((lines.as_str(), passes), (expected, true));
    }

    #[test]
    fn each_limit_fails_for_itself() {
        let (lines, passes) = verdict(&summary(8100, Duration::from_millis(500)), 150);
        let expected = "FAIL: Throughput too low: 136 writes/s\nPASS: Slowest request took 0.500000s\n\
                        Stddev too high: 0.144000s\nFAIL\n";
        assert_eq!((lines.as_str(), passes), (expected, false));
        let mut slow_once = summary(8999, Duration::from_millis(20));
        slow_once.count(Duration::from_millis(501), Ok(()));
        let (lines, passes) = verdict(&slow_once, 150);
        let expected = "PASS: Throughput is 151 writes/s\nSlowest request took too long: 0.501000s\n\
                        PASS: Stddev is 0.005070s\nFAIL\n";
        assert_eq!((lines.as_str(), passes), (expected, false));
    }

    #[test]
    fn one_error_is_too_many() {
        let mut one_error = summary(9000, Duration::from_millis(20));
        one_error.count(Duration::ZERO, Err("etcdserver: too many requests".to_owned()));
        let (lines, passes) = verdict(&one_error, 150);
        assert!(
            lines.starts_with(
                "FAIL: too many errors\nFAIL: ERROR(etcdserver: too many requests) -> 1\nPASS: "
            )
        );
        assert!(lines.ends_with("\nFAIL\n") && !passes);
    }

    #[test]
    fn without_a_put_only_the_throughput_is_judged() {
        let (lines, passes) = verdict(&summary(0, Duration::ZERO), 150);
        let expected = "FAIL: Throughput too low: 1 writes/s\nPASS: Slowest request took 0.000000s\n\
                        PASS: Stddev is NaNs\nFAIL\n";
        assert_eq!((lines.as_str(), passes), (expected, false));
    }
}
