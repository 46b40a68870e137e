//! Alarms: faults of a member that the whole cluster knows of, and the commands that are refused meanwhile.
//!
//! An alarm is raised and cleared by a command, so that each member refuses the same requests from the same
//! log entry on. Nothing clears one by itself. Kinds and members are kept as they come: what to do with a
//! kind that is in no enumeration is etcd's to say, and it keeps it.

use std::collections::BTreeSet;

use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};

use crate::{Refusal, Request, cost};

/// The alarms that are raised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alarms {
    /// Kind and member.
    raised: BTreeSet<(i32, u64)>,
}

impl Alarms {
    pub(crate) fn restore(alarms: &[AlarmMember]) -> Alarms {
        Alarms { raised: alarms.iter().map(|a| (a.alarm, a.member_id)).collect() }
    }

    /// Those of one kind, or with [`AlarmType::None`] all; by kind, then by member.
    pub fn of_kind(&self, kind: i32) -> Vec<AlarmMember> {
        let is_wanted = |raised: i32| kind == AlarmType::None as i32 || kind == raised;
        let wanted = self.raised.iter().filter(|(raised, _)| is_wanted(*raised));
        wanted.map(|&(alarm, member_id)| AlarmMember { member_id, alarm }).collect()
    }

    /// Whether any member has raised this alarm.
    pub fn is_raised(&self, kind: AlarmType) -> bool {
        self.raised.range((kind as i32, 0)..=(kind as i32, u64::MAX)).next().is_some()
    }

    /// Carries out a request. Returns the alarms it asks for, or the one that it raised, found raised, or
    /// cleared. Raising no kind, clearing what is not raised, and an action in no enumeration do nothing.
    pub(crate) fn apply(&mut self, request: &AlarmRequest) -> Vec<AlarmMember> {
        let alarm = (request.alarm, request.member_id);
        let is_concerned = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => return self.of_kind(request.alarm),
            Ok(AlarmAction::Activate) => {
                let is_kind = request.alarm != AlarmType::None as i32;
                if is_kind {
                    self.raised.insert(alarm);
                }
                is_kind
            }
            Ok(AlarmAction::Deactivate) => self.raised.remove(&alarm),
            Err(_) => false,
        };
        is_concerned.then_some(AlarmMember { member_id: alarm.1, alarm: alarm.0 }).into_iter().collect()
    }

    /// Refuses what must not be done while alarms are raised: with corrupt data, whatever touches keys or
    /// leases; without space, whatever takes some.
    pub(crate) fn admit(&self, request: &Request) -> Result<(), Refusal> {
        if self.raised.is_empty() {
            Ok(())
        } else if self.is_raised(AlarmType::Corrupt) && touches_data(request) {
            Err(Refusal::Corrupt)
        } else if self.is_raised(AlarmType::Nospace) && cost(request) > 0 {
            Err(Refusal::NoSpace)
        } else {
            Ok(())
        }
    }
}

fn touches_data(request: &Request) -> bool {
    matches!(
        request,
        Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: i32, alarm: AlarmType, member_id: u64) -> AlarmRequest {
        AlarmRequest { action, member_id, alarm: alarm as i32 }
    }

    #[test]
    fn alarms_are_listed_by_kind_and_member() {
        let mut alarms = Alarms::default();
        for (alarm, member_id) in [(AlarmType::Corrupt, 1), (AlarmType::Nospace, 9), (AlarmType::Nospace, 2)]
        {
            alarms.apply(&request(AlarmAction::Activate as i32, alarm, member_id));
        }
        let listed = |kind: AlarmType| {
            alarms.of_kind(kind as i32).iter().map(|a| (a.alarm, a.member_id)).collect::<Vec<_>>()
        };
        assert_eq!(listed(AlarmType::None), [(1, 2), (1, 9), (2, 1)]);
        assert_eq!(listed(AlarmType::Nospace), [(1, 2), (1, 9)]);
        assert_eq!(Alarms::restore(&alarms.of_kind(AlarmType::None as i32)), alarms);
    }

    #[test]
    fn an_action_in_no_enumeration_does_nothing() {
        let mut alarms = Alarms::default();
        assert!(alarms.apply(&request(9, AlarmType::Nospace, 1)).is_empty());
        assert_eq!(alarms, Alarms::default());
    }
}
