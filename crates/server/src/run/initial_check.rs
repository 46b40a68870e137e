//! The gate `InitialCorruptCheck`: a member that starts again compares its data with those of the others before it
//! serves anybody.

use std::time::Duration;

use node::{Published, Started};
use store::ReadView;
use tracing::{info, warn};

use super::Error;
use crate::api::Settings;
use crate::config::{Config, Url};
use crate::driver::Ticket;
use crate::peers::{MemberUrls, Question, ask_members};

/// Compares the data of a member that starts again, if the gate is open.
pub(super) fn compare_if_asked(
    config: &Config,
    settings: &Settings,
    started: &Started<Ticket>,
) -> Result<(), Error> {
    if !started.is_restart || !config.feature_gates.is_on("InitialCorruptCheck") {
        return Ok(());
    }
    let (view, published) = (started.node.view(), started.node.published());
    compare(settings.member_id, &view, &published, settings.request_timeout)
}

/// Compares the data of this member with those of each other one that answers within `limit`. They differ only if
/// their hashes do at the same compaction.
fn compare(own_id: u64, view: &ReadView, published: &Published, limit: Duration) -> Result<(), Error> {
    let others = others(published, own_id);
    let own_id = format!("{own_id:x}");
    info!("local-member-id" = own_id, timeout = ?limit, "starting initial corruption check");
    let own = view
        .hash_now(0)
        .map_err(|error| Error::Cluster(format!("{own_id} failed to fetch hash ({error})")))?;
    let replies = ask_members(&others, &Question::hash(own.revision), limit)?;
    let mut is_corrupt = false;
    for (id, reply) in replies {
        let id = format!("{id:x}");
        let text = match reply.and_then(|reply| reply.hash()) {
            Ok(hash) if hash.hash == own.hash => continue,
            Ok(hash) if hash.compact_revision == own.compact_revision => {
                is_corrupt = true;
                "found different hash values from remote peer".to_owned()
            }
            Ok(_) => "found different compact revision values from remote peer".to_owned(),
            Err(error) => format!("failed hash kv request: {error}"),
        };
        warn!(
            "local-member-id" = own_id,
            "local-member-revision" = own.revision,
            "local-member-compact-revision" = own.compact_revision,
            "local-member-hash" = own.hash,
            "remote-peer-id" = id,
            "{text}"
        );
    }
    if is_corrupt {
        return Err(Error::Cluster(format!("{own_id} found data inconsistency with peers")));
    }
    info!("local-member-id" = own_id, "initial corruption checking passed; no corruption");
    Ok(())
}

fn others(published: &Published, own_id: u64) -> Vec<MemberUrls> {
    let control = published.control();
    let others = control.members().filter(|member| member.id != own_id);
    others
        .map(|member| (member.id, member.peer_ur_ls.iter().filter_map(|url| Url::parse(url).ok()).collect()))
        .collect()
}
