//! Known bugs that can be switched on one at a time, so that the simulator can show that it would find them.
//!
//! Each is one condition, `seeded_bug!("name")`, at the place where it would be made, in whatever crate that is;
//! `crates/sim/src/bugs.rs` lists them. Without the feature `seeded-bugs` the condition is the constant
//! `false`, and nothing of it is left in the program.

/// Whether the seeded bug of this name is switched on.
#[macro_export]
macro_rules! seeded_bug {
    ($name:literal) => {
        $crate::is_on($name)
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

#[cfg(test)]
mod tests {
    #[cfg(not(feature = "seeded-bugs"))]
    #[test]
    fn a_build_without_the_feature_has_no_bugs() {
        assert!(!crate::seeded_bug!("any"));
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn one_bug_is_on_at_a_time_and_on_one_thread() {
        crate::switch_on(Some("one"));
        assert!(crate::seeded_bug!("one") && !crate::seeded_bug!("another"));
        let other_thread = std::thread::spawn(|| crate::seeded_bug!("one"));
        assert!(!other_thread.join().unwrap());
        crate::switch_on(None);
        assert!(!crate::seeded_bug!("one"));
    }
}
