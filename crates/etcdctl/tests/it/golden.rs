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
    endpoint
    help
    key_value
    lease
    member
    range_stream
    txn
    watch
}
