//! One test for each script.

use crate::script::check;

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}

scripts! {
    alarm
    arguments
    downgrade
    endpoint
    help
    key_value
    lease
    member
    member_change
    move_leader
    range_stream
    txn
    watch
}
