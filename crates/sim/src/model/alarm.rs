//! Alarms: which are raised, and what they forbid.

use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, RequestOp, TxnRequest};
use store::{Outcome, Refusal, Request};

use super::Model;

impl Model {
    /// The alarms, by kind and member.
    pub(crate) fn alarms(&self) -> impl Iterator<Item = AlarmMember> {
        self.alarms.iter().map(|&(alarm, member_id)| AlarmMember { member_id, alarm })
    }

    /// What alarms forbid: CORRUPT forbids everything about keys and leases, NOSPACE what takes space.
    pub(super) fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let is_raised = |kind: AlarmType| self.alarms.iter().any(|(alarm, _)| *alarm == kind as i32);
        let is_about_data = matches!(
            request,
            Request::Put(_)
                | Request::DeleteRange(_)
                | Request::Txn(_)
                | Request::Compact(_)
                | Request::LeaseGrant(_)
                | Request::LeaseRevoke(_)
        );
        if is_about_data && is_raised(AlarmType::Corrupt) {
            return Err(Refusal::Corrupt);
        }
        if takes_space(request) && is_raised(AlarmType::Nospace) {
            return Err(Refusal::NoSpace);
        }
        Ok(())
    }

    /// Returns the alarms asked for, or the one that was raised or cleared.
    pub(super) fn alarm(&mut self, request: &AlarmRequest) -> Outcome {
        let alarm = (request.alarm, request.member_id);
        let is_any = request.alarm == AlarmType::None as i32;
        let is_told = match request.action() {
            AlarmAction::Get => {
                let wanted = self.alarms().filter(|raised| is_any || raised.alarm == request.alarm);
                return Outcome::Alarms(wanted.collect());
            }
            AlarmAction::Activate if is_any => false,
            AlarmAction::Activate => {
                self.alarms.insert(alarm);
                true
            }
            AlarmAction::Deactivate => self.alarms.remove(&alarm),
        };
        let told = is_told.then_some(AlarmMember { alarm: alarm.0, member_id: alarm.1 });
        Outcome::Alarms(told.into_iter().collect())
    }
}

/// Whether a command may put something, or grants a lease.
pub(crate) fn takes_space(request: &Request) -> bool {
    match request {
        Request::Put(_) | Request::LeaseGrant(_) => true,
        Request::Txn(txn) => may_put(txn),
        _ => false,
    }
}

fn may_put(txn: &TxnRequest) -> bool {
    let puts = |op: &RequestOp| match &op.request {
        Some(Op::RequestPut(_)) => true,
        Some(Op::RequestTxn(nested)) => may_put(nested),
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).any(puts)
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{DeleteRangeRequest, LeaseRevokeRequest, PutRequest};

    use super::*;

    #[test]
    fn without_space_only_what_takes_some_is_refused_and_with_corrupt_data_everything() {
        let put = || Some(Op::RequestPut(PutRequest::default()));
        let nested = TxnRequest { failure: vec![RequestOp { request: put() }], ..TxnRequest::default() };
        let nested = RequestOp { request: Some(Op::RequestTxn(nested)) };
        let txn = Request::Txn(TxnRequest { success: vec![nested], ..TxnRequest::default() });
        let delete = Request::DeleteRange(DeleteRangeRequest::default());
        let revoke = Request::LeaseRevoke(LeaseRevokeRequest::default());

        let mut model = Model::new();
        let mut with = |kind: AlarmType| {
            let activate = AlarmAction::Activate as i32;
            model.alarm(&AlarmRequest { action: activate, member_id: 1, alarm: kind as i32 });
            [&txn, &delete, &revoke].map(|request| model.admit(request).err())
        };
        assert_eq!(with(AlarmType::Nospace), [Some(Refusal::NoSpace), None, None]);
        assert_eq!(with(AlarmType::Corrupt), [Some(Refusal::Corrupt); 3]);
    }
}
