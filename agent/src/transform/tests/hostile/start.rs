//! Guests that must not even start, of every kind: refused before they run, or stopped while they are started, with a
//! sentence that says what to do.

use std::sync::Arc;
use std::time::Duration;

use super::super::ENGINE;
use crate::plugin::fixture::component_of;
use crate::plugin::fixture::kinds::{Sin, manifest, sinner, text};
use crate::plugin::{
    Cache, Channel, Grants, Kind, Limits, LoadError, Migration, Plugin, Rule, Setup, Transform, TrapCause, World,
};
use crate::transform::View;

fn start(kind: Kind, bytes: &[u8], grants: Grants, config: &str) -> Result<(), LoadError> {
    fn start<W: World>(bytes: &[u8], setup: Setup) -> Result<(), LoadError> {
        Arc::new(Plugin::<W>::load(&ENGINE, &Cache::none(), bytes, setup)?).start().map(drop)
    }
    let limits = Limits { call: Duration::from_millis(80), memory: 32 << 20, ..Limits::default() };
    let setup = Setup { limits, grants, ..Setup::new("hostile", config) };
    match kind {
        Kind::Transform => start::<Transform<View>>(bytes, setup),
        Kind::Rule => start::<Rule>(bytes, setup),
        Kind::Channel => start::<Channel>(bytes, setup),
        Kind::Migration => start::<Migration>(bytes, setup),
    }
}

fn granted() -> Grants {
    Grants { state: Some(1 << 20), clock: true, ..Grants::default() }
}

#[test]
fn a_guest_that_sins_while_it_is_started_is_stopped_and_its_sin_named() {
    let extra = |extra: &str| Sin { extra: extra.to_owned(), ..Sin::default() };
    let configure = |configure: &str| Sin { configure: configure.to_owned(), ..Sin::default() };
    for (name, sin, cause) in [
        ("spins at the start", extra("(func $spin (loop $l (br $l))) (start $spin)"), TrapCause::Deadline),
        ("traps at the start", extra("(func $trap (unreachable)) (start $trap)"), TrapCause::Fault),
        ("spins in configure", configure("(loop $l (br $l))"), TrapCause::Deadline),
        ("traps in configure", configure("(unreachable)"), TrapCause::Fault),
        ("has too much memory from the beginning", extra("(memory $more 600)"), TrapCause::Memory),
        ("has too large a table from the beginning", extra("(table $more 200000 funcref)"), TrapCause::Memory),
    ] {
        for kind in Kind::ALL {
            let error = start(kind, &sinner(kind, &sin), granted(), "{}").unwrap_err();
            let LoadError::Start { plugin, trap } = &error else { panic!("{kind} {name}: {error:?}") };
            assert_eq!((plugin.as_str(), trap.cause), ("hostile", cause), "{kind} {name}: {error}");
            assert!(error.to_string().contains(cause.as_str()), "{kind} {name}: {error}");
        }
    }
}

#[test]
fn a_file_that_cannot_serve_is_refused_with_the_sentence_that_mends_it() {
    for kind in Kind::ALL {
        let honest = sinner(kind, &Sin::default());
        start(kind, &honest, granted(), "{}").unwrap();
        let says = |what: &str, bytes: &[u8], grants: Grants, sentence: &str| {
            let error = start(kind, bytes, grants, "{}").expect_err(what).to_string();
            assert!(error.contains(sentence), "{kind} {what}: {error}");
        };
        for cut in [9, honest.len() / 3, honest.len() / 2, honest.len() - 2] {
            let error = start(kind, &honest[..cut], granted(), "{}").unwrap_err().to_string();
            assert!(error.contains("build it") || error.contains("again"), "{kind} cut at {cut}: {error}");
        }
        says("nothing granted", &honest, Grants::default(), "not granted; add `");
        let with = |from: &str, to: &str| {
            let changed = manifest(kind).replace(from, to);
            component_of(kind.world(), &text(kind, &Sin::default()), &[&changed])
        };
        says("older", &with(r#""wit":"0.1.0""#, r#""wit":"0.0.9""#), granted(), "build it with the current");
        says("newer", &with(r#""wit":"0.1.0""#, r#""wit":"0.1.7""#), granted(), "update the agent");
        says("nonsense for a version", &with(r#""wit":"0.1.0""#, r#""wit":"x""#), granted(), "update the agent");
        let other = Kind::ALL.into_iter().find(|other| *other != kind).unwrap();
        says("of another kind", &sinner(other, &Sin::default()), granted(), "move it in the configuration");
        let lies = with(&format!(r#""kind":"{kind}""#), &format!(r#""kind":"{other}""#));
        says("lying about its kind", &lies, granted(), "move it in the configuration");
        let error = start(other, &lies, granted(), "{}").unwrap_err();
        assert!(matches!(error, LoadError::Refused(_) | LoadError::Link { .. }), "{kind} as {other}: {error}");
    }
}
