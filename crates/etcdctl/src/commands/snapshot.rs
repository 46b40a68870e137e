//! `etcdctl snapshot`: the whole state of a member as a file.
//!
//! The file appears under its name when it is complete and durable. Until then it is called `.part`, which is removed if
//! something fails.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use client::{Client, SnapshotStream};
use jiff::Zoned;
use serde_json::Value;

use crate::cli::{Action, Call, Command, Group};
use crate::failure::{Failure, INTERRUPTED};
use crate::session::Session;
use crate::text::{format_duration, humanize, lossy};

/// The file is a multiple of this and its checksum.
const SECTOR_LEN: u64 = 512;
const CHECKSUM_LEN: u64 = 32;

const EXAMPLES: &str = "  # Save snapshot to a given file
  etcdctl snapshot save /backup/etcd-snapshot.db
  
  # Get snapshot from given address and save it to file
  etcdctl snapshot save --endpoints=127.0.0.1:3000 /backup/etcd-snapshot.db
  
  # Get snapshot from given address with certificates
  etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/ca.crt --cert=/etc/etcd/etcd.crt --key=/etc/etcd/etcd.key snapshot save /backup/etcd-snapshot.db
  
  # Get snapshot with certain user and password
  etcdctl --user=root --password=password123 snapshot save /backup/etcd-snapshot.db
  
  # Get snapshot from given address with timeout
  etcdctl --endpoints=https://127.0.0.1:2379 --dial-timeout=20s snapshot save /backup/etcd-snapshot.db
  
  # Save snapshot with desirable time format
  etcdctl snapshot save /mnt/backup/etcd/backup_$(date +%Y%m%d_%H%M%S).db
";

pub(super) const COMMAND: Command =
    Command::new("snapshot <subcommand>", "Manages etcd node snapshots", Action::Parent(&[&SAVE]))
        .group(Group::Maintenance)
        .examples(EXAMPLES);

const SAVE: Command = Command::new(
    "save <filename>",
    "Stores an etcd node backend snapshot to a given file",
    Action::Run(|call| Box::pin(run(call))),
)
.examples(EXAMPLES);

async fn run(mut call: Call) -> Result<(), Failure> {
    let [path] = &call.args[..] else {
        return Err(Failure::bad_args("snapshot save expects one argument <filename>"));
    };
    let path = PathBuf::from(lossy(path));
    let session = Session::new(&mut call.flags)?;
    let endpoints = call.flags.list("endpoints");
    let [endpoint] = endpoints else {
        let endpoints = endpoints.join(" ");
        let message = format!("snapshot must be requested to one selected node, not multiple [{endpoints}]");
        return Err(interrupted(message));
    };
    // A snapshot takes its time, so only a limit that was asked for counts.
    let client = if call.flags.is_changed("command-timeout") {
        session.client()?
    } else {
        session.patient_client()?
    };
    let part = PartFile::create(&path)?;
    let version = save(&client, endpoint, part, &path).await?;
    println!("Snapshot saved at {}", path.display());
    if !version.is_empty() {
        println!("Server version {version}");
    }
    Ok(())
}

/// Receives the file and gives it its name; returns the version of the database.
async fn save(client: &Client, endpoint: &str, mut part: PartFile, path: &Path) -> Result<String, Failure> {
    let failed = |error: client::Error| interrupted(error.to_string());
    let start = Instant::now();
    let mut stream = client.snapshot().await.map_err(failed)?;
    log("opened snapshot stream; downloading", Some("client"), &[]);
    let first = stream.next().await.map_err(failed)?.unwrap_or_default();
    log("fetching snapshot", None, &[("endpoint", endpoint.into())]);
    let len = receive(&mut stream, &first.blob, &mut part.file).await?;
    if len % SECTOR_LEN != CHECKSUM_LEN {
        return Err(interrupted(format!("sha256 checksum not found [bytes: {len}]")));
    }
    part.file.sync_all().map_err(|error| interrupted(format!("could not fsync snapshot: {error}")))?;
    log(
        "fetched snapshot",
        None,
        &[
            ("endpoint", endpoint.into()),
            ("size", humanize(len).into()),
            ("took", format_duration(start.elapsed()).into()),
            ("etcd-version", first.version.clone().into()),
        ],
    );
    part.rename(path)?;
    log("saved", None, &[("path", path.to_string_lossy().into())]);
    Ok(first.version)
}

/// Writes all blobs; returns how many bytes they have.
async fn receive(stream: &mut SnapshotStream, first: &[u8], file: &mut File) -> Result<u64, Failure> {
    let failed = |error: &dyn std::fmt::Display| interrupted(format!("could not write snapshot: {error}"));
    let mut len = first.len() as u64;
    file.write_all(first).map_err(|error| failed(&error))?;
    while let Some(message) = stream.next().await.map_err(|error| failed(&error))? {
        file.write_all(&message.blob).map_err(|error| failed(&error))?;
        len += message.blob.len() as u64;
    }
    log("completed snapshot read; closing", Some("client"), &[]);
    Ok(len)
}

/// A file that is not complete yet. It is removed when this is dropped before it got its name.
struct PartFile {
    file: File,
    path: PathBuf,
}

impl PartFile {
    fn create(path: &Path) -> Result<PartFile, Failure> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| {
            interrupted(format!("could not open {0} (open {0}: {1})", path.display(), go_error(&error)))
        })?;
        log("created temporary db file", None, &[("path", path.to_string_lossy().into())]);
        Ok(PartFile { file, path })
    }

    fn rename(&self, to: &Path) -> Result<(), Failure> {
        fs::rename(&self.path, to).map_err(|error| {
            let (from, to) = (self.path.display(), to.display());
            interrupted(format!("could not rename {from} to {to} (rename {from} {to}: {})", go_error(&error)))
        })
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // It is gone if it was renamed; if it cannot be removed, the next call replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

fn interrupted(message: String) -> Failure {
    Failure::new(INTERRUPTED, message)
}

/// An error of the system in Go's words: in lower case and without its number.
fn go_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Writes a line of logging, in the format of etcd's without the place in its code.
fn log(message: &str, logger: Option<&str>, fields: &[(&str, Value)]) {
    let time = Zoned::now();
    let offset = if time.offset().seconds() == 0 { "Z".to_owned() } else { time.strftime("%z").to_string() };
    let mut line = format!(r#"{{"level":"info","ts":"{}{offset}""#, time.strftime("%Y-%m-%dT%H:%M:%S%.6f"));
    let logger = logger.map(|logger| ("logger", Value::from(logger)));
    let message = Some(("msg", Value::from(message)));
    for (name, value) in logger.iter().chain(&message).chain(fields) {
        line += &format!(r#","{name}":{value}"#);
    }
    eprintln!("{line}}}");
}
