//! The response itself, as it came.

use prost::Message;
use proto::etcdserverpb::{ResponseHeader, WatchResponse};

use super::{Answer, Refusal};

/// Appends `answer` to `out`, without anything between one message and the next.
pub(super) fn write(answer: &Answer, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let bytes = match answer {
        Answer::Put(response) => response.encode_to_vec(),
        Answer::Range(response) => response.encode_to_vec(),
        Answer::Delete(response) => response.encode_to_vec(),
        Answer::Txn(response) => response.encode_to_vec(),
        Answer::Members(response) => response.encode_to_vec(),
        Answer::Alarms(response) => response.encode_to_vec(),
        Answer::Watch(response) => {
            // The number of the watch is the client's own affair, and etcd's leaves the reason out, too.
            let (watch_id, cancel_reason) = (0, String::new());
            WatchResponse { watch_id, cancel_reason, ..(*response).clone() }.encode_to_vec()
        }
        // etcd's client writes only the headers of these.
        Answer::Grant(response) => header(response.header.as_ref()),
        Answer::KeepAlive(response) => header(response.header.as_ref()),
        Answer::TimeToLive { response, .. } => header(response.header.as_ref()),
        Answer::Leases(response) => header(response.header.as_ref()),
        Answer::Revoke(..) => {
            return Err(Refusal::Other(
                "marshal unsupported for type *clientv3.LeaseRevokeResponse".to_owned(),
            ));
        }
        Answer::Health(_) | Answer::Status(_) | Answer::HashKv(_) => return Err(Refusal::Unsupported),
    };
    out.extend(bytes);
    Ok(())
}

fn header(header: Option<&ResponseHeader>) -> Vec<u8> {
    header.map(Message::encode_to_vec).unwrap_or_default()
}
