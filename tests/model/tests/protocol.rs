//! Every interleaving of small worlds: the promises hold, and each safeguard that is taken out
//! breaks one.

use std::io::Write as _;

use countersign_model::{Mutation, Protocol, Scenario, Voter};
use countersign_schemas::events::{Verdict, VoteChoice};
use stateright::{Checker, Expectation, Model as _};

/// States that are looked at in one world, the same one several times: a minute on one core.
const STATES_MAX: usize = 20_000_000;

fn voter(name: &'static str, choice: VoteChoice, saw_it: bool) -> Voter {
    Voter {
        name,
        choice,
        saw_it,
    }
}

/// One ask: a yes and a no race, the agent may withdraw it, and it may expire.
fn votes() -> Scenario {
    Scenario {
        intents: vec![Verdict::Ask],
        quorum: 1,
        voters: vec![
            voter("lee", VoteChoice::Approve, true),
            voter("sam", VoteChoice::Deny, true),
        ],
        withdrawal: false,
        window: false,
        freeze: false,
        ticks: 1,
        faults: 2,
    }
}

/// One ask that needs two: one saw it, one something else, and one is the requester.
fn seen() -> Scenario {
    Scenario {
        quorum: 2,
        voters: vec![
            voter("lee", VoteChoice::Approve, true),
            voter("sam", VoteChoice::Approve, false),
            voter("dana", VoteChoice::Approve, true),
        ],
        faults: 1,
        ..votes()
    }
}

/// One ask that may be approved, withdrawn or expire.
fn withdrawn() -> Scenario {
    Scenario {
        voters: vec![voter("lee", VoteChoice::Approve, true)],
        withdrawal: true,
        ..votes()
    }
}

/// One allowed intent that its agent may withdraw, while an executor claims and runs it.
fn allowed() -> Scenario {
    Scenario {
        intents: vec![Verdict::Allow],
        voters: Vec::new(),
        withdrawal: true,
        faults: 3,
        ..votes()
    }
}

/// One allowed intent, and an operator who may freeze everything and release it.
fn frozen() -> Scenario {
    Scenario {
        withdrawal: false,
        freeze: true,
        faults: 2,
        ..allowed()
    }
}

/// Two asks that race for a window with one use, whose end comes at any time.
fn window() -> Scenario {
    Scenario {
        intents: vec![Verdict::Ask, Verdict::Ask],
        voters: Vec::new(),
        window: true,
        faults: 1,
        ..votes()
    }
}

/// The same, where the agent may withdraw the first, so that its use is given back.
fn given_back() -> Scenario {
    Scenario {
        withdrawal: true,
        ticks: 0,
        faults: 2,
        ..window()
    }
}

/// Says something although the test passes: past the capture of what a test prints.
fn say(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").expect("standard error is open");
}

/// Looks at every state of a world, and says how many there are.
fn looked_through(name: &str, scenario: Scenario) -> impl Checker<Protocol> {
    let protocol = Protocol::new(scenario, None);
    let checker = protocol
        .checker()
        .target_state_count(STATES_MAX)
        .spawn_bfs()
        .join();
    let (all, distinct) = (checker.state_count(), checker.unique_state_count());
    let depth = checker.max_depth();
    say(&format!(
        "model {name}: {all} states, {distinct} distinct, depth {depth}"
    ));
    assert!(all < STATES_MAX, "{name} is too large a world");
    checker
}

fn holds(name: &str, scenario: Scenario) {
    looked_through(name, scenario).assert_properties();
}

/// Finds a run that breaks the promise once the safeguard is out.
fn breaks(scenario: Scenario, mutation: Mutation, promise: &'static str) {
    let protocol = Protocol::new(scenario, Some(mutation));
    let checker = protocol.checker().target_state_count(STATES_MAX);
    let wanted = std::collections::BTreeSet::from([promise]);
    let checker = checker
        .finish_when(stateright::HasDiscoveries::AnyOf(wanted))
        .spawn_bfs()
        .join();
    let found = checker.discovery(promise);
    let steps = found.map(|path| path.into_actions());
    let steps = steps.unwrap_or_else(|| panic!("without {mutation:?} `{promise}` still holds"));
    say(&format!(
        "model without {mutation:?}: `{promise}` breaks after {steps:?}"
    ));
}

#[test]
fn the_promises_hold_when_votes_race() {
    holds("votes", votes());
}

#[test]
fn the_promises_hold_whoever_votes_for_whatever() {
    let checker = looked_through("seen", seen());
    assert!(checker.is_done());
    let promises = checker.model().properties();
    let promises = promises
        .iter()
        .filter(|promise| promise.expectation == Expectation::Always);
    let mut looked_at = 0;
    for promise in promises {
        checker.assert_no_discovery(promise.name);
        looked_at += 1;
    }
    assert_eq!(looked_at, 7, "every promise");
    // Only one of the three saw it and is not the requester, and it takes two.
    checker.assert_no_discovery("something runs");
}

#[test]
fn the_promises_hold_when_an_agent_withdraws() {
    holds("withdrawn", withdrawn());
}

#[test]
fn the_promises_hold_when_an_executor_dies() {
    holds("allowed", allowed());
}

#[test]
fn the_promises_hold_when_an_operator_freezes() {
    holds("frozen", frozen());
}

#[test]
fn without_the_fence_a_freeze_does_not_win() {
    breaks(frozen(), Mutation::NoFence, "freeze wins");
}

#[test]
fn the_promises_hold_when_agents_race_for_a_window() {
    holds("window", window());
}

#[test]
fn a_use_that_is_given_back_is_free_for_another() {
    holds("given back", given_back());
}

#[test]
fn without_its_set_of_uses_a_window_is_exceeded() {
    breaks(
        window(),
        Mutation::WindowWithoutSet,
        "window never exceeded",
    );
}

#[test]
fn without_compare_and_set_in_its_bucket_a_window_is_exceeded() {
    breaks(
        window(),
        Mutation::BucketWithoutCas,
        "window never exceeded",
    );
}

#[test]
fn without_compare_and_set_on_the_chain_there_are_two_decisions() {
    breaks(votes(), Mutation::ChainWithoutCas, "one decision");
}

#[test]
fn without_compare_and_set_in_the_bucket_an_approval_ends_twice() {
    breaks(
        votes(),
        Mutation::BucketWithoutCas,
        "one end of an approval",
    );
}

#[test]
fn a_vote_without_its_digest_approves_what_nobody_saw() {
    breaks(
        seen(),
        Mutation::VoteWithoutDigest,
        "no run without approval",
    );
}

#[test]
fn a_run_without_its_digest_runs_what_nobody_approved() {
    breaks(
        allowed(),
        Mutation::RunWithoutDigest,
        "no run without approval",
    );
}

#[test]
fn a_run_without_its_claim_runs_twice() {
    breaks(allowed(), Mutation::RunWithoutClaim, "one run");
}

#[test]
fn without_the_sweep_an_approved_intent_never_ends() {
    breaks(allowed(), Mutation::NoSweep, "every approved intent ends");
}
