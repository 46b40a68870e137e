//! `etcdctl check datascale`: puts many keys, and says how much more memory the first endpoint takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::load::{self, Countdown, Keys};
use super::progress_bar::ProgressBar;
use super::resident_memory::resident_memory;
use super::summary::Summary;
use super::{AUTO_COMPACT, AUTO_DEFRAG, Size};
use crate::cli::{Action, Call, Command, Flag};
use crate::failure::{Failure, INVALID_INPUT};
use crate::session::Session;
use crate::text::quote;

pub(super) const COMMAND: Command = Command::new(
    "datascale [options]",
    "Check the memory usage of holding data for different workloads on a given server endpoint.",
    Action::Run(|call| Box::pin(run(call))),
)
.long(
    "If no endpoint is provided, localhost will be used. If multiple endpoints are provided, first endpoint \
     will be used.",
)
.flags(&[
    Flag::text(
        "load",
        "s",
        "The datascale check's workload model. Accepted workloads: s(small), m(medium), l(large), xl(xLarge)",
    ),
    Flag::text("prefix", "/etcdctl-check-datascale/", "The prefix for writing the datascale check's keys."),
    AUTO_COMPACT,
    AUTO_DEFRAG,
]);

/// Bytes of a key after the prefix, and of a value.
const KEY_TAIL_LEN: usize = 512;
const VALUE_LEN: usize = 512;

fn keys(size: Size) -> u64 {
    match size {
        Size::Small => 10_000,
        Size::Medium => 100_000,
        Size::Large => 1_000_000,
        Size::ExtraLarge => 3_000_000,
    }
}

async fn run(mut call: Call) -> Result<(), Failure> {
    let size = Size::read(&call.flags)?;
    let prefix = call.flags.text("prefix").to_owned();
    let session = Session::new(&mut call.flags)?;
    let client = session.patient_client()?;
    if super::has_keys(&client, &prefix).await? {
        let quoted = quote(&prefix);
        let message = format!("prefix {quoted} has keys. Delete with etcdctl del --prefix {prefix} first");
        return Err(Failure::new(INVALID_INPUT, message));
    }
    let before = memory(&session, "before").await?;
    let summary = put_all(&session, size, &prefix).await?;
    let after = memory(&session, "after").await?;
    let revision = super::delete(&client, &prefix).await?;
    if call.flags.bool("auto-compact") {
        super::compact(&session, revision).await?;
    }
    if call.flags.bool("auto-defrag") {
        super::defragment(&session).await?;
    }
    let errors = summary.error_lines();
    if !errors.is_empty() {
        print!("{errors}");
        return Err(Failure::told());
    }
    println!("PASS: Approximate system memory used : {:.2} MB.", (after - before) / f64::from(1 << 20));
    Ok(())
}

/// The resident memory of the first endpoint, in bytes.
async fn memory(session: &Session, when: &str) -> Result<f64, Failure> {
    let endpoint = session.endpoints().first().expect("a client was made, so there is an endpoint");
    match resident_memory(endpoint).await {
        Ok(bytes) if bytes != 0.0 => return Ok(bytes),
        Ok(_) => {}
        Err(why) => println!("{why}"),
    }
    println!("FAIL: Could not read process_resident_memory_bytes {when} the put operations.");
    Err(Failure::told())
}

async fn put_all(session: &Session, size: Size, prefix: &str) -> Result<Summary, Failure> {
    let putters = super::putters(session, size, &Keys::new(prefix, KEY_TAIL_LEN), VALUE_LEN)?;
    println!(
        "Start data scale check for work load [{} key-value pairs, {} bytes per key-value, {} concurrent clients].",
        keys(size),
        KEY_TAIL_LEN + VALUE_LEN,
        size.clients()
    );
    let done = Arc::<AtomicU64>::default();
    let shown = Arc::clone(&done);
    let bar = ProgressBar::show(keys(size), move || shown.load(Ordering::Relaxed));
    let summary = load::run(putters, Countdown(keys(size)), done).await;
    bar.finish().await;
    Ok(summary)
}
