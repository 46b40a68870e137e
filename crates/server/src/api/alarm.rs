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
            // The request is refused whether or not the cluster could be told.
            let _ = self.raise(AlarmType::Nospace, self.settings.member_id).await;
        }
        Err(Refusal::NoSpace.into())
    }

    /// Raises an alarm of this member's own finding.
    pub(super) async fn raise(&self, alarm: AlarmType, member_id: u64) -> Result<(), Error> {
        let (action, alarm) = (AlarmAction::Activate as i32, alarm as i32);
        let request = AlarmRequest { action, member_id, alarm };
        self.propose(Request::Alarm(request)).await.map(drop)
    }

    fn raised(&self) -> usize {
        self.published.control().alarms().of_kind(AlarmType::None as i32).len()
    }
}
