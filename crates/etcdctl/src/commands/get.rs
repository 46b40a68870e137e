//! `etcdctl get`: reads a key or a range of keys.

use bytes::Bytes;
use proto::etcdserverpb::RangeRequest;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::key_range;
use crate::cli::{Action, Call, Command, Flag, Group, Values};
use crate::failure::{BAD_FEATURE, Failure};
use crate::print::{Answer, Format};
use crate::session::Session;
use crate::text::quote;

pub(super) const COMMAND: Command = Command::new(
    "get [options] <key> [range_end]",
    "Gets the key or a range of keys",
    Action::Run(|call| Box::pin(run(call))),
)
.group(Group::KeyValue)
.flags(&[
    Flag::text("consistency", "l", "Linearizable(l) or Serializable(s)"),
    Flag::text("order", "", "Order of results; ASCEND or DESCEND (ASCEND by default)"),
    Flag::text("sort-by", "", "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION"),
    Flag::int("limit", "Maximum number of results"),
    Flag::bool("prefix", "Get keys with matching prefix"),
    Flag::bool("from-key", "Get keys that are greater than or equal to the given key using byte compare"),
    Flag::int("rev", "Specify the kv revision"),
    Flag::bool("keys-only", "Get only the keys"),
    Flag::bool("count-only", "Get only the count"),
    Flag::bool("print-value-only", "Only write values when using the \"simple\" output format"),
    Flag::int("min-create-rev", "Minimum create revision"),
    Flag::int("max-create-rev", "Maximum create revision"),
    Flag::int("min-mod-rev", "Minimum modification revision"),
    Flag::int("max-mod-rev", "Maximum modification revision"),
    Flag::bool("stream", "Use the RangeStream RPC"),
]);

async fn run(mut call: Call) -> Result<(), Failure> {
    let request = request(&call.flags, &call.args)?;
    let session = Session::new(&mut call.flags)?;
    let client = session.client()?;
    let response = match call.flags.bool("stream") {
        true => client.range_stream(request).await?.collect().await?,
        false => client.range(request).await?,
    };
    let printer = session.printer();
    if call.flags.bool("count-only") && printer.format() != Format::Fields {
        return Err(Failure::bad_args("--count-only is only for `--write-out=fields`"));
    }
    if !call.flags.bool("print-value-only") {
        return printer.print(&Answer::Range(&response));
    }
    if printer.format() != Format::Simple {
        return Err(Failure::bad_args("print-value-only is only for `--write-out=simple`"));
    }
    printer.values_only().print(&Answer::Range(&response))
}

/// Makes the request.
pub(super) fn request(flags: &Values, args: &[Bytes]) -> Result<RangeRequest, Failure> {
    if args.is_empty() {
        return Err(Failure::bad_args(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    }
    key_range::check_flags(flags)?;
    if flags.bool("keys-only") && flags.bool("count-only") {
        return Err(Failure::bad_args(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let serializable = is_serializable(flags)?;
    let range = key_range::read(flags, args)?;
    let (sort_order, sort_target) = sort(flags)?;
    check_bounds(flags, "min-create-rev", "max-create-rev", "getMinCreateRev", "getMaxCreateRev")?;
    check_bounds(flags, "min-mod-rev", "max-mod-rev", "getMinModRev", "getMaxModRev")?;
    let at_least_zero = |name| flags.int(name).max(0);
    Ok(RangeRequest {
        key: range.key,
        range_end: range.end,
        limit: flags.int("limit"),
        revision: at_least_zero("rev"),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable,
        keys_only: flags.bool("keys-only"),
        count_only: flags.bool("count-only"),
        min_mod_revision: at_least_zero("min-mod-rev"),
        max_mod_revision: at_least_zero("max-mod-rev"),
        min_create_revision: at_least_zero("min-create-rev"),
        max_create_revision: at_least_zero("max-create-rev"),
    })
}

fn is_serializable(flags: &Values) -> Result<bool, Failure> {
    match flags.text("consistency") {
        "s" => Ok(true),
        "l" => Ok(false),
        other => Err(Failure::new(BAD_FEATURE, format!("unknown consistency flag {}", quote(other)))),
    }
}

fn sort(flags: &Values) -> Result<(SortOrder, SortTarget), Failure> {
    let order = match flags.text("order").to_uppercase().as_str() {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        _ => return Err(Failure::new(BAD_FEATURE, format!("bad sort order {}", flags.text("order")))),
    };
    let target = match flags.text("sort-by").to_uppercase().as_str() {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(Failure::new(BAD_FEATURE, format!("bad sort target {}", flags.text("sort-by")))),
    };
    // The default order.
    if (order, target) == (SortOrder::Ascend, SortTarget::Key) {
        return Ok((SortOrder::None, target));
    }
    Ok((order, target))
}

fn check_bounds(flags: &Values, min: &str, max: &str, min_name: &str, max_name: &str) -> Result<(), Failure> {
    let (min, max) = (flags.int(min), flags.int(max));
    if max > 0 && min > max {
        return Err(Failure::new(BAD_FEATURE, format!("{min_name}(={min}) > {max_name}(={max})")));
    }
    Ok(())
}
