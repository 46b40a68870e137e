//! The seeded bugs: what the simulator must be able to find.
//!
//! Each stands as a condition `seeded_bug!("name")` in the crate concerned. Some were real, and found here.

/// A bug that can be switched on.
#[derive(Debug, Clone, Copy)]
pub struct Bug {
    /// Its name on the command line.
    pub name: &'static str,
    /// What the member then does.
    pub what: &'static str,
}

const fn bug(name: &'static str, what: &'static str) -> Bug {
    Bug { name, what }
}

/// Those that the simulation of one member finds.
pub const BUGS: [Bug; 30] = [
    bug("ack-before-sync", "answers before the log is synced"),
    bug("torn-tail-kept", "appends to a log in front of the rest of a torn write"),
    bug("written-over-old-records", "writes long batches at once in a log file that is used again"),
    bug("wal-released-early", "removes log files before the checkpoint that replaces them is durable"),
    bug("wal-file-asked-twice", "prepares a log file while another is being prepared"),
    bug("checkpoint-of-unsynced-segments", "saves a checkpoint without syncing its segments"),
    bug("checkpoint-name-not-synced", "takes a checkpoint for durable before its directory is synced"),
    bug("wal-names-not-synced-at-start", "appends to a log file whose name a killed process left unsynced"),
    bug("applied-index-too-high", "notes an applied index one too high in the checkpoint"),
    bug("compaction-not-in-checkpoint", "forgets the compacted revision at a restart"),
    bug("listed-segment-removed", "removes segments that the durable checkpoint lists"),
    bug("tombstone-lost", "drops a tombstone that covers an older put when it rewrites segments"),
    bug("key-not-relocated", "leaves one key pointing to a segment that is no more"),
    bug("dead-copy-counted-as-live", "counts as live what died while segments were rewritten"),
    bug("defragmentation-not-thorough", "leaves dead records that a defragmentation should take"),
    bug("segment-sealed-too-soon", "ends a segment for its dead records before there is room in another"),
    bug("needed-version-compacted", "drops the version that a read at the compacted revision sees"),
    bug("sub-revision-counted-twice", "leaves gaps between the changes of a transaction"),
    bug("compacted-record-hashed", "hashes records that a compaction has dropped"),
    bug("leases-not-in-checkpoint", "forgets leases at a restart"),
    bug("lease-expires-early", "ends leases a second before their time"),
    bug("lease-not-renewed", "answers a renewal and forgets it"),
    bug("lease-keeps-detached-key", "deletes with a lease what was put with another since"),
    bug("revoked-by-two", "ends a lease again that a client is ending, and with it the next of that id"),
    bug("forbidden-revocation-forgotten", "leaves alone what ran out while an alarm forbade to end it"),
    bug("alarms-not-in-checkpoint", "forgets alarms at a restart"),
    bug("revision-not-in-ring", "keeps a revision from those who watch"),
    bug("half-a-revision-told", "tells watchers only the first event of a revision"),
    bug("progress-before-beginning", "tells of the progress of watches that begin in the future"),
    bug("prev-kv-too-old", "tells watchers the key as it was one revision earlier"),
];

/// Those that the simulation of clusters finds.
pub const CLUSTER_BUGS: [Bug; 26] = [
    bug("read-index-without-round", "answers reads without asking whether another member leads"),
    bug("read-index-of-earlier-term", "answers reads before an entry of the leader's own term is committed"),
    bug("read-index-for-later-reads", "answers reads by an index that was asked for before them"),
    bug("read-before-applied", "answers reads before what they must see is applied"),
    bug("commit-of-all-appended", "takes all that a leader sends for committed"),
    bug("heartbeat-commits-unmatched", "tells a member to commit what it may not have"),
    bug("half-is-a-majority", "takes half of an even number of members for a majority"),
    bug("vote-forgotten-at-restart", "forgets at a restart for whom it voted"),
    bug("two-votes-in-a-term", "votes for whoever asks"),
    bug("vote-for-shorter-log", "votes for a member that lacks entries of the last term"),
    bug("append-acknowledged-before-durable", "acknowledges entries before they are durable"),
    bug("old-append-truncates", "removes newer entries when an old message arrives"),
    bug("proposal-forwarded-twice", "passes a proposal on twice"),
    bug("leases-kept-by-old-leader", "goes on to count the time of leases when another member leads"),
    bug("lease-not-extended-by-new-leader", "gives leases no time of their own when it begins to lead"),
    bug("watch-resumes-one-late", "leaves out the revision from which a watch resumes"),
    bug("renewed-without-proof", "renews leases without a proof that it still leads"),
    bug("held-appends-forgotten", "leaves entries waiting for room behind entries that it has already"),
    bug("ack-before-sync", "takes entries for durable before they are synced"),
    bug("vote-answered-before-durable", "answers with a vote that is not durable yet"),
    bug("learner-votes", "lets a member vote that is to learn only"),
    bug("removed-member-counted", "counts a removed member for majorities"),
    bug("member-changes-overlap", "changes the members again before the last change is applied"),
    bug("removed-member-returns", "adds a member again that was removed"),
    bug("removals-not-in-checkpoint", "forgets at a restart which members were removed"),
    bug("damage-taken-for-torn-end", "cuts off what follows a damaged record of the WAL"),
];

/// Switches a bug on, or all off, on this thread. Fails if there is no such bug, or if they are not part of this build.
pub fn switch_on(name: Option<&str>) -> Result<(), String> {
    let Some(name) = name else {
        set(None);
        return Ok(());
    };
    if !cfg!(feature = "seeded-bugs") {
        return Err("this build has no seeded bugs: build it with --features seeded-bugs".into());
    }
    match BUGS.iter().chain(&CLUSTER_BUGS).find(|bug| bug.name == name) {
        Some(bug) => set(Some(bug.name)),
        None => return Err(format!("there is no seeded bug {name}")),
    }
    Ok(())
}

#[cfg(feature = "seeded-bugs")]
fn set(name: Option<&'static str>) {
    ::bugs::switch_on(name);
}

#[cfg(not(feature = "seeded-bugs"))]
fn set(_: Option<&'static str>) {}
