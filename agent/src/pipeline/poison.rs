//! The poison budget: when dead letters mean that something is wrong with us rather than with a few rows.
//!
//! Pure. A bad deployment must not drain a topic into dead letters, so the pipeline asks before it commits any.

use std::collections::VecDeque;

use super::config::PoisonConfig;

/// Counts outcomes and says when to stop.
#[derive(Debug, Clone)]
pub struct PoisonBudget {
    config: PoisonConfig,
    seen: u64,
    consecutive: u64,
    /// Sequence numbers of the dead letters within the window.
    dead: VecDeque<u64>,
}

impl PoisonBudget {
    /// A fresh budget.
    #[must_use]
    pub const fn new(config: PoisonConfig) -> Self {
        Self { config, seen: 0, consecutive: 0, dead: VecDeque::new() }
    }

    /// `count` records in a row went well.
    pub fn good(&mut self, count: u64) {
        if count > 0 {
            self.seen += count;
            self.consecutive = 0;
            self.forget();
        }
    }

    /// A record became a dead letter.
    pub fn bad(&mut self) {
        self.seen += 1;
        self.consecutive += 1;
        self.dead.push_back(self.seen);
        self.forget();
    }

    /// Why the pipeline must pause, if it must.
    #[must_use]
    pub fn exceeded(&self) -> Option<String> {
        if let Some(limit) = self.config.max_consecutive
            && self.consecutive >= limit
        {
            return Some(format!("{} dead letters in a row (limit {limit})", self.consecutive));
        }
        let in_window = self.dead.len() as u64;
        // The share is taken of a whole window, so that the first bad record of a stream does not count as 100 %.
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let share = in_window as f64 / self.config.window as f64;
        match self.config.max_ratio {
            Some(limit) if share > limit => {
                Some(format!("{in_window} dead letters in the last {} records (limit {limit})", self.config.window))
            }
            _ => None,
        }
    }

    fn forget(&mut self) {
        let oldest = self.seen.saturating_sub(self.config.window);
        while self.dead.front().is_some_and(|at| *at <= oldest) {
            self.dead.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> PoisonBudget {
        PoisonBudget::new(PoisonConfig { max_consecutive: Some(5), max_ratio: Some(0.2), window: 100 })
    }

    #[test]
    fn a_run_of_dead_letters_exceeds_it() {
        let mut b = budget();
        for _ in 0..4 {
            b.bad();
        }
        assert_eq!(b.exceeded(), None);
        b.bad();
        assert!(b.exceeded().unwrap().contains("5 dead letters in a row"));
        b.good(1);
        assert_eq!(b.exceeded(), None);
    }

    #[test]
    fn a_share_of_the_window_exceeds_it_and_is_forgotten() {
        let mut b = budget();
        for _ in 0..21 {
            b.good(2);
            b.bad();
        }
        assert!(b.exceeded().unwrap().contains("21 dead letters in the last 100"));
        b.good(100);
        assert_eq!(b.exceeded(), None);
    }

    #[test]
    fn limits_can_be_turned_off() {
        let mut b = PoisonBudget::new(PoisonConfig { max_consecutive: None, max_ratio: None, window: 10 });
        for _ in 0..1000 {
            b.bad();
        }
        assert_eq!(b.exceeded(), None);
    }
}
