//! The median of the last so many values: a ring of them in order of time, and the same in order of size.

use std::collections::VecDeque;

use crate::bytes::{Reader, Writer};
use crate::cadence::Cadence;

/// Rows of the home cadence.
const WINDOW: u32 = 60;

/// The last values of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Median {
    latest: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Median {
    /// The median with this value among the last ones.
    pub(crate) fn push(&mut self, value: f64, cadence: &Cadence) -> f64 {
        while self.latest.len() >= cadence.rows(WINDOW) as usize {
            let Some(oldest) = self.latest.pop_front() else { break };
            self.sorted.remove(self.place(oldest).min(self.sorted.len().saturating_sub(1)));
        }
        self.latest.push_back(value);
        self.sorted.insert(self.place(value), value);
        self.middle()
    }

    fn place(&self, value: f64) -> usize {
        self.sorted.partition_point(|known| known.total_cmp(&value).is_lt())
    }

    fn middle(&self) -> f64 {
        let at = |index: usize| self.sorted.get(index).copied().unwrap_or_default();
        let half = self.sorted.len() / 2;
        if self.sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.count(self.latest.len());
        self.latest.iter().for_each(|value| out.f64(*value));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let latest: VecDeque<f64> = (0..from.count()?).map(|_| from.f64()).collect::<Option<_>>()?;
        let mut sorted: Vec<f64> = latest.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Median { latest, sorted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_middle_of_the_last_sixty() {
        let cadence = Cadence::of(300_000);
        let mut median = Median::default();
        assert_eq!([5.0, 1.0, 3.0, 9.0].map(|value| median.push(value, &cadence)), [5.0, 3.0, 3.0, 4.0]);
        let values: Vec<f64> = (0..500).map(|row| f64::from(row * 7_919 % 1_000)).collect();
        let mut median = Median::default();
        for (row, value) in values.iter().enumerate() {
            let mut last: Vec<f64> = values[row.saturating_sub(59)..=row].to_vec();
            last.sort_by(f64::total_cmp);
            let middle = (last[(last.len() - 1) / 2] + last[last.len() / 2]) / 2.0;
            assert_eq!(median.push(*value, &cadence), middle, "row {row}");
        }
        assert_eq!((median.latest.len(), median.sorted.len()), (60, 60));
    }
}
