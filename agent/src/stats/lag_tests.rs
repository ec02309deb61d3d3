//! What the lag states prove, as tables and properties.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::lag::{Lag, LagConfig, LagReport, LagState};
use super::report::{TableLag, Watermark};

const WINDOW_MS: i64 = 30_000;
const STALL_MS: i64 = 60_000;

fn config() -> LagConfig {
    LagConfig { proof_window: Duration::from_millis(30_000), stalled_after: Duration::from_millis(60_000) }
}

/// What a test tells the lag; times in seconds after the start (at 1,000,000 s), stamps likewise.
#[derive(Debug, Clone, Copy)]
enum Tell {
    Assign(&'static str, i32),
    Revoke(&'static str, i32),
    End(&'static str, i32, i64),
    Next(&'static str, i32, i64),
    Beat(&'static str, i64),
    Event(&'static str, i32, i64),
}
use Tell::{Assign, Beat, End, Event, Next, Revoke};

const EPOCH: i64 = 1_000_000_000;

fn at(second: i64) -> i64 {
    EPOCH + second * 1_000
}

fn tell(lag: &mut Lag, second: i64, what: Tell) {
    let topic = |name: &str| Arc::<str>::from(name);
    match what {
        Assign(name, partition) => lag.assigned(&[(topic(name), partition)]),
        Revoke(name, partition) => lag.revoked(&[(topic(name), partition)]),
        End(name, partition, end) => lag.end_offset(&topic(name), partition, end, at(second)),
        Next(name, partition, next) => lag.frontier(&topic(name), partition, next, at(second)),
        Beat(name, stamp) => lag.heartbeat(&topic(name), at(stamp), at(second)),
        Event(name, partition, stamp) => lag.applied(
            &[TableLag {
                topic: topic(name),
                source_table: topic(name),
                target_table: topic("target"),
                newest_source_ts_ms: at(stamp),
            }],
            &[Watermark { topic: topic(name), partition, newest_source_ts_ms: at(stamp) }],
            at(second),
        ),
    }
}

fn after(steps: &[(i64, Tell)], now: i64) -> LagReport {
    let mut lag = Lag::new(config());
    for (second, what) in steps {
        tell(&mut lag, *second, *what);
    }
    lag.report(at(now))
}

const T: &str = "shop.public.orders";
const HB: &str = "__debezium-heartbeat.shop";

#[test]
fn each_state_is_what_was_proven_and_nothing_more() {
    use LagState::{Behind, CaughtUp, Stalled, Unknown};
    // (what, told, asked at, state, doubt, messages, time lag in seconds)
    type Case = (&'static str, Vec<(i64, Tell)>, i64, LagState, &'static str, Option<u64>, Option<i64>);
    let idle = vec![(0, Assign(T, 0)), (0, Next(T, 0, 10)), (1, Beat(HB, 1)), (2, End(T, 0, 10))];
    let with = |more: &[(i64, Tell)]| [idle.as_slice(), more].concat();
    let cases: Vec<Case> = vec![
        ("nothing is assigned", vec![], 0, Unknown, "no_partitions", None, None),
        ("no end was seen", vec![(0, Assign(T, 0)), (0, Next(T, 0, 10))], 1, Unknown, "no_end_offset", None, None),
        ("no frontier is known", vec![(0, Assign(T, 0)), (0, End(T, 0, 10))], 1, Unknown, "no_frontier", None, None),
        (
            "idle without any sign of life is not zero",
            vec![(0, Assign(T, 0)), (0, Next(T, 0, 10)), (1, End(T, 0, 10))],
            2,
            Unknown,
            "no_sign_of_life",
            Some(0),
            None,
        ),
        ("idle with a live heartbeat", idle.clone(), 3, CaughtUp, "", Some(0), Some(0)),
        ("the proof holds to the end of the window", idle.clone(), 31, CaughtUp, "", Some(0), Some(0)),
        (
            "and not longer: it is as old as its oldest half",
            idle.clone(),
            32,
            Unknown,
            "sign_of_life_old",
            Some(0),
            Some(31),
        ),
        (
            "the source beats, but the broker does not answer",
            with(&[(20, Beat(HB, 20)), (30, Beat(HB, 30)), (40, Beat(HB, 40))]),
            40,
            Unknown,
            "end_offset_old",
            Some(0),
            Some(39),
        ),
        (
            "the broker answers, but the source is silent",
            with(&[(20, End(T, 0, 10)), (40, End(T, 0, 10))]),
            41,
            Unknown,
            "sign_of_life_old",
            Some(0),
            Some(40),
        ),
        (
            "a heartbeat that sat in the queue for an hour proves nothing about now",
            vec![(0, Assign(T, 0)), (0, Next(T, 0, 10)), (3_600, Beat(HB, 0)), (3_601, End(T, 0, 10))],
            3_601,
            Unknown,
            "sign_of_life_old",
            Some(0),
            Some(3_601),
        ),
        (
            "an event is a sign of life as well",
            vec![(0, Assign(T, 0)), (0, Next(T, 0, 10)), (5, Event(T, 0, 4)), (5, Next(T, 0, 11)), (6, End(T, 0, 11))],
            7,
            CaughtUp,
            "",
            Some(0),
            Some(0),
        ),
        (
            "a heartbeat after the end was seen does not make that observation newer",
            vec![(0, Assign(T, 0)), (0, Next(T, 0, 10)), (1, End(T, 0, 10)), (2, Beat(HB, 2))],
            3,
            Unknown,
            "no_sign_of_life",
            Some(0),
            None,
        ),
        (
            "a record arrived that is not durable: behind since it was proven caught up, not since the last event",
            with(&[(10, End(T, 0, 12))]),
            11,
            Behind,
            "",
            Some(2),
            Some(10),
        ),
        (
            "the frontier reaches an end seen earlier, and more has come since",
            with(&[(10, Beat(HB, 9)), (10, End(T, 0, 12)), (20, End(T, 0, 15)), (21, Next(T, 0, 12))]),
            21,
            Behind,
            "",
            Some(3),
            Some(12),
        ),
        ("nothing moved for the limit", with(&[(10, End(T, 0, 12))]), 70, Stalled, "", Some(2), Some(69)),
        (
            "looking at the end does not reset the limit, nor does more work",
            with(&[(10, End(T, 0, 12)), (40, End(T, 0, 12)), (69, End(T, 0, 13))]),
            70,
            Stalled,
            "",
            Some(3),
            Some(69),
        ),
        (
            "where names tell nothing, every connector must be alive",
            vec![
                (0, Assign("database.changes", 0)),
                (0, Next("database.changes", 0, 10)),
                (1, Beat(HB, 1)),
                (1, Beat("hb.crm", -900)),
                (2, End("database.changes", 0, 10)),
            ],
            3,
            Unknown,
            "sign_of_life_old",
            Some(0),
            Some(903),
        ),
        (
            "progress resets the limit",
            with(&[(10, End(T, 0, 12)), (60, Next(T, 0, 11))]),
            119,
            Behind,
            "",
            Some(1),
            Some(118),
        ),
        (
            "the same frontier again is no progress",
            with(&[(10, End(T, 0, 12)), (60, Next(T, 0, 10))]),
            70,
            Stalled,
            "",
            Some(2),
            Some(69),
        ),
        (
            "a stream that was idle for an hour does not stall in the second its first record comes",
            with(&[(3_600, End(T, 0, 11))]),
            3_601,
            Behind,
            "",
            Some(1),
            Some(3_600),
        ),
        (
            "the end went back: the topic was made anew",
            with(&[(10, Beat(HB, 10)), (11, End(T, 0, 3))]),
            12,
            Unknown,
            "end_offset_went_back",
            Some(0),
            Some(11),
        ),
        (
            "and the pipeline began anew there",
            with(&[(10, Beat(HB, 10)), (11, End(T, 0, 3)), (12, Next(T, 0, 0))]),
            12,
            Behind,
            "",
            Some(3),
            None,
        ),
        (
            "the worst partition speaks for all",
            with(&[(2, Assign(T, 1)), (2, Next(T, 1, 5)), (2, End(T, 1, 9))]),
            3,
            Behind,
            "",
            Some(4),
            None,
        ),
        (
            "revoking it leaves the rest",
            with(&[(2, Assign(T, 1)), (2, Next(T, 1, 5)), (2, End(T, 1, 9)), (3, Revoke(T, 1))]),
            3,
            CaughtUp,
            "",
            Some(0),
            Some(0),
        ),
        (
            "the connector of another source proves nothing here",
            vec![
                (0, Assign(T, 0)),
                (0, Next(T, 0, 10)),
                (1, Beat(HB, 1)),
                (1, Beat("hb.crm", -900)),
                (2, End(T, 0, 10)),
                (0, Assign("crm.t", 0)),
                (0, Next("crm.t", 0, 1)),
                (2, End("crm.t", 0, 1)),
            ],
            3,
            Unknown,
            "sign_of_life_old",
            Some(0),
            Some(903),
        ),
        (
            "a heartbeat topic's own backlog is not the pipeline's",
            with(&[(2, Assign(HB, 0)), (2, Next(HB, 0, 1)), (2, End(HB, 0, 99))]),
            3,
            CaughtUp,
            "",
            Some(0),
            Some(0),
        ),
        ("a clock that was set back far proves nothing", idle.clone(), -60, Unknown, "end_offset_old", Some(0), None),
    ];
    for (name, steps, now, state, doubt, messages, lag) in cases {
        let report = after(&steps, now);
        assert_eq!(report.state, state, "{name}: {report:#?}");
        assert_eq!(report.doubts.iter().copied().collect::<Vec<_>>().join(","), doubt, "{name}");
        assert_eq!(report.messages, messages, "{name}");
        if now > 0 {
            assert_eq!(report.time_lag_ms, lag.map(|seconds| seconds * 1_000), "{name}: {report:#?}");
        }
    }
}

#[test]
fn a_source_whose_clock_is_ahead_is_skew_and_neither_negative_nor_hidden_lag() {
    // The source is 100 s ahead: the record it wrote at (its) 101 arrives at (our) 3.
    let steps =
        [(0, Assign(T, 0)), (0, Next(T, 0, 10)), (3, Event(T, 0, 101)), (3, Next(T, 0, 11)), (4, End(T, 0, 12))];
    let report = after(&steps, 5);
    assert_eq!(report.clock_skew_ms, 98_000);
    assert_eq!(report.state, LagState::Behind);
    assert_eq!(report.time_lag_ms, Some(2_000), "5 - (101 - 98)");
    let table = report.tables.first().unwrap();
    assert_eq!(table.time_lag_ms, 2_000);
    assert_eq!(table.newest_source_ts_ms, at(101), "as the source wrote it");
    let at_once = after(&steps, 3);
    assert_eq!(at_once.time_lag_ms, Some(1), "unproven is never zero");
}

#[test]
fn the_age_of_the_proof_is_that_of_the_oldest_partition_and_there_is_none_before_all_are_proven() {
    let steps = [(0, Assign(T, 0)), (0, Assign(T, 1)), (0, Next(T, 0, 1)), (0, Next(T, 1, 1)), (4, Beat(HB, 4))];
    assert_eq!(after(&steps, 7).proof_age_ms, None);
    let one = [steps.as_slice(), &[(5, End(T, 0, 1))]].concat();
    assert_eq!(after(&one, 7).proof_age_ms, None);
    let both = [one.as_slice(), &[(6, Beat(HB, 6)), (6, End(T, 1, 1))]].concat();
    assert_eq!(after(&both, 7).proof_age_ms, Some(3_000));
}

#[test]
fn tables_end_with_the_partitions_they_came_from() {
    let steps = [(0, Assign(T, 0)), (0, Assign("shop.b", 0)), (1, Event(T, 0, 1)), (1, Event("shop.b", 0, 1))];
    assert_eq!(after(&steps, 2).tables.len(), 2);
    let revoked = [steps.as_slice(), &[(2, Revoke(T, 0))]].concat();
    let report = after(&revoked, 3);
    assert_eq!(report.tables.iter().map(|table| &*table.source_table).collect::<Vec<_>>(), ["shop.b"]);
    let late = [revoked.as_slice(), &[(3, Event(T, 0, 3))]].concat();
    assert_eq!(after(&late, 3).tables.len(), 1, "a batch that ends after the revocation does not bring it back");
}

fn any_tell() -> impl Strategy<Value = (i64, Tell)> {
    let topic = prop_oneof![3 => Just(T), 1 => Just("crm.t"), 1 => Just(HB)];
    let partition = prop_oneof![4 => Just(0), 1 => Just(1)];
    // Mostly delay, seldom a clock that is ahead.
    let drift = prop_oneof![6 => -10..=0_i64, 2 => -60..=0_i64, 1 => 0..40_i64];
    let what = (topic, partition, 0..4_i64, drift, 0..20_u8).prop_map(|(topic, partition, offset, drift, kind)| {
        match kind {
            0..3 => Assign(topic, partition),
            3 => Revoke(topic, partition),
            4..9 => End(topic, partition, offset),
            9..14 => Next(topic, partition, offset),
            // Stamps are relative to the time they are told at; the runner adds that.
            14..17 => Beat(HB, drift),
            _ => Event(topic, partition, drift),
        }
    });
    (prop_oneof![4 => 0..4_i64, 1 => 0..25_i64], what)
}

/// The model: everything that was told, searched by brute force for a chain that proves a partition caught up.
fn provable(steps: &[(i64, Tell)], topic: &str, partition: i32, now: i64) -> bool {
    let begin = steps
        .iter()
        .rposition(|(_, what)| matches!(what, Revoke(t, p) if *t == topic && *p == partition))
        .map_or(0, |index| index + 1);
    let own = steps.iter().enumerate().skip(begin);
    let Some(next) = own
        .clone()
        .filter_map(|(_, (_, what))| match what {
            Next(t, p, next) if *t == topic && *p == partition => Some(*next),
            _ => None,
        })
        .next_back()
    else {
        return false;
    };
    let Some((index, seen, end)) = own
        .filter_map(|(index, (second, what))| match what {
            End(t, p, end) if *t == topic && *p == partition => Some((index, *second, *end)),
            _ => None,
        })
        .next_back()
    else {
        return false;
    };
    let alive = steps.iter().take(index).any(|(_, what)| match what {
        // A clock is ahead by less than 40 s here; correcting that moves stamps back by as much.
        Beat(_, stamp) | Event(_, _, stamp) => (now - stamp).abs() * 1_000 <= WINDOW_MS + 40_000,
        _ => false,
    });
    end <= next && (now - seen) * 1_000 <= WINDOW_MS && alive
}

#[test]
fn zero_is_never_reported_without_proof() {
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) });
    let seen = RefCell::new(BTreeMap::<LagState, usize>::new());
    let inputs = (proptest::collection::vec(any_tell(), 0..60), prop_oneof![3 => 0..10_i64, 1 => 0..90_i64]);
    runner.run(&inputs, |(raw, wait)| holds(raw, wait, &seen)).unwrap();
    // A property that never meets a state says nothing about it.
    for state in LagState::ALL {
        let met = seen.borrow().get(&state).copied().unwrap_or(0);
        assert!(met >= 50, "{state:?} was met {met} times only");
    }
}

fn holds(raw: Vec<(i64, Tell)>, wait: i64, seen: &RefCell<BTreeMap<LagState, usize>>) -> Result<(), TestCaseError> {
    let mut lag = Lag::new(config());
    let mut now = 0;
    let mut steps = Vec::new();
    for (step, what) in raw {
        now += step;
        let what = match what {
            Beat(topic, drift) => Beat(topic, now + drift),
            Event(topic, partition, drift) => Event(topic, partition, now + drift),
            other => other,
        };
        tell(&mut lag, now, what);
        steps.push((now, what));
    }
    now += wait;
    let report = lag.report(at(now));
    // 1. Zero time lag says caught up, and nothing else does.
    prop_assert_eq!(report.time_lag_ms == Some(0), report.state == LagState::CaughtUp);
    for partition in &report.partitions {
        prop_assert_eq!(partition.time_lag_ms == Some(0), partition.state == LagState::CaughtUp);
        *seen.borrow_mut().entry(partition.state).or_default() += 1;
        prop_assert!(partition.time_lag_ms.is_none_or(|lag| lag >= 0));
        prop_assert_eq!(partition.doubt.is_some(), partition.state == LagState::Unknown);
        // 2. Caught up has a proof in what was told.
        if partition.state == LagState::CaughtUp {
            prop_assert!(provable(&steps, &partition.topic, partition.partition, now), "{:?}", partition);
        }
        // 3. Behind and stalled are proven by an end beyond the frontier.
        if matches!(partition.state, LagState::Behind | LagState::Stalled) {
            prop_assert!(partition.end > partition.next && partition.messages > Some(0));
        }
        if let (Some(messages), Some(end), Some(next)) = (partition.messages, partition.end, partition.next) {
            prop_assert_eq!(i64::try_from(messages).unwrap(), (end - next).max(0));
        }
    }
    for table in &report.tables {
        prop_assert_eq!(table.time_lag_ms == 0, table.state == LagState::CaughtUp);
        prop_assert!(table.time_lag_ms >= 0);
    }
    // 4. The proof is never from the future, and an estimate is finite and not negative.
    prop_assert!(report.proof_age_ms.is_none_or(|age| age >= 0));
    prop_assert!(report.proof_age_ms.is_some() || report.state != LagState::CaughtUp);
    prop_assert!(report.catchup_eta_seconds.is_none_or(|eta| eta.is_finite() && eta >= 0.0));
    prop_assert!(report.clock_skew_ms >= 0);
    // 5. Silence proves nothing new: later, without news, nobody is caught up.
    let later = lag.report(at(now) + WINDOW_MS + 100_000);
    prop_assert!(later.state != LagState::CaughtUp);
    prop_assert!(later.partitions.iter().all(|partition| partition.state != LagState::CaughtUp));
    // 6. What waits for long enough without progress is stalled.
    let stalled = lag.report(at(now) + STALL_MS);
    for partition in &stalled.partitions {
        prop_assert!(partition.state != LagState::Behind);
    }
    Ok(())
}
