//! The compares of a transaction: whether they hold for the keys as they are at a revision.
//!
//! A compare of a range looks at every key in it, so it goes in steps, and the lock of the index is not held
//! while records are read.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;
use proto::etcdserverpb::Compare;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::mvccpb;

use super::index::Found;
use super::key_value;
use super::source::{Records, Source};
use crate::Error;
use crate::key_range::KeyRange;

/// Single keys compared in one step.
const KEYS_PER_STEP: usize = 100;

/// Compares being evaluated at one revision, one after the other.
#[derive(Debug)]
pub(super) struct Comparison<'r> {
    compares: std::slice::Iter<'r, Compare>,
    at: i64,
    /// The compare of a range that is not finished.
    range: Option<RangeComparison<'r>>,
}

/// A compare that must hold for every key of a range.
#[derive(Debug)]
struct RangeComparison<'r> {
    compare: &'r Compare,
    range: KeyRange,
    /// It holds for all keys up to this one.
    after: Option<Vec<u8>>,
    is_any: bool,
}

/// Whether all compares hold at revision `at`.
pub(super) fn all_hold(compares: &[Compare], at: i64, source: &mut impl Source) -> Result<bool, Error> {
    let mut comparison = Comparison::new(compares, at);
    loop {
        if let Some(holds) = comparison.step(source)? {
            return Ok(holds);
        }
    }
}

impl<'r> Comparison<'r> {
    pub(super) fn new(compares: &'r [Compare], at: i64) -> Comparison<'r> {
        Comparison { compares: compares.iter(), at, range: None }
    }

    /// Does a bounded piece of work; says whether all compares hold once that is known.
    pub(super) fn step(&mut self, source: &mut impl Source) -> Result<Option<bool>, Error> {
        for _ in 0..KEYS_PER_STEP {
            if let Some(range) = &mut self.range {
                match range.step(self.at, source)? {
                    None => return Ok(None),
                    Some(false) => return Ok(Some(false)),
                    Some(true) => self.range = None,
                }
            }
            let Some(compare) = self.compares.next() else { return Ok(Some(true)) };
            let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
            if !range.is_single() {
                self.range = Some(RangeComparison { compare, range, after: None, is_any: false });
                continue;
            }
            let found = source.look(|index, steps| {
                *steps -= 1;
                index.at(range.start(), self.at)
            });
            let kv = found.map(|found| compared(compare, &found, source)).transpose()?;
            if !holds_for(compare, kv.as_ref()) {
                return Ok(Some(false));
            }
        }
        Ok(None)
    }
}

impl RangeComparison<'_> {
    /// Where there is no key, a compare of values fails and any other one is made against zeros.
    fn step(&mut self, at: i64, source: &mut impl Source) -> Result<Option<bool>, Error> {
        let mut found = Vec::new();
        let after = self.after.take();
        self.after = source.look(|index, steps| {
            index.range(&self.range, at, after.as_deref(), steps, &mut |_, f| {
                found.push(f);
                ControlFlow::Continue(())
            })
        });
        self.is_any |= !found.is_empty();
        for found in found {
            if !holds_for(self.compare, Some(&compared(self.compare, &found, source)?)) {
                return Ok(Some(false));
            }
        }
        let is_last = self.after.is_none();
        Ok(is_last.then(|| self.is_any || holds_for(self.compare, None)))
    }
}

/// What a compare needs of a key: the record only if the index does not know it.
fn compared(compare: &Compare, found: &Found, source: &mut impl Source) -> Result<mvccpb::KeyValue, Error> {
    let in_record = [CompareTarget::Value as i32, CompareTarget::Lease as i32].contains(&compare.target);
    match found.generation {
        Some((create_revision, version)) if !in_record => {
            let mod_revision = found.revision.main;
            Ok(mvccpb::KeyValue { create_revision, mod_revision, version, ..mvccpb::KeyValue::default() })
        }
        _ => Ok(key_value::decode(&source.records().read(found.location)?)),
    }
}

fn holds_for(compare: &Compare, kv: Option<&mvccpb::KeyValue>) -> bool {
    let is_value = compare.target == CompareTarget::Value as i32;
    let absent = mvccpb::KeyValue::default();
    let kv = match kv {
        None if is_value => return false,
        other => other.unwrap_or(&absent),
    };
    let ordering = order(compare, kv);
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
        Err(_) => true,
    }
}

/// The order of the key's field and the operand. An operand of another kind than the target counts as zero;
/// with an unknown target both count as equal.
fn order(compare: &Compare, kv: &mvccpb::KeyValue) -> Ordering {
    let operand = compare.target_union.as_ref();
    let number = |have: i64, want: Option<i64>| have.cmp(&want.unwrap_or(0));
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => match operand {
            Some(TargetUnion::Value(want)) => kv.value.cmp(want),
            _ => kv.value.cmp(&Bytes::new()),
        },
        Ok(CompareTarget::Version) => number(
            kv.version,
            operand.and_then(|o| if let TargetUnion::Version(v) = o { Some(*v) } else { None }),
        ),
        Ok(CompareTarget::Create) => number(
            kv.create_revision,
            operand.and_then(|o| if let TargetUnion::CreateRevision(v) = o { Some(*v) } else { None }),
        ),
        Ok(CompareTarget::Mod) => number(
            kv.mod_revision,
            operand.and_then(|o| if let TargetUnion::ModRevision(v) = o { Some(*v) } else { None }),
        ),
        Ok(CompareTarget::Lease) => number(
            kv.lease,
            operand.and_then(|o| if let TargetUnion::Lease(v) = o { Some(*v) } else { None }),
        ),
        Err(_) => Ordering::Equal,
    }
}
