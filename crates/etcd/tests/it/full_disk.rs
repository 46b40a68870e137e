//! A file system without room: writes are refused, everything else goes on, and nothing acknowledged is lost.
//!
//! Needs a file system of its own, hence root; skipped where none can be mounted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use proto::etcdserverpb::{DeleteRangeRequest, RangeRequest};

use crate::client::Client;
use crate::ledger::{PREFIX, key_name};
use crate::server::Server;
use crate::workload::Workload;

/// Room for the preallocated files of a new member, twice.
const SIZE: &str = "300m";
const KEYS: usize = 400;
const SEED: u64 = 7;

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let Some(mount) = Mount::new() else { return };
    let mut server = Server::start(&mount.data_dir());
    let mut workload = Workload::with_long_values(KEYS, SEED);
    workload.fill(server.address).await;
    mount.fill();

    let running = workload.start(server.address).await;
    running.wait_for_refused(100).await;
    let client = Client::connect(server.address).await;
    let range = RangeRequest { key: PREFIX.into(), ..RangeRequest::default() };
    client.range(&range).await.unwrap();
    let absent = DeleteRangeRequest { key: key_name(KEYS), ..DeleteRangeRequest::default() };
    client.delete_range(&absent).await.unwrap();

    mount.make_room();
    running.wait_for_acknowledged(100).await;
    assert!(!server.has_ended(), "a full disk ends nothing");
    server.kill();
    workload.end(running).await;
    let server = Server::start(&mount.data_dir());
    workload.verify(server.address).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_on_a_full_disk() {
    let Some(mount) = Mount::new() else { return };
    let mut server = Server::start(&mount.data_dir());
    let mut workload = Workload::with_long_values(KEYS, SEED);
    workload.fill(server.address).await;
    for _ in 0..3 {
        let running = workload.start(server.address).await;
        running.wait_for_refused(200).await;
        server.kill();
        workload.end(running).await;
        server = Server::start(&mount.data_dir());
        workload.verify(server.address).await;
    }
    // Compaction gives back enough room to go on, without help from outside.
    workload.compact(server.address).await;
    let running = workload.start(server.address).await;
    running.wait_for_acknowledged(100).await;
    server.kill();
    workload.end(running).await;
    let server = Server::start(&mount.data_dir());
    workload.verify(server.address).await;
}

/// A small file system of its own, mounted until this is dropped.
pub(crate) struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    /// `None`, and the reason on standard error, where mounting is not allowed.
    fn new() -> Option<Mount> {
        Mount::with_size(SIZE)
    }

    /// The same with room for `size`, such as `300m`.
    pub(crate) fn with_size(size: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Mount { dir }),
            Ok(output) => skip(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => skip(&error.to_string()),
        }
    }

    /// A directory for the data of a member.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes a file that takes all the room there is.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let error = loop {
            if let Err(error) = filler.write_all(&[1; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    /// Removes the file that took the room.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }
}

fn skip(reason: &str) -> Option<Mount> {
    eprintln!("skipped: no file system can be mounted here: {reason}");
    None
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the server of a failed test may still be there.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}
