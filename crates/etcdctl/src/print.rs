//! Prints the answers of the cluster in the format that was asked for.
//!
//! A command passes an [`Answer`]. Each format has a file with one function that knows all answers it can
//! show. A new kind of answer is a variant, with an arm in each format that shows it.

mod fields;
mod json;
mod json_value;
mod protobuf;
mod rows;
mod simple;
mod table;

use std::io::{self, Write};

use client::Error;
use proto::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, DowngradeResponse, HashKvResponse, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse,
    MemberAddResponse, MemberListResponse, MemberPromoteResponse, MemberRemoveResponse, MemberUpdateResponse,
    MoveLeaderResponse, PutResponse, RangeResponse, StatusResponse, TxnResponse, WatchResponse,
};

use crate::cli::Values;
use crate::failure::{BAD_FEATURE, ERROR, Failure};

/// The response of a call, with what else its output shows.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    Put(&'a PutResponse),
    Range(&'a RangeResponse),
    Delete(&'a DeleteRangeResponse),
    Txn(&'a TxnResponse),
    Watch(&'a WatchResponse),
    Grant(&'a LeaseGrantResponse),
    Revoke(i64, &'a LeaseRevokeResponse),
    KeepAlive(&'a LeaseKeepAliveResponse),
    TimeToLive {
        response: &'a LeaseTimeToLiveResponse,
        with_keys: bool,
    },
    Leases(&'a LeaseLeasesResponse),
    Members(&'a MemberListResponse),
    MemberAdd {
        response: &'a MemberAddResponse,
        name: &'a str,
        peer_urls: &'a str,
    },
    MemberRemove(u64, &'a MemberRemoveResponse),
    MemberUpdate(u64, &'a MemberUpdateResponse),
    MemberPromote(u64, &'a MemberPromoteResponse),
    MoveLeader {
        from: u64,
        to: u64,
        response: &'a MoveLeaderResponse,
    },
    /// The action, and the cluster's answer to it.
    Downgrade(&'static str, &'a DowngradeResponse),
    Alarms(&'a AlarmResponse),
    Health(&'a [Health]),
    Status(&'a [(String, StatusResponse)]),
    HashKv(&'a [(String, HashKvResponse)]),
}

/// The health of an endpoint.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) endpoint: String,
    pub(crate) is_healthy: bool,
    /// How long the request took, as Go writes it.
    pub(crate) took: String,
    /// The error; empty if there is none.
    pub(crate) error: String,
}

/// The output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Fields,
    Json,
    Protobuf,
    Table,
}

/// Prints answers on standard output.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    format: Format,
    hex: bool,
    values_only: bool,
}

/// Why an answer is not shown.
#[derive(Debug)]
enum Refusal {
    /// The format does not know this kind of answer.
    Unsupported,
    /// A complete message.
    Other(String),
}

impl Printer {
    /// The printer that `--write-out` and `--hex` ask for.
    pub(crate) fn new(flags: &Values) -> Result<Self, Failure> {
        let format = match flags.text("write-out") {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "table" => Format::Table,
            _ => return Err(Failure::new(BAD_FEATURE, "unsupported output format")),
        };
        Ok(Printer { format, hex: flags.bool("hex"), values_only: false })
    }

    /// The same printer, which leaves out keys.
    #[must_use]
    pub(crate) fn values_only(&self) -> Self {
        Printer { values_only: true, ..self.clone() }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Prints `answer` with one write, as a whole or not at all.
    pub(crate) fn print(&self, answer: &Answer) -> Result<(), Failure> {
        match self.written(answer) {
            Ok(out) => write_out(&out),
            Err(Refusal::Other(message)) => Err(Failure::new(BAD_FEATURE, message)),
            Err(Refusal::Unsupported) => {
                let name = format!("{:?}", self.format).to_lowercase();
                Err(Failure::new(BAD_FEATURE, format!("{name} not supported as output format")))
            }
        }
    }

    /// What is printed for `answer`.
    fn written(&self, answer: &Answer) -> Result<Vec<u8>, Refusal> {
        let mut out = Vec::new();
        match self.format {
            Format::Simple => simple::write(answer, self.hex, self.values_only, &mut out)?,
            Format::Fields => fields::write(answer, self.hex, &mut out)?,
            Format::Json => json::write(answer, self.hex, &mut out)?,
            Format::Protobuf => protobuf::write(answer, &mut out)?,
            Format::Table => table::write(answer, &mut out)?,
        }
        Ok(out)
    }
}

/// Writes bytes to standard output.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::new(ERROR, format!("cannot write to standard output: {error}")))
}

/// Prints on standard error that the server has ended a watch.
pub(crate) fn tell_canceled(error: &Error) {
    eprintln!("watch was canceled ({error})");
}

#[cfg(test)]
mod tests;
