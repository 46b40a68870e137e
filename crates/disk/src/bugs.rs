//! Known bugs that can be switched on one at a time, so that the simulator can show that it would find them.
//!
//! Each is one condition, `seeded_bug!("name")`, at the place where it would be made;
//! `crates/sim/src/bugs.rs` lists them. Without the feature `seeded-bugs` the condition is the constant
//! `false`, and nothing of it is left in the program.

/// Whether the seeded bug of this name is switched on.
#[macro_export]
macro_rules! seeded_bug {
    ($name:literal) => {
        $crate::bugs::is_on($name)
    };
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Switches one bug on, and all others off, on this thread.
    pub fn switch_on(name: Option<&'static str>) {
        ON.set(name);
    }

    /// Whether that one is on.
    pub fn is_on(name: &str) -> bool {
        ON.get() == Some(name)
    }
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{is_on, switch_on};

/// There are none in this build.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub const fn is_on(_: &str) -> bool {
    false
}
