//! The layout of the Kubernetes-like load: keys in resources of a thousand, each resource listed in pages and
//! watched as a whole, as an API server's caches do.

use std::ops::Range;

/// Objects of one resource.
const RESOURCE_LEN: u64 = 1000;
/// Objects in a page, as Kubernetes' clients ask for them.
pub(super) const PAGE: u64 = 500;

/// How many resources `keys` keys make; at least one.
pub(super) fn resources(keys: u64) -> u64 {
    (keys / RESOURCE_LEN).max(1)
}

/// The numbers of the keys of resource `idx`.
pub(super) fn resource(idx: u64) -> Range<u64> {
    idx * RESOURCE_LEN..(idx + 1) * RESOURCE_LEN
}
