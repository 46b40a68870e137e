//! bbolt files: reading must end in an error or with no more bytes than the file has; a database that is imported must
//! be one that a store opens and goes on with.
//!
//! Each input is tried as it is and with corrected checksums of its meta pages, which would hide the rest.

use std::path::Path;

use disk::bolt::{BucketBound, Layout, Reader, Writer};
use disk::revision_log::Options;
use disk::{Disk, Error, Revision};
use prost::Message;
use proto::etcdserverpb::{CompactionRequest, PutRequest};
use proto::mvccpb::KeyValue;
use store::{Request, Store, import};

use crate::files::disk_with;

const DIR: &str = "/data";
const FILE: &str = "db";
/// Where an import goes.
const LOG_DIR: &str = "/data/log";
const OPTIONS: Options = Options { segment_bytes: 2048 };
/// The smallest, so that short inputs have several.
const PAGE_SIZE: usize = 1024;

/// A bbolt file, and a database of etcd.
pub fn bolt(data: &[u8]) {
    for data in [data.to_vec(), seal(data)] {
        let _ = read_all(&data);
        let _ = open(&data).and_then(Reader::check);
        import_and_open(&data);
    }
}

fn open(data: &[u8]) -> Result<Reader, Error> {
    let disk = disk_with(&[(FILE, data)]);
    let path = Path::new(DIR).join(FILE);
    Reader::open(disk.open(&path).expect("the file was written"), &path)
}

/// Reads every bucket.
fn read_all(data: &[u8]) -> Result<(), Error> {
    let mut reader = open(data)?;
    let mut bytes = 0;
    for bucket in reader.buckets()? {
        let mut last = None;
        let Ok(entries) = reader.entries(&bucket) else { continue };
        for entry in entries.map_while(Result::ok) {
            bytes += entry.key.len() + entry.value.len();
            assert!(last < Some(entry.key.clone()), "keys ascend");
            last = Some(entry.key);
        }
    }
    assert!(bytes <= data.len(), "no byte is read twice");
    Ok(())
}

/// Imports a database and does something with it.
fn import_and_open(data: &[u8]) {
    let Ok(reader) = open(data) else { return };
    let disk = disk_with(&[]);
    let Ok(imported) = import(disk.clone(), Path::new(LOG_DIR), OPTIONS, reader, &mut |_| ()) else { return };
    let checkpoint = imported.commit().expect("the disk is sound");
    let mut store = Store::open(disk, Path::new(LOG_DIR), OPTIONS, Some(&checkpoint), 1)
        .expect("what was imported can be opened");
    let revision = store.view().revision();
    let put = PutRequest { key: "key-3".into(), ..PutRequest::default() };
    let compaction = CompactionRequest { revision, physical: false };
    store.apply(&[Request::Put(put), Request::Compact(compaction)]).expect("the disk is sound");
    store.view().hash_now(0).expect("the newest revision can be read");
}

/// Corrects the checksums of both meta pages; offsets as documented in `disk::bolt`.
fn seal(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for start in [16, PAGE_SIZE + 16] {
        if let Some(meta) = data.get_mut(start..start + 64) {
            let hash = meta[..56].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            meta[56..].copy_from_slice(&hash.to_le_bytes());
        }
    }
    data
}

/// A database of a few short records, and one whose records fill a tree of two levels.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![database(10, 5), database(150, 250)]
}

fn database(records: i64, value_len: usize) -> Vec<u8> {
    let meta = [
        ("confState", br#"{"voters":[1],"auto_leave":false}"#.to_vec()),
        ("consistent_index", 9_u64.to_be_bytes().to_vec()),
        ("scheduledCompactRev", Revision { main: 3, sub: 0 }.to_key().to_vec()),
        ("term", 2_u64.to_be_bytes().to_vec()),
    ];
    let meta = meta.map(|(key, value)| (key.as_bytes().to_vec(), value)).to_vec();
    let member = (b"1".to_vec(), br#"{"id":1,"peerURLs":["http://a:1"],"name":"a"}"#.to_vec());
    let lease = (7_i64.to_be_bytes().to_vec(), vec![8, 7, 16, 60]);
    let records = (2..2 + records).map(|main| record(main, value_len)).collect();
    let buckets = [("key", records), ("lease", vec![lease]), ("members", vec![member]), ("meta", meta)];
    let mut layout = Layout::new(PAGE_SIZE as u64);
    for (name, rows) in &buckets {
        let mut bound = BucketBound::default();
        rows.iter().for_each(|(key, value): &(Vec<u8>, Vec<u8>)| bound.add(key.len(), value.len()));
        layout.add_bucket(name, &bound);
    }
    let mut writer = Writer::new(layout);
    for (name, rows) in &buckets {
        writer.begin_bucket(name);
        rows.iter().for_each(|(key, value)| writer.put(key, value));
    }
    while !writer.finish() {}
    std::mem::take(writer.output())
}

fn record(main: i64, value_len: usize) -> (Vec<u8>, Vec<u8>) {
    let mut name = Revision { main, sub: 0 }.to_key().to_vec();
    let key = format!("key-{main}").into();
    if main % 5 == 0 {
        name.push(b't');
        return (name, KeyValue { key, ..KeyValue::default() }.encode_to_vec());
    }
    let value = vec![b'v'; value_len].into();
    let put = KeyValue { key, create_revision: main, mod_revision: main, version: 1, value, lease: main % 8 };
    (name, put.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_sound_databases() {
        for seed in seeds() {
            assert!(seed.len() <= crate::mutate::INPUT_LEN_MAX, "a seed is not cut");
            assert_eq!(seal(&seed), seed);
            open(&seed).unwrap().check().unwrap();
            import(disk_with(&[]), Path::new(LOG_DIR), OPTIONS, open(&seed).unwrap(), &mut |_| ()).unwrap();
        }
    }
}
