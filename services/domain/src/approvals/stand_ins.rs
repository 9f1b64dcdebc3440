//! Tests: who votes in whose place, and who may not.

use countersign_schemas::events::{ApprovalState, EscalationStep, VoteChoice};
use countersign_schemas::{TeamId, Timestamp};
use proptest::prelude::*;

use super::fixtures::{Company, asked, at, checked, company, person};
use super::tests::{approve, cast, put_to};
use super::*;

/// `delegate` votes for `person` in all teams from 10:00 until 11:00.
fn away(company: &mut Company, who: &str, delegate: &str) {
    let teams = company.teams.keys().cloned().collect();
    lend(
        company,
        who,
        delegate,
        teams,
        at("10:00:00"),
        at("11:00:00"),
    );
}

fn lend(
    company: &mut Company,
    who: &str,
    delegate: &str,
    teams: BTreeSet<TeamId>,
    from: Timestamp,
    until: Timestamp,
) {
    company.away.push(Delegation {
        person: person(who),
        delegate: person(delegate),
        from,
        until,
        teams,
    });
}

fn ask(teams: &[(&str, u32)], steps: &[(u64, &str, &[&str])]) -> Approval {
    let mut checked = checked();
    let ask = checked.ask.as_mut().unwrap();
    ask.approvers = asked(teams);
    ask.escalation = steps
        .iter()
        .map(|(after_s, team, instead_of)| EscalationStep {
            after_s: *after_s,
            team: team.parse().unwrap(),
            instead_of: instead_of
                .iter()
                .map(|team| team.parse().unwrap())
                .collect(),
        })
        .collect();
    Approval::open(&checked, at("10:00:01")).unwrap()
}

fn yes(approval: &mut Approval, company: &Company, who: &str, seq: u64) -> VoteCode {
    let vote = approve(approval, who, seq);
    put_to(approval, &vote, company).code
}

fn decided_by(approval: &Approval) -> String {
    approval.resolution().unwrap().message.clone()
}

#[test]
fn a_delegate_votes_for_whom_is_away_and_everybody_reads_so() {
    let mut company = company();
    away(&mut company, "lee", "kim");
    let mut approval = ask(&[("support", 1)], &[]);
    assert!(approval.may_vote(&person("kim"), &company, at("10:30:00")));
    assert_eq!(yes(&mut approval, &company, "kim", 1), VoteCode::Counted);
    assert_eq!(approval.state(), ApprovalState::Approved);
    assert_eq!(decided_by(&approval), "approved by kim for lee");
    let votes = approval.resolved().unwrap().votes;
    assert_eq!(votes[0].on_behalf_of, Some(person("lee")));
    assert_eq!(approval.approved_by(), [person("kim")]);
    let late = cast(&approval, "sam", VoteChoice::Deny, 2);
    let answer = put_to(&mut approval, &late, &company);
    assert_eq!(answer.code, VoteCode::AlreadyResolved);
    assert!(
        answer.message.contains("approved by kim for lee"),
        "{}",
        answer.message
    );
}

#[test]
fn a_denial_in_anothers_place_says_so() {
    let mut company = company();
    away(&mut company, "lee", "kim");
    let mut approval = ask(&[("support", 2)], &[]);
    let no = cast(&approval, "kim", VoteChoice::Deny, 1);
    put_to(&mut approval, &no, &company);
    assert_eq!(decided_by(&approval), "denied by kim for lee");
}

#[test]
fn a_delegation_holds_by_the_time_at_which_the_vote_was_stored() {
    for (time, code) in [
        ("10:04:59.999999", VoteCode::NotAMember),
        ("10:05:00", VoteCode::Counted),
        ("10:29:59.999999", VoteCode::Counted),
        ("10:30:00", VoteCode::NotAMember),
    ] {
        let mut company = company();
        let support = ["support".parse().unwrap()].into();
        lend(
            &mut company,
            "lee",
            "kim",
            support,
            at("10:05:00"),
            at("10:30:00"),
        );
        let mut approval = ask(&[("support", 1)], &[]);
        let mut vote = approve(&approval, "kim", 1);
        vote.at = at(time);
        assert_eq!(put_to(&mut approval, &vote, &company).code, code, "{time}");
    }
}

#[test]
fn only_the_teams_named_and_only_while_the_person_is_in_them() {
    let mut company = company();
    let security = ["security".parse().unwrap()].into();
    lend(
        &mut company,
        "sam",
        "eve",
        security,
        at("10:00:00"),
        at("11:00:00"),
    );
    let mut support = ask(&[("support", 1)], &[]);
    assert_eq!(yes(&mut support, &company, "eve", 1), VoteCode::NotAMember);
    let mut both = ask(&[("security", 1)], &[]);
    assert_eq!(
        yes(&mut both.clone(), &company, "eve", 1),
        VoteCode::Counted
    );
    company
        .teams
        .get_mut(&"security".parse().unwrap())
        .unwrap()
        .remove(&person("sam"));
    assert_eq!(yes(&mut both, &company, "eve", 1), VoteCode::NotAMember);
}

#[test]
fn nobody_passes_on_what_was_lent_to_them() {
    let mut company = company();
    away(&mut company, "lee", "kim");
    away(&mut company, "kim", "eve");
    let mut approval = ask(&[("support", 1)], &[]);
    assert_eq!(yes(&mut approval, &company, "eve", 1), VoteCode::NotAMember);
    // Kim's own membership is lent, Lee's through Kim is not.
    let mut security = ask(&[("security", 1)], &[]);
    assert_eq!(yes(&mut security, &company, "eve", 1), VoteCode::Counted);
    assert_eq!(decided_by(&security), "approved by eve for kim");
}

#[test]
fn the_requester_comes_in_neither_as_delegate_nor_through_one() {
    let mut company = company();
    away(&mut company, "lee", "dana");
    away(&mut company, "dana", "kim");
    let mut approval = ask(&[("support", 1)], &[]);
    assert_eq!(yes(&mut approval, &company, "dana", 1), VoteCode::Excluded);
    assert_eq!(yes(&mut approval, &company, "kim", 2), VoteCode::NotAMember);
    assert!(!approval.asks(&person("kim"), &company, at("10:05:00")));
    assert!(approval.is_pending());
}

#[test]
fn one_place_is_lent_once_and_a_delegate_fills_one_place() {
    let mut company = company();
    away(&mut company, "lee", "kim");
    away(&mut company, "lee", "eve");
    // Two delegates of one person are one voice.
    let mut approval = ask(&[("support", 2)], &[]);
    assert_eq!(yes(&mut approval, &company, "kim", 1), VoteCode::Counted);
    let eve = approve(&approval, "eve", 2);
    let answer = put_to(&mut approval, &eve, &company);
    assert_eq!(answer.code, VoteCode::AlreadyVoted);
    assert!(
        answer.message.starts_with("kim for lee already voted"),
        "{}",
        answer.message
    );
    // So are the delegate and the person who came back.
    assert_eq!(
        yes(&mut approval, &company, "lee", 3),
        VoteCode::AlreadyVoted
    );
    assert_eq!(
        yes(&mut approval, &company, "kim", 4),
        VoteCode::AlreadyVoted
    );
    assert!(approval.is_pending());
    // A delegate who is a member too is one person.
    let mut approval = ask(&[("support", 1), ("security", 1)], &[]);
    assert_eq!(yes(&mut approval, &company, "kim", 1), VoteCode::Counted);
    assert_eq!(
        yes(&mut approval, &company, "kim", 2),
        VoteCode::AlreadyVoted
    );
    assert!(approval.is_pending());
    assert_eq!(yes(&mut approval, &company, "sam", 3), VoteCode::Counted);
    assert_eq!(
        decided_by(&approval),
        "approved by kim (or for lee) and sam"
    );
}

#[test]
fn who_comes_back_votes_and_the_delegate_keeps_only_their_own_place() {
    let mut company = company();
    away(&mut company, "lee", "kim");
    let mut approval = ask(&[("support", 2), ("security", 1)], &[]);
    assert_eq!(yes(&mut approval, &company, "kim", 1), VoteCode::Counted);
    assert_eq!(yes(&mut approval, &company, "lee", 2), VoteCode::Counted);
    // Kim sits in security now; with Lee in support one of support is missing.
    assert!(approval.is_pending());
    assert_eq!(yes(&mut approval, &company, "sam", 3), VoteCode::Counted);
    assert_eq!(approval.state(), ApprovalState::Approved);
    // Whoever could only have voted for somebody who has voted is told so.
    let mut approval = ask(&[("support", 2)], &[]);
    assert_eq!(yes(&mut approval, &company, "lee", 1), VoteCode::Counted);
    let kim = approve(&approval, "kim", 2);
    let answer = put_to(&mut approval, &kim, &company);
    assert_eq!(answer.code, VoteCode::AlreadyVoted);
    assert!(
        answer.message.starts_with("lee already voted"),
        "{}",
        answer.message
    );
}

#[test]
fn of_several_people_the_one_whose_place_is_empty_is_stood_in_for() {
    let mut company = company();
    away(&mut company, "lee", "eve");
    let security = ["security".parse().unwrap()].into();
    lend(
        &mut company,
        "sam",
        "eve",
        security,
        at("10:00:00"),
        at("11:00:00"),
    );
    let support = company.teams.get_mut(&"support".parse().unwrap()).unwrap();
    support.insert(person("pat"));
    let mut approval = ask(&[("support", 1), ("security", 1)], &[]);
    assert_eq!(yes(&mut approval, &company, "pat", 1), VoteCode::Counted);
    assert_eq!(yes(&mut approval, &company, "eve", 2), VoteCode::Counted);
    assert_eq!(decided_by(&approval), "approved by pat and eve for sam");
}

#[test]
fn the_next_team_stands_in_from_its_time_on_and_only_for_whom_policy_says() {
    let steps: &[(u64, &str, &[&str])] = &[(600, "heads", &["support"])];
    let mut company = company();
    company.teams.insert(
        "heads".parse().unwrap(),
        ["hana", "hugo"].map(person).into(),
    );
    for (time, code) in [
        ("10:10:00.999999", VoteCode::NotAMember),
        ("10:10:01", VoteCode::Counted),
    ] {
        let mut approval = ask(&[("support", 1)], steps);
        let mut vote = approve(&approval, "hana", 1);
        vote.at = at(time);
        let answer = put_to(&mut approval, &vote, &company);
        assert_eq!(answer.code, code, "{time}");
        if code == VoteCode::NotAMember {
            assert!(
                answer
                    .message
                    .contains("is asked from 2026-11-22T10:10:01Z"),
                "{}",
                answer.message
            );
        }
    }
    // As many people as ever, and nobody for a team that does not escalate.
    let mut approval = ask(&[("support", 1), ("security", 1)], steps);
    for (who, seq) in [("hana", 1), ("hugo", 2)] {
        let mut vote = approve(&approval, who, seq);
        vote.at = at("10:20:00");
        assert_eq!(
            put_to(&mut approval, &vote, &company).code,
            VoteCode::Counted
        );
        assert!(approval.is_pending(), "{who}");
    }
    let mut kim = approve(&approval, "kim", 3);
    kim.at = at("10:21:00");
    put_to(&mut approval, &kim, &company);
    assert_eq!(approval.state(), ApprovalState::Approved);
    // One of the next team who asked for it is still left out.
    let heads = company.teams.get_mut(&"heads".parse().unwrap()).unwrap();
    heads.insert(person("dana"));
    let mut approval = ask(&[("security", 1)], &[(600, "heads", &["security"])]);
    let mut dana = approve(&approval, "dana", 1);
    dana.at = at("10:20:00");
    assert_eq!(
        put_to(&mut approval, &dana, &company).code,
        VoteCode::Excluded
    );
}

#[test]
fn a_stand_in_and_an_escalation_hold_when_it_is_judged_again() {
    let mut company = company();
    away(&mut company, "lee", "kim");
    let support = ["support".parse().unwrap()].into();
    lend(
        &mut company,
        "lee",
        "eve",
        support,
        at("10:00:00"),
        at("10:01:00"),
    );
    company
        .teams
        .insert("heads".parse().unwrap(), ["hana"].map(person).into());
    let again = |approval: &Approval, company: &Company| {
        let item = approval.items()[0].checked();
        satisfies(&approval.resolved().unwrap(), approval.ask(), item, company).is_ok()
    };
    let mut approval = ask(&[("support", 1)], &[]);
    yes(&mut approval, &company, "kim", 1);
    assert!(again(&approval, &company));
    let mut left = company.clone();
    left.teams
        .get_mut(&"support".parse().unwrap())
        .unwrap()
        .remove(&person("lee"));
    assert!(!again(&approval, &left), "Lee no longer speaks for it");
    left = company.clone();
    left.away.clear();
    assert!(
        !again(&approval, &left),
        "the delegation is not known any more"
    );
    let mut approval = ask(&[("support", 1)], &[(60, "heads", &["support"])]);
    yes(&mut approval, &company, "hana", 1);
    assert!(again(&approval, &company));
    let mut at_once = ask(&[("support", 1)], &[(60, "heads", &["support"])]);
    let mut vote = approve(&at_once, "hana", 1);
    vote.at = at("10:01:01");
    put_to(&mut at_once, &vote, &company);
    assert!(again(&at_once, &company), "at the very moment of the step");
    company
        .teams
        .get_mut(&"heads".parse().unwrap())
        .unwrap()
        .clear();
    assert!(!again(&approval, &company));
}

proptest! {
    /// Whoever votes, for whomever: an approval has as many distinct people as it asks, none
    /// left out is among them or stood in for, and no voice counts twice.
    #[test]
    fn stand_ins_never_make_up_for_people(
        votes in proptest::collection::vec(0_usize..6, 0..12),
        lent in proptest::collection::vec((0_usize..6, 0_usize..6), 0..8),
        quorum in 1_u32..3,
    ) {
        const PEOPLE: [&str; 6] = ["lee", "sam", "kim", "dana", "eve", "hana"];
        let mut company = company();
        company.teams.insert("heads".parse().unwrap(), ["hana"].map(person).into());
        for (who, delegate) in lent {
            if who != delegate {
                away(&mut company, PEOPLE[who], PEOPLE[delegate]);
            }
        }
        let steps: &[(u64, &str, &[&str])] = &[(60, "heads", &["support"])];
        let mut approval = ask(&[("support", quorum), ("security", 1)], steps);
        for (seq, who) in votes.into_iter().enumerate() {
            yes(&mut approval, &company, PEOPLE[who], seq as u64);
        }
        let votes = approval.votes();
        let voters: BTreeSet<_> = votes.iter().map(|vote| &vote.approver).collect();
        prop_assert_eq!(voters.len(), votes.len());
        prop_assert!(!voters.contains(&person("dana")));
        let mut behalf: Vec<_> = votes.iter().filter_map(|vote| vote.on_behalf_of.as_ref()).collect();
        prop_assert!(behalf.iter().all(|who| **who != person("dana")));
        let all = behalf.len();
        behalf.sort();
        behalf.dedup();
        prop_assert_eq!(behalf.len(), all);
        if approval.state() == ApprovalState::Approved {
            prop_assert!(votes.len() > quorum as usize);
        }
    }
}
