//! Alarms, and the quota that raises one of them.

use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmResponse, AlarmType};
use store::{Outcome, Refusal, Request};

use super::encode::Encoded;
use super::{Api, Error};

/// Alarms that may be raised: clients can make up members, and each member holds them all in memory.
const ALARMS_MAX: usize = 10_000;

impl Api {
    /// Lists, raises or clears alarms; of any kind, as in etcd, those in no enumeration too. A list is linearizable; unlike in etcd it takes no place in the log, which
    /// nobody can tell.
    pub(crate) async fn alarm(&self, request: AlarmRequest) -> Result<Encoded, Error> {
        let action = AlarmAction::try_from(request.action).map_err(|_| Error::UnknownMethod)?;
        let alarms = if action == AlarmAction::Get {
            self.wait_readable().await?;
            self.published.control().alarms().of_kind(request.alarm)
        } else if action == AlarmAction::Activate && self.raised() >= ALARMS_MAX {
            return Err(Error::TooManyRequests);
        } else {
            match self.propose(Request::Alarm(request)).await? {
                Outcome::Alarms(alarms) => alarms,
                other => unreachable!("a request about alarms came to {other:?}"),
            }
        };
        Ok(Encoded::message(&AlarmResponse { header: Some(self.response_header_now()), alarms }))
    }

    /// Refuses what would grow the store beyond its quota, and tells the cluster that there is no space.
    pub(super) async fn check_quota(&self, request: &Request) -> Result<(), Error> {
        if self.published.has_quota_for(store::cost(request)) {
            return Ok(());
        }
        if !self.published.control().alarms().is_raised(AlarmType::Nospace) {
            let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Nospace as i32);
            let request = AlarmRequest { action, member_id: self.settings.member_id, alarm };
            // The request is refused whether or not the cluster could be told.
            let _ = self.propose(Request::Alarm(request)).await;
        }
        Err(Refusal::NoSpace.into())
    }

    fn raised(&self) -> usize {
        self.published.control().alarms().of_kind(AlarmType::None as i32).len()
    }
}
