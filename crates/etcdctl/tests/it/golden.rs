//! One test for each script.

use crate::script;

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            script::run(stringify!($name));
        }
    )*};
}

scripts! {
    alarm
    arguments
    check_refused
    downgrade
    endpoint
    help
    key_value
    lease
    member
    member_change
    move_leader
    range_stream
    snapshot
    txn
    watch
}
