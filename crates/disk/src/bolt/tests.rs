//! What is written is read again; what is damaged is refused.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{BucketBound, Layout, Reader, Writer};
use crate::{Disk, Error, SimDisk};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// The rows of a bucket with its name.
type Buckets = Vec<(String, Rows)>;

fn bound(rows: &Rows) -> BucketBound {
    let mut bound = BucketBound::default();
    rows.iter().for_each(|(key, value)| bound.add(key.len(), value.len()));
    bound
}

/// A file of these buckets, whose layout has been told of `spare` further rows.
fn write(page_size: u64, buckets: &Buckets, spare: u64) -> Vec<u8> {
    let mut layout = Layout::new(page_size);
    for (name, rows) in buckets {
        let bound = bound(rows);
        let bytes = bound.bytes + spare * 100;
        layout.add_bucket(name, &BucketBound { items: bound.items + spare, bytes, ..bound });
    }
    let len = layout.file_len();
    let mut writer = Writer::new(layout);
    let mut file = Vec::new();
    for (name, rows) in buckets {
        writer.begin_bucket(name);
        for (key, value) in rows {
            writer.put(key, value);
            file.append(writer.output());
        }
    }
    while !writer.finish() {
        file.append(writer.output());
    }
    file.append(writer.output());
    assert_eq!(file.len() as u64, len, "the length that was told before");
    file
}

fn open(bytes: &[u8]) -> Result<Reader, Error> {
    let disk = SimDisk::new(1);
    let path = Path::new("/db");
    let file = disk.create(path).unwrap();
    file.write_at(0, bytes).unwrap();
    Reader::open(Arc::clone(&file), path)
}

fn read(bytes: &[u8]) -> Result<Buckets, Error> {
    let mut reader = open(bytes)?;
    let mut buckets = Vec::new();
    for bucket in reader.buckets()? {
        let rows = reader.entries(&bucket)?.map(|entry| entry.map(|e| (e.key.to_vec(), e.value.to_vec())));
        buckets.push((String::from_utf8_lossy(&bucket.name).into_owned(), rows.collect::<Result<_, _>>()?));
    }
    Ok(buckets)
}

fn rows(n: u32, value_len: usize) -> Rows {
    (0..n).map(|i| (i.to_be_bytes().to_vec(), vec![i as u8; value_len])).collect()
}

fn sample() -> Buckets {
    vec![
        ("empty".into(), Vec::new()),
        ("few".into(), rows(3, 5)),
        ("many".into(), rows(3000, 100)),
        ("one_long".into(), rows(1, 200_000)),
    ]
}

#[test]
fn what_was_written_is_read_at_every_page_size() {
    for shift in 10..=16 {
        let file = write(1 << shift, &sample(), 0);
        assert_eq!(read(&file).unwrap(), sample(), "pages of {} bytes", 1 << shift);
        open(&file).unwrap().check().unwrap();
    }
}

#[test]
fn a_tree_of_several_levels_is_read_in_order() {
    // Keys of 30 KiB: three fill a branch, so the tree gets high.
    let long_key = |i: u16| [&i.to_be_bytes()[..], &[b'k'; 30 << 10]].concat();
    let rows: Rows = (0..300).map(|i| (long_key(i), vec![1; 50_000])).collect();
    let file = write(4096, &vec![("key".into(), rows.clone())], 0);
    assert_eq!(read(&file).unwrap(), [("key".to_owned(), rows)]);
}

#[test]
fn pages_reserved_in_vain_stay_unused() {
    let file = write(4096, &sample(), 10_000);
    assert!(file.len() > write(4096, &sample(), 0).len() + 1_000_000);
    assert_eq!(read(&file).unwrap(), sample());
    open(&file).unwrap().check().unwrap();
}

#[test]
fn a_file_is_hardly_longer_than_its_content() {
    let rows = rows(100_000, 300);
    let content = bound(&rows).bytes + 100_000 * 16;
    let file = write(4096, &vec![("key".into(), rows)], 0);
    assert!((file.len() as u64) < content + content / 12, "{} bytes for {content}", file.len());
}

#[test]
fn bytes_behind_the_last_page_do_not_matter() {
    let mut file = write(4096, &sample(), 0);
    file.extend_from_slice(&[7; 32]);
    assert_eq!(read(&file).unwrap(), sample());
}

#[test]
fn the_meta_page_of_the_later_transaction_counts_if_it_is_valid() {
    let file = write(4096, &sample(), 0);
    for damaged in [0, 4096] {
        let mut file = file.clone();
        file[damaged + 20] ^= 1;
        assert_eq!(read(&file).unwrap(), sample(), "without the meta page at {damaged}");
    }
    let mut file = file;
    file[20] ^= 1;
    file[4096 + 20] ^= 1;
    assert!(matches!(read(&file), Err(Error::Corrupt { offset: 0, .. })));
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let file = write(4096, &sample(), 0);
    for len in (0..file.len()).step_by(509) {
        assert!(matches!(read(&file[..len]), Err(Error::Corrupt { .. })), "{len} bytes");
    }
}

/// The children of the root of the only bucket of a file with a branch, and where the first one's number stands.
fn file_with_branch() -> (Vec<u8>, usize) {
    let file = write(1024, &vec![("key".into(), rows(3000, 100))], 0);
    let is_branch = |page: &u64| {
        let header = [page.to_le_bytes(), [1, 0, file[*page as usize * 1024 + 10], 0, 0, 0, 0, 0]].concat();
        file[*page as usize * 1024..].starts_with(&header)
    };
    let branch = (2..file.len() as u64 / 1024).find(is_branch).expect("a branch");
    (file, branch as usize * 1024 + 16 + 8)
}

#[test]
fn a_page_that_is_referred_to_twice_ends_the_reading() {
    let (mut file, child) = file_with_branch();
    let own_page = (child / 1024) as u64;
    let second = file[child + 16..child + 24].to_vec();
    let mut twice = file.clone();
    twice[child..child + 8].copy_from_slice(&second);
    let error = read(&twice).unwrap_err().to_string();
    assert!(error.contains("keys in ascending order"), "{error}");
    file[child..child + 8].copy_from_slice(&own_page.to_le_bytes());
    let error = read(&file).unwrap_err().to_string();
    assert!(error.contains("one reference to this page"), "a circle: {error}");
}

#[test]
fn a_child_behind_the_last_page_is_refused() {
    let (mut file, child) = file_with_branch();
    for page in [file.len() as u64 / 1024, u64::MAX] {
        file[child..child + 8].copy_from_slice(&page.to_le_bytes());
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("a page below"), "{error}");
    }
}

/// Gives the file a freelist at its last page, which was reserved in vain.
fn with_freelist(ids: &[u64]) -> Vec<u8> {
    let mut file = write(4096, &vec![("key".into(), rows(3000, 100))], 100);
    let root = u64::from_le_bytes(*file[32..].first_chunk().unwrap());
    let list = root - 1;
    let mut page = [list.to_le_bytes().to_vec(), vec![16, 0, ids.len() as u8, 0, 0, 0, 0, 0]].concat();
    ids.iter().for_each(|id| page.extend_from_slice(&id.to_le_bytes()));
    let at = list as usize * 4096;
    file[at..at + page.len()].copy_from_slice(&page);
    for meta in [16, 4096 + 16] {
        file[meta + 32..meta + 40].copy_from_slice(&list.to_le_bytes());
        let hash = file[meta..meta + 56].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        file[meta + 56..meta + 64].copy_from_slice(&hash.to_le_bytes());
    }
    file
}

#[test]
fn a_freelist_must_name_each_unused_page_once() {
    let check = |ids: &[u64]| open(&with_freelist(ids)).unwrap().check().map_err(|error| error.to_string());
    let file = with_freelist(&[]);
    let root = u64::from_le_bytes(*file[32..].first_chunk().unwrap());
    let is_used = |page: &u64| file[*page as usize * 4096..][..4096].iter().any(|byte| *byte != 0);
    // Pages that continue a leaf hold its data, which is not zero throughout but for the very first row.
    let unused: Vec<u64> = (2..root).filter(|page| !is_used(page)).collect();
    assert!(unused.len() > 2);
    assert_eq!(check(&unused), Ok(()));
    let fault = |ids: &[u64]| check(ids).unwrap_err();
    assert!(fault(&unused[1..]).contains("used or listed as free"));
    assert!(fault(&[&unused[..], &unused[..1]].concat()).contains("listed as free once"));
    assert!(fault(&[&unused[..], &[2]].concat()).contains("not used"));
    assert!(fault(&[&unused[..], &[u64::MAX]].concat()).contains("free pages below"));
}

fn any_rows() -> impl Strategy<Value = Rows> {
    let key = prop::collection::vec(any::<u8>(), 1..40);
    let value = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (0..100_000_usize).prop_map(|len| vec![3; len]),
    ];
    prop::collection::btree_map(key, value, 0..200).prop_map(|rows| rows.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_content_is_read_as_it_was_written(
        buckets in prop::collection::btree_map("[a-z]{1,9}", any_rows(), 0..5),
        page_shift in 10..17_u32,
        spare in 0..50_u64,
    ) {
        let buckets: Buckets = buckets.into_iter().collect();
        let file = write(1_u64 << page_shift, &buckets, spare);
        prop_assert_eq!(read(&file).unwrap(), buckets);
        prop_assert!(open(&file).unwrap().check().is_ok());
    }

    #[test]
    fn mutated_bytes_are_refused_or_read(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        page_shift in 10..13_u32,
    ) {
        let mut file = write(1_u64 << page_shift, &vec![("few".into(), rows(3, 5)), ("key".into(), rows(900, 30))], 0);
        for (at, byte) in changes {
            // Most bytes that matter stand at the start of a page.
            let at = at.index(file.len());
            let at = if byte % 2 == 0 { at } else { at & !((1_usize << page_shift) - 1) | (at % 64) };
            file[at] = byte;
        }
        // Neither may panic; what is read is not known.
        if let Ok(buckets) = read(&file) {
            let read_bytes: usize = buckets.iter().flat_map(|(_, rows)| rows).map(|(k, v)| k.len() + v.len()).sum();
            prop_assert!(read_bytes <= file.len(), "no byte is read twice");
        }
        let _ = open(&file).map(Reader::check);
    }
}
