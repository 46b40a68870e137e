//! Who belongs to the cluster.
//!
//! A change is checked here, on the member that is asked, and again when it is applied. Under
//! `--strict-reconfig-check` it is refused here if it could leave the cluster without a majority of members that
//! were ever started, or that this member is connected to.

use std::time::{Instant, SystemTime};

use node::{Answer, Input};
use proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse,
};
use store::{Control, MemberChange, Outcome, Refusal};

use super::encode::Encoded;
use super::{Api, Error, answer};
use crate::config::Url;
use crate::identity::added_member_id;
use crate::peers::{Promoted, Question, Reply};

impl Api {
    /// The members by ascending id: as of now for a linearizable request, else as far as this member knows.
    /// The header has no revision, as in etcd.
    pub(crate) async fn member_list(&self, request: MemberListRequest) -> Result<Encoded, Error> {
        if request.linearizable {
            self.wait_readable().await?;
        }
        let members = self.published.control().members().cloned().collect();
        Ok(Encoded::message(&MemberListResponse { header: Some(self.response_header(0)), members }))
    }

    /// Adds a voter or a learner, which is to be started next.
    pub(crate) async fn member_add(&self, request: MemberAddRequest) -> Result<Encoded, Error> {
        let peer_urls = peer_urls(&request.peer_ur_ls)?;
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let member = Member {
            id: added_member_id(&peer_urls, since_epoch.as_secs()),
            peer_ur_ls: peer_urls,
            is_learner: request.is_learner,
            ..Member::default()
        };
        if self.settings.strict_reconfig_check {
            Voters::of(&self.published.control(), None).check_addition(member.is_learner)?;
            self.check_connected_for_addition()?;
        }
        let members = self.change_members(MemberChange::Add(member.clone())).await?;
        let header = Some(self.response_header(0));
        Ok(Encoded::message(&MemberAddResponse { header, member: Some(member), members }))
    }

    /// Removes a member for good.
    pub(crate) async fn member_remove(&self, request: MemberRemoveRequest) -> Result<Encoded, Error> {
        let control = self.published.control();
        let is_learner = control.member(request.id).is_some_and(|member| member.is_learner);
        if self.settings.strict_reconfig_check && !is_learner && control.member(request.id).is_some() {
            Voters::of(&control, Some(request.id)).check_removal()?;
            self.check_connected_for_removal(request.id)?;
        }
        let members = self.change_members(MemberChange::Remove(request.id)).await?;
        Ok(Encoded::message(&MemberRemoveResponse { header: Some(self.response_header(0)), members }))
    }

    /// Gives a member other peer URLs.
    pub(crate) async fn member_update(&self, request: MemberUpdateRequest) -> Result<Encoded, Error> {
        let member = Member { id: request.id, peer_ur_ls: request.peer_ur_ls, ..Member::default() };
        let members = self.change_members(MemberChange::Update(member)).await?;
        Ok(Encoded::message(&MemberUpdateResponse { header: Some(self.response_header(0)), members }))
    }

    /// Makes a voter of a learner that has nearly all of the leader's log. Only the leader knows that.
    pub(crate) async fn member_promote(&self, request: MemberPromoteRequest) -> Result<Encoded, Error> {
        let id = request.id;
        let read = |reply: Reply| reply.promotion().map(promoted);
        let here = async || self.promote_here(id).await;
        let members = self.by_leader(here, || Question::promotion(id), read).await?;
        Ok(Encoded::message(&MemberPromoteResponse { header: Some(self.response_header(0)), members }))
    }

    /// The same for a learner of which this member is the leader; [`Error::NoLeader`] if it is not. All members after it.
    pub(super) async fn promote_here(&self, id: u64) -> Result<Vec<Member>, Error> {
        let control = self.published.control();
        let is_learner = control.member(id).is_some_and(|member| member.is_learner);
        if self.settings.strict_reconfig_check && is_learner && self.is_leader() {
            Voters::of(&control, None).check_promotion()?;
        }
        let result = self.change_members(MemberChange::Promote(id)).await;
        match &result {
            Ok(_) => self.metrics.promotions.inc(),
            Err(Error::NoLeader) => {}
            Err(error) => self.metrics.failed_promotions.with_label_values(&[&*error.text()]).inc(),
        }
        result
    }

    /// Has a change carried out; all members after it.
    async fn change_members(&self, change: MemberChange) -> Result<Vec<Member>, Error> {
        let asked_at = Instant::now();
        let slot = self.node_client.open(self.settings.request_timeout);
        let (id, waiter) = (self.published.next_request_id(), slot.ticket());
        self.node_client.send(Input::ChangeMembers { id, change, waiter });
        match answer(&slot).await.map_err(|error| self.blame(error, asked_at))? {
            Answer::Applied(Ok(Outcome::Members(members))) => Ok(members),
            Answer::Applied(Err(refusal)) => Err(refusal.into()),
            Answer::Unserved(unserved) => Err(self.blame(unserved.into(), asked_at)),
            other => unreachable!("a change of the members is not answered as {other:?}"),
        }
    }
}

/// What the leader says of a promotion.
fn promoted(outcome: Promoted) -> Result<Vec<Member>, Error> {
    match outcome {
        Promoted::Done(members) => Ok(members),
        Promoted::MemberNotFound => Err(Refusal::MemberNotFound.into()),
        Promoted::NotLearner => Err(Refusal::NotLearner.into()),
        Promoted::LearnerNotReady => Err(Refusal::LearnerNotReady.into()),
    }
}

/// The URLs of a new member, sorted.
fn peer_urls(urls: &[String]) -> Result<Vec<String>, Error> {
    let parsed: Result<Vec<Url>, _> = urls.iter().map(|url| Url::parse(url)).collect();
    let mut urls: Vec<String> = parsed.map_err(|_| Error::MemberUrls)?.iter().map(Url::to_string).collect();
    if urls.is_empty() {
        return Err(Error::MemberUrls);
    }
    urls.sort();
    Ok(urls)
}

/// How many voters there are, and how many of them were ever started: those whose name is known.
struct Voters {
    all: usize,
    started: usize,
}

impl Voters {
    /// Those of `control`, without the member `left_out`.
    fn of(control: &Control, left_out: Option<u64>) -> Voters {
        let voters = || control.members().filter(|m| !m.is_learner && Some(m.id) != left_out);
        Voters { all: voters().count(), started: voters().filter(|m| !m.name.is_empty()).count() }
    }

    /// A new voter is not started. A lone member may add one all the same, or it could never have another.
    fn check_addition(&self, is_learner: bool) -> Result<(), Error> {
        let is_lone = self.all == 1 && self.started == 1;
        check(is_learner || is_lone || self.started >= majority(self.all + 1))
    }

    fn check_removal(&self) -> Result<(), Error> {
        check(self.started >= majority(self.all))
    }

    /// The learner is started: it has the log.
    fn check_promotion(&self) -> Result<(), Error> {
        check(self.started + 1 >= majority(self.all + 1))
    }
}

fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

fn check(is_safe: bool) -> Result<(), Error> {
    if is_safe { Ok(()) } else { Err(Error::TooFewMembers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_started_voters_must_remain() {
        let lone = Voters { all: 1, started: 1 };
        assert!(lone.check_addition(false).is_ok());
        assert!(Voters { all: 2, started: 2 }.check_addition(false).is_ok());
        let unstarted = Voters { all: 2, started: 1 };
        assert_eq!(unstarted.check_addition(false), Err(Error::TooFewMembers));
        assert!(unstarted.check_addition(true).is_ok());
        assert_eq!(Voters { all: 0, started: 0 }.check_removal(), Err(Error::TooFewMembers));
        assert!(lone.check_removal().is_ok());
        assert_eq!(unstarted.check_removal(), Err(Error::TooFewMembers));
        assert!(unstarted.check_promotion().is_ok());
        assert_eq!(Voters { all: 3, started: 1 }.check_promotion(), Err(Error::TooFewMembers));
    }

    #[test]
    fn the_urls_of_a_member_are_checked_and_sorted() {
        let urls = |urls: &[&str]| peer_urls(&urls.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(urls(&["http://b:1", "http://a:1"]), Ok(vec!["http://a:1".into(), "http://b:1".into()]));
        for wrong in [&[][..], &["a:1"], &["http://a"], &["ftp://a:1"], &["http://a:1", ""]] {
            assert_eq!(urls(wrong), Err(Error::MemberUrls));
        }
    }
}
