//! The output format that prints the bytes of the response.

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
        Answer::MemberAdd { response, .. } => response.encode_to_vec(),
        Answer::MemberRemove(_, response) => response.encode_to_vec(),
        Answer::MemberUpdate(_, response) => response.encode_to_vec(),
        Answer::MemberPromote(_, response) => response.encode_to_vec(),
        Answer::MoveLeader { response, .. } => response.encode_to_vec(),
        Answer::Downgrade(_, response) => response.encode_to_vec(),
        Answer::Alarms(response) => response.encode_to_vec(),
        Answer::Watch(response) => {
            // The id of the watch is internal to the client. etcd's `etcdctl` leaves the reason out too.
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

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{LeaseGrantResponse, PutResponse};

    use super::*;

    fn written(answer: &Answer) -> Vec<u8> {
        let mut out = Vec::new();
        write(answer, &mut out).unwrap();
        out
    }

    #[test]
    fn a_grant_is_only_its_header() {
        let header = Some(ResponseHeader { revision: 7, ..ResponseHeader::default() });
        let grant = LeaseGrantResponse { header, id: 1, ..LeaseGrantResponse::default() };
        assert_eq!(written(&Answer::Grant(&grant)), [0x18, 7]);
        let put = PutResponse { header, prev_kv: None };
        assert_eq!(written(&Answer::Put(&put)), [0x0a, 2, 0x18, 7]);
    }

    #[test]
    fn a_watch_keeps_its_number_to_itself() {
        let response =
            WatchResponse { watch_id: 5, canceled: true, cancel_reason: "x".into(), ..Default::default() };
        assert_eq!(written(&Answer::Watch(&response)), [0x20, 1]);
    }
}
