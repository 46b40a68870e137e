//! Exports of the state, beside which the member goes on.

use disk::SimDisk;
use node::{Answer, Input, Unserved};

use crate::member::{Member, compact, config, put};

const WHO: u32 = 1000;

fn export(member: &mut Member) -> Answer {
    member.handle(vec![Input::Export(WHO)]).unwrap();
    member.answer(WHO).expect("it is answered at once")
}

#[test]
fn an_export_is_that_of_the_last_entry_applied() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    member.apply(put("k", "v")).unwrap();
    let applied = member.node.published().applied();
    let Answer::Export(export) = export(&mut member) else { panic!("an export is there for the asking") };
    assert_eq!((export.applied_index(), export.revision()), (applied, 2));
    assert_eq!(export.storage_version(), "3.7.0");
}

#[test]
fn compactions_are_carried_out_while_an_export_waits_for_its_reader() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    for _ in 0..50 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    let export = export(&mut member);
    for _ in 0..50 {
        member.apply(put("k", vec![0; 2000])).unwrap();
    }
    let size_in_use = |member: &Member| member.node.published().size_in_use_bytes();
    let before = size_in_use(&member);
    member.apply(compact(101, true)).unwrap();
    member.tick(1).unwrap();
    let held = size_in_use(&member);
    assert!(held < before / 10, "of {before} bytes {held} are held");
    drop(export);
    member.tick(1).unwrap();
    assert!(size_in_use(&member) < held, "one record of 2000 bytes was held");
}

#[test]
fn more_exports_than_there_may_be_are_refused() {
    let mut member = Member::lead(&SimDisk::new(1), config());
    let mut exports = Vec::new();
    loop {
        match export(&mut member) {
            Answer::Export(export) => exports.push(export),
            Answer::Unserved(Unserved::TooManyRequests) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(exports.len(), 64);
}
