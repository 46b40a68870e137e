//! Which segments are worth rewriting.

use std::ops::Range;
use std::sync::Arc;

use super::segment::Segment;
use super::segment_header::SEGMENT_HEADER_LEN;

/// So many adjacent segments whose live bytes fit one are merged even if little of them is dead. Four such segments
/// always hold more than one segment's worth of live bytes, which bounds their number.
const MERGE_LEN: usize = 4;

/// The sources of a plan may hold so many bytes together: then their survivors fit one file, whatever they are.
const SOURCES_BYTES_MAX: u64 = u32::MAX as u64;

/// The run of adjacent segments most worth rewriting into one of `capacity` bytes, as a range of `sealed`.
///
/// Worth is what is freed less what is copied. It is positive just when less than half of the bytes must stay. Without
/// such a run, [`MERGE_LEN`] adjacent ones that fit one segment do.
pub(super) fn choose(sealed: &[Arc<Segment>], capacity: u64) -> Option<Range<usize>> {
    let budget = capacity.saturating_sub(SEGMENT_HEADER_LEN as u64);
    let mut best = None;
    let mut best_worth = 0;
    let mut merge = None;
    for start in 0..sealed.len() {
        let (mut kept, mut total) = (0, 0);
        for (i, segment) in sealed[start..].iter().enumerate() {
            kept += segment.kept();
            total += segment.flushed();
            if kept > budget || total > SOURCES_BYTES_MAX {
                break;
            }
            let worth = total.cast_signed() - 2 * kept.cast_signed();
            if worth > best_worth {
                (best, best_worth) = (Some(start..start + i + 1), worth);
            }
            if merge.is_none() && i + 1 == MERGE_LEN {
                merge = Some(start..start + MERGE_LEN);
            }
        }
    }
    best.or(merge)
}

/// The segment of which a rewrite into one of `capacity` bytes gives back the greatest share, as a range of `sealed`.
/// Unless `thoroughly`, there is none while the segments together are not bloated.
pub(super) fn choose_wasteful(
    sealed: &[Arc<Segment>],
    capacity: u64,
    thoroughly: bool,
) -> Option<Range<usize>> {
    let sum = |of: fn(&Segment) -> u64| sealed.iter().map(|segment| of(segment)).sum::<u64>();
    if !thoroughly && !is_bloated(sum(Segment::wasted), sum(Segment::kept)) {
        return None;
    }
    let fits = |s: &Segment| s.wasted() > 0 && SEGMENT_HEADER_LEN as u64 + s.kept() <= capacity;
    let candidates = sealed.iter().enumerate().filter(|(_, segment)| fits(segment));
    let per_mille = |segment: &Segment| segment.wasted() * 1000 / segment.flushed();
    let (i, _) = candidates.max_by_key(|(_, segment)| per_mille(segment))?;
    Some(i..i + 1)
}

/// Whether there is so much to give back that it is worth copying several bytes for each: more than a quarter of what
/// must stay.
pub(super) fn is_bloated(wasted: u64, kept: u64) -> bool {
    wasted > kept / 4
}
