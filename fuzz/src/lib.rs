//! Fuzz targets: one for each decoder of bytes that this project did not write, and one for the handling of
//! messages of peers.
//!
//! A target is a plain function of bytes that panics if a promise is broken; refusing the bytes is fine.
//! The same functions run in three places: in this crate's runner (`cargo run -p fuzz -- --seconds 10 all`,
//! stable Rust, a seeded mutator, part of CI), under libFuzzer with coverage (`fuzz_targets/`, feature
//! `libfuzzer`), and over their unchanged seeds as tests. Our own encoders make the seeds, so they
//! always have the current formats.

mod bolt;
mod files;
mod http2;
mod messages;
pub mod mutate;
mod peer;
mod raft;
mod wal;

pub use bolt::bolt;
pub use files::{checkpoint, segment, sidecar};
pub use http2::{connection, hpack};
pub use messages::{message, request};
pub use peer::{append_stream, message_stream, snapshot_head};
pub use raft::raft;
pub use wal::wal;

/// One decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Decodes the bytes; panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Well-formed inputs to start from; at least one, none empty.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: [Target; 13] = [
    Target { name: "request", run: request, seeds: messages::request_seeds },
    Target { name: "message", run: message, seeds: messages::message_seeds },
    Target { name: "raft", run: raft, seeds: raft::seeds },
    Target { name: "checkpoint", run: checkpoint, seeds: files::checkpoint_seeds },
    Target { name: "segment", run: segment, seeds: files::segment_seeds },
    Target { name: "sidecar", run: sidecar, seeds: files::sidecar_seeds },
    Target { name: "hpack", run: hpack, seeds: http2::hpack_seeds },
    Target { name: "connection", run: connection, seeds: http2::connection_seeds },
    Target { name: "append_stream", run: append_stream, seeds: peer::append_stream_seeds },
    Target { name: "message_stream", run: message_stream, seeds: peer::message_stream_seeds },
    Target { name: "snapshot_head", run: snapshot_head, seeds: peer::snapshot_head_seeds },
    Target { name: "bolt", run: bolt, seeds: bolt::seeds },
    Target { name: "wal", run: wal, seeds: wal::seeds },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_accepts_its_seeds_and_no_bytes_at_all() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty() && seeds.iter().all(|seed| !seed.is_empty()), "{}", target.name);
            seeds.iter().for_each(|seed| (target.run)(seed));
            (target.run)(&[]);
        }
    }

    #[test]
    fn every_target_survives_a_thousand_mutations() {
        for target in TARGETS {
            let mut mutator = mutate::Mutator::new((target.seeds)(), 7);
            (0..1_000).for_each(|_| (target.run)(mutator.next_input()));
        }
    }
}
