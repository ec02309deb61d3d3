//! What becomes of readings, and that packing loses nothing.

use std::time::Duration;

use proptest::prelude::*;

use super::chunk::{pack, unpack};
use super::{Key, Limits, Point, Reading, Recorder, Series, Step, Value};

const LIMITS: Limits = Limits {
    step: Duration::from_secs(10),
    look_back: Duration::from_secs(60),
    fine: Duration::from_secs(20),
    series: 3,
};

fn key(name: &str) -> Key {
    Key { scope: "pipeline/shop".into(), name: name.into(), labels: Vec::new() }
}

fn reading(name: &str, value: Value) -> Reading {
    Reading { key: key(name), value, fine: true }
}

/// Reads once a second, and gives the points that each step made.
fn play(recorder: &mut Recorder, seconds: std::ops::Range<i64>, read: impl Fn(i64) -> Vec<Reading>) -> Vec<Step> {
    seconds.filter_map(|second| recorder.read(read(second), second * 1_000)).collect()
}

fn values(steps: &[Step], name: &str) -> Vec<Option<f64>> {
    let value = |step: &Step| step.points.iter().find(|(of, _)| *of.name == *name).map(|(_, value)| *value);
    steps.iter().map(value).collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn f(number: i64) -> f64 {
    number as f64
}

#[test]
fn a_step_has_the_last_level_the_mean_rate_and_the_share() {
    let mut recorder = Recorder::new(LIMITS, 0);
    let steps = play(&mut recorder, 0..31, |second| {
        vec![
            reading("lag_seconds", Value::Level(f(second))),
            reading("events_per_second", Value::Rate(f(second * 100))),
            reading("error_ratio", Value::Ratio(f(second), f(second * 100))),
        ]
    });
    assert_eq!((steps[1].start_ms, steps[1].end_ms), (10_000, 20_000));
    assert_eq!(values(&steps, "lag_seconds"), [Some(9.0), Some(19.0), Some(29.0)]);
    assert_eq!(values(&steps, "events_per_second"), [Some(100.0), Some(100.0), Some(100.0)]);
    assert_eq!(values(&steps, "error_ratio"), [Some(0.01), Some(0.01), Some(0.01)]);
    let window = recorder.window("pipeline/shop");
    assert_eq!(window.len(), 3);
    assert_eq!(window[2].points[0], Point { at_ms: 0, value: 9.0 });
}

#[test]
fn what_was_not_known_has_no_point_and_a_total_that_began_anew_no_rate() {
    let mut recorder = Recorder::new(LIMITS, 0);
    let steps = play(&mut recorder, 0..51, |second| {
        let total = if second < 25 { second * 10 } else { second };
        let mut readings = vec![reading("events_per_second", Value::Rate(f(total)))];
        if !(10..20).contains(&second) {
            readings.push(reading("lag_seconds", Value::Level(1.0)));
        }
        // Nothing comes in: there is no share of nothing.
        readings.push(reading("error_ratio", Value::Ratio(0.0, 0.0)));
        readings
    });
    assert_eq!(values(&steps, "lag_seconds"), [Some(1.0), None, Some(1.0), Some(1.0), Some(1.0)]);
    assert_eq!(values(&steps, "events_per_second"), [Some(10.0), Some(10.0), None, Some(1.0), Some(1.0)]);
    assert_eq!(values(&steps, "error_ratio"), [None; 5]);
}

#[test]
fn memory_is_bounded_in_time_and_in_series_and_numbers_that_are_none_are_dropped() {
    let mut recorder = Recorder::new(LIMITS, 0);
    play(&mut recorder, 0..200, |second| {
        ["a", "b", "c", "d"].map(|name| reading(name, Value::Level(f(second)))).to_vec()
    });
    assert_eq!((recorder.len(), recorder.refused()), (3, 200));
    let window = recorder.window("pipeline/shop");
    assert_eq!(window[0].points.len(), 6, "{window:?}");
    assert_eq!(recorder.fine("pipeline/shop", 0)[0].points.len(), 21);
    assert_eq!(recorder.fine("pipeline/shop", 198_000)[0].points.len(), 2);
    // What is gone gives its place to another.
    play(&mut recorder, 200..300, |_| vec![reading("a", Value::Level(f64::NAN))]);
    assert_eq!(recorder.scopes(), Vec::<std::sync::Arc<str>>::new());
    assert!(recorder.is_empty());
}

#[test]
fn a_clock_that_jumps_does_no_harm() {
    let mut recorder = Recorder::new(LIMITS, 1_000_000);
    let read = || vec![reading("events_per_second", Value::Rate(1.0))];
    for at_ms in [1_000_000, 1_005_000, 900_000, 0, -5_000, 1_011_000, i64::MAX / 2, 1_020_000] {
        recorder.read(read(), at_ms);
    }
    assert!(recorder.window("pipeline/shop").iter().flat_map(|one| &one.points).all(|point| point.value >= 0.0));
}

#[test]
fn points_of_before_are_looked_back_on() {
    let mut recorder = Recorder::new(LIMITS, 100_000);
    let point = |at_ms| Point { at_ms, value: 1.0 };
    let before = Series { key: key("lag_seconds"), points: vec![point(10_000), point(50_000), point(90_000)] };
    recorder.restore(vec![before], 100_000);
    play(&mut recorder, 100..111, |_| vec![reading("lag_seconds", Value::Level(2.0))]);
    let times: Vec<i64> = recorder.window("pipeline/shop")[0].points.iter().map(|point| point.at_ms).collect();
    assert_eq!(times, [50_000, 90_000, 100_000]);
}

#[test]
fn an_hour_of_steps_is_small_and_damage_is_noticed() {
    let points: Vec<Point> =
        (0..120).map(|n| Point { at_ms: 1_700_000_000_000 + n * 30_000, value: f(n % 7) * 0.25 }).collect();
    let packed = pack(&points).unwrap();
    assert!(packed.len() < 400, "{} bytes", packed.len());
    for cut in 0..packed.len() {
        assert!(unpack(&packed[..cut]).is_err(), "cut to {cut}");
    }
}

proptest! {
    #[test]
    fn packing_loses_nothing(points in proptest::collection::vec((any::<i64>(), any::<f64>()), 0..300)) {
        let points: Vec<Point> = points.into_iter().map(|(at_ms, value)| Point { at_ms, value }).collect();
        let again = unpack(&pack(&points).unwrap()).unwrap();
        let bits = |points: &[Point]| points.iter().map(|one| (one.at_ms, one.value.to_bits())).collect::<Vec<_>>();
        prop_assert_eq!(bits(&again), bits(&points));
    }

    #[test]
    fn whatever_the_bytes_unpacking_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = unpack(&bytes);
    }
}
