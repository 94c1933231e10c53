//! The state machine, step by step and at random.

use proptest::prelude::*;

use super::*;

const OK: CallStatus = CallStatus::Ok;
const ERROR: CallStatus = CallStatus::Error;
const LIMITED: CallStatus = CallStatus::RateLimited;

fn call(cooling: &mut Cooling, status: CallStatus, at_ms: u64) -> Option<Change> {
    cooling.observe(0, ("p", "m"), status, at_ms, at_ms)
}

/// The state after these calls, a second apart; the last one's change.
fn after(calls: &[CallStatus]) -> (Cooling, Option<Change>) {
    let mut cooling = Cooling::new(1);
    let mut last = None;
    for (at, status) in calls.iter().enumerate() {
        last = call(&mut cooling, *status, at as u64 * 1000);
    }
    (cooling, last)
}

#[test]
fn half_of_five_calls_or_a_burst_of_rate_limits_cools() {
    for (calls, reason) in [
        (&[ERROR, ERROR, ERROR, ERROR][..], None),
        (
            &[OK, OK, ERROR, ERROR, ERROR],
            Some("3 of 5 calls within a minute failed"),
        ),
        (&[OK, OK, OK, ERROR, ERROR], None),
        (
            &[OK, OK, OK, ERROR, ERROR, CallStatus::Timeout],
            Some("3 of 6 calls within a minute failed"),
        ),
        (&[LIMITED, LIMITED], None),
        (
            &[LIMITED, LIMITED, LIMITED],
            Some("3 of 3 calls within a minute were rate limited"),
        ),
    ] {
        let (cooling, change) = after(calls);
        let found = change.and_then(|change| change.state).map(|state| state.reason);
        assert_eq!(found.as_deref(), reason, "{calls:?}");
        let now = (calls.len() as u64 - 1) * 1000;
        let expected = if reason.is_some() {
            Health::Cooled(now + 30_000)
        } else {
            Health::Well
        };
        assert_eq!(cooling.health(0, now), expected);
    }
}

#[test]
fn few_rate_limits_among_many_good_calls_do_not_cool() {
    let mut cooling = Cooling::new(1);
    for at in 0..100 {
        assert_eq!(call(&mut cooling, OK, at), None);
    }
    for at in 100..109 {
        assert_eq!(call(&mut cooling, LIMITED, at), None, "{at}");
    }
}

#[test]
fn calls_older_than_the_window_are_not_looked_at() {
    let mut cooling = Cooling::new(1);
    for at in 0..4 {
        assert_eq!(call(&mut cooling, ERROR, at), None);
    }
    assert_eq!(
        call(&mut cooling, ERROR, WINDOW_MS + 4),
        None,
        "the others are too old"
    );
    let stale = cooling.observe(0, ("p", "m"), ERROR, 5, WINDOW_MS + 6);
    assert_eq!(stale, None, "it was stored too long ago");
}

#[test]
fn one_probe_at_a_time_and_its_result_decides() {
    let (mut cooling, change) = after(&[LIMITED, LIMITED, LIMITED]);
    cooling.set(0, change.expect("cooled").state, 7);
    let until = 32_000;
    assert_eq!(cooling.health(0, until - 1), Health::Cooled(until));
    assert_eq!(cooling.probe(0, until - 1), None);
    assert_eq!(cooling.health(0, until), Health::Probe);
    let probe = cooling.probe(0, until).expect("due");
    assert_eq!(probe.revision, 7);
    cooling.set(0, probe.state, 8);
    assert_eq!(
        cooling.health(0, until + 1),
        Health::Cooled(until + PROBE_WAIT_MS)
    );
    assert_eq!(cooling.probe(0, until + 1), None, "it was given away");
    assert_eq!(
        call(&mut cooling, OK, until - 1),
        None,
        "a call from before the probe"
    );
    let back = call(&mut cooling, OK, until + 2).expect("returns");
    assert_eq!((back.state, back.revision), (None, 8));
    assert_eq!(cooling.health(0, until + 3), Health::Well);
}

#[test]
fn failed_probes_double_the_time_up_to_ten_minutes() {
    let (mut cooling, change) = after(&[LIMITED, LIMITED, LIMITED]);
    let mut state = change.and_then(|change| change.state).expect("cooled");
    let mut periods = vec![state.period_seconds];
    for _ in 0..6 {
        let change = call(&mut cooling, ERROR, state.until_ms).expect("cooled again");
        state = change.state.expect("cooled");
        periods.push(state.period_seconds);
    }
    assert_eq!(periods, [30, 60, 120, 240, 480, 600, 600]);
}

#[test]
fn a_silent_probe_is_given_to_somebody_else() {
    let (mut cooling, _) = after(&[LIMITED, LIMITED, LIMITED]);
    let probe = cooling.probe(0, 40_000).expect("due");
    cooling.set(0, probe.state, 1);
    assert_eq!(
        cooling.health(0, 40_000 + PROBE_WAIT_MS - 1),
        Health::Cooled(40_000 + PROBE_WAIT_MS)
    );
    assert!(cooling.probe(0, 40_000 + PROBE_WAIT_MS).is_some());
}

proptest! {
    /// Whatever happens: never cooled for longer than ten minutes and a probe, bounded memory, and calls that
    /// all succeed never cool.
    #[test]
    fn bounded_and_fair(
        calls in proptest::collection::vec((proptest::sample::select(CallStatus::ALL), 0_u64..20_000), 0..600),
    ) {
        let (mut cooling, mut now) = (Cooling::new(1), 1_000_000);
        let all_ok = calls.iter().all(|(status, _)| *status == OK);
        for (status, pause) in calls {
            now += pause;
            let before = cooling.health(0, now);
            let change = call(&mut cooling, status, now);
            match cooling.health(0, now) {
                Health::Cooled(until) => prop_assert!(until <= now + 600_000),
                Health::Probe => prop_assert_eq!(before, Health::Probe),
                Health::Well => {}
            }
            if let Some(change) = change {
                prop_assert_eq!(change.state.is_none(), before == Health::Probe && status == OK);
                prop_assert!(change.state.is_none() || !all_ok);
            }
            prop_assert!(cooling.slots[0].calls.len() <= OUTCOMES_MAX);
        }
    }
}
