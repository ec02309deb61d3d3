//! Asks the rules, scope by scope, and puts what they find into the book.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use whimbrel_monitor::history::Step;
use whimbrel_monitor::incident::{Finding, Severity};

use super::own;
use super::plugins::{RulePlace, window};
use super::shared::Shared;
use crate::plugin::CallError;

/// How long the thread waits for a step before it looks whether it is over.
const LOOK: Duration = Duration::from_millis(250);

/// The rules at work.
pub(super) struct Judge {
    shared: Arc<Shared>,
    rules: Vec<RulePlace>,
}

impl Judge {
    pub(super) const fn new(shared: Arc<Shared>, rules: Vec<RulePlace>) -> Self {
        Self { shared, rules }
    }

    /// Judges steps until it is over.
    pub(super) fn run(mut self, steps: &Receiver<Step>) {
        while !self.shared.is_stopping() {
            if let Ok(step) = steps.recv_timeout(LOOK) {
                self.judge(&step);
            }
        }
    }

    fn judge(&mut self, step: &Step) {
        let scopes = self.shared.recorder().scopes();
        let mut failed: Vec<Finding> = Vec::new();
        for scope in &scopes {
            if self.shared.is_stopping() {
                return;
            }
            let measured = self.shared.recorder().window(scope);
            let window = window(scope, step.start_ms, step.end_ms, &measured);
            for rule in self.rules.iter_mut().filter(|rule| rule.looks_at(scope)) {
                match rule.evaluate(&window) {
                    Ok(findings) => self.shared.board().book.evaluated(&rule.name, scope, findings, step.end_ms),
                    Err(error) => {
                        tracing::warn!(rule = rule.name, scope = &**scope, %error, "rule failed");
                        if !failed.iter().any(|known| known.key == rule.name) {
                            failed.push(rule_failed(&rule.name, scope, &error));
                        }
                    }
                }
            }
        }
        let mut known: Vec<String> = scopes.iter().map(|scope| scope.to_string()).collect();
        self.own(failed, &mut known, step.end_ms);
        let rules: Vec<String> =
            self.rules.iter().map(|rule| rule.name.clone()).chain([own::RULE.to_owned()]).collect();
        self.shared.judged(&rules, &known, step.end_ms);
    }

    /// What the agent sees without a rule: pauses, failures, and its own troubles.
    fn own(&self, failed: Vec<Finding>, scopes: &mut Vec<String>, now_ms: i64) {
        let waiting = self.shared.try_store("read", |store| store.waiting()).unwrap_or_default();
        let steps = own::steps_of_standing(self.shared.step);
        let stands = |scope: &str| {
            let recorder = self.shared.recorder();
            let window = recorder.window(scope);
            let running = window.iter().find(|series| &*series.key.name == "running");
            let newest = running.map(|series| series.points.iter().rev().take(steps));
            newest.is_some_and(|newest| newest.len() >= steps && newest.into_iter().all(|point| point.value < 0.5))
        };
        let seen = own::look(&self.shared.instruments, stands, &waiting, failed);
        let mut board = self.shared.board();
        for (scope, findings) in seen.findings {
            board.book.evaluated(own::RULE, &scope, findings, now_ms);
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        board.seen = seen.phases;
    }
}

fn rule_failed(rule: &str, scope: &str, error: &CallError) -> Finding {
    Finding {
        key: rule.to_owned(),
        kind: "rule_failed".to_owned(),
        severity: Severity::Warning,
        title: format!("rule {rule} fails"),
        detail: format!("about {scope}: {error}"),
        action: "see the agent's log; until it works, nothing it found ends and nothing new is found".to_owned(),
        since_ms: None,
        score: None,
        attributes: Vec::new(),
    }
}
