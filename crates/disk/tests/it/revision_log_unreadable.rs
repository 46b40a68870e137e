//! Pages and files that cannot be read.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use disk::{Disk, Error, RealDisk};

use crate::revision_log_rig::*;

/// Set in the process that is to end.
const CHILD: &str = "FERRETCD_TEST_DIR";

#[test]
fn a_page_that_cannot_be_read_ends_the_process_with_file_and_offset() {
    if let Ok(dir) = std::env::var(CHILD) {
        read_a_lost_page(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let (_crate, module) = module_path!().split_once("::").unwrap();
    let name = format!("{module}::a_page_that_cannot_be_read_ends_the_process_with_file_and_offset");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    let file = dir.path().join("log/0000000000000001.seg");
    let expected = format!("cannot read {} at byte 32: the disk or the file system failed", file.display());
    assert!(message.contains(&expected), "{message}");
}

/// Reads a record of a file that somebody else has cut: the page is there no longer.
fn read_a_lost_page(dir: &Path) -> ! {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = dir.join("log");
    let mut log = open_on(disk, &dir, &[]).unwrap();
    let at = fill(&mut log, 2..=3)[0];
    log.read(at).unwrap();
    fs::OpenOptions::new().write(true).open(dir.join("0000000000000001.seg")).unwrap().set_len(0).unwrap();
    panic!("it was read: {:?}", log.read(at));
}

#[test]
fn an_error_of_the_disk_names_file_and_offset() {
    let disk = disk::SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    let at = fill(&mut log, 2..=3)[1];
    let path = Path::new(DIR).join("0000000000000001.seg");
    disk.fail_reads(&path, u64::from(at.offset)..u64::from(at.offset) + 1).unwrap();
    match log.read(at) {
        Err(Error::Unreadable { path: named, offset, .. }) => {
            assert_eq!((named, offset), (path, at.offset.into()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sidecar_that_cannot_be_read_is_an_error_and_not_a_missing_one() {
    let disk = disk::SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=45);
    let listed = sync(&mut log).unwrap();
    let sidecar = Path::new(DIR).join("0000000000000001.idx");
    disk.fail_reads(&sidecar, 100..101).unwrap();
    let refused = load(&open(&disk, &listed).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("0000000000000001.idx"), "{refused}");
    disk.remove(&sidecar).unwrap();
    assert_eq!(load(&open(&disk, &listed).unwrap()).unwrap().len(), 44, "it is made again");
    assert!(disk.list(Path::new(DIR)).unwrap().contains(&"0000000000000001.idx".to_owned()));
}
