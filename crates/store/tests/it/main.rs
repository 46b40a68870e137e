//! The store as the node uses it: stories of what it answers, and random histories against a plain model.

#![expect(clippy::unwrap_used, reason = "all of it is test code, also what is outside of test functions")]

mod hash;
mod interchange;
mod language;
mod long_range;
mod model;
mod printing;
mod property;
mod replacement;
mod rig;
mod script;
