//! How many rows a constant of the detector spans. Its constants were found on series with a row every five minutes; a
//! series with more rows than that takes more of them for the same time. One with fewer keeps the number: a median of
//! five rows is no median, however long they took.

/// The distance of rows for which the constants are written down, in milliseconds.
const HOME: f64 = 300_000.0;
/// More rows than this for one of the home cadence are not kept: a series that is told every second is then judged by a
/// shorter past, at the memory of one that is told every fifteen.
const MOST: f64 = 20.0;

/// The constants of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cadence {
    /// The distance of its rows, in milliseconds.
    pub(crate) step_ms: u32,
    scale: f64,
    /// What is left of a half-life after one row: of the memory for records, and of fatigue.
    records: f64,
    fatigue: f64,
}

impl Cadence {
    pub(crate) fn of(step_ms: i64) -> Self {
        let step_ms = u32::try_from(step_ms.max(1)).unwrap_or(u32::MAX);
        let scale = (HOME / f64::from(step_ms)).clamp(1.0, MOST);
        let kept = |half_life: f64| (-1.0 / (half_life * scale)).exp2();
        Cadence { step_ms, scale, records: 1.0 - kept(10_000.0), fatigue: kept(3_000.0) }
    }

    /// So many rows of the home cadence, in rows of this one.
    pub(crate) fn rows(&self, rows: u32) -> u32 {
        (f64::from(rows) * self.scale).round() as u32
    }

    /// So much time in rows, at least one.
    pub(crate) fn rows_in(&self, milliseconds: i64) -> u32 {
        u32::try_from(milliseconds / i64::from(self.step_ms)).unwrap_or(u32::MAX).max(1)
    }

    /// The weight of one row, given its weight at the home cadence.
    pub(crate) fn weight(&self, weight: f64) -> f64 {
        weight / self.scale
    }

    /// How far the bounds of a record come back in one row.
    pub(crate) fn forgetting(&self) -> f64 {
        self.records
    }

    /// What is left of fatigue after one row.
    pub(crate) fn recovery(&self) -> f64 {
        self.fatigue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_for_the_same_time_at_every_finer_cadence_and_for_the_same_number_at_a_coarser_one() {
        for (step_ms, sixty) in
            [(300_000, 60), (30_000, 600), (15_000, 1_200), (1_000, 1_200), (3_600_000, 60), (0, 1_200)]
        {
            assert_eq!(Cadence::of(step_ms).rows(60), sixty, "{step_ms} ms");
        }
        let (home, fine) = (Cadence::of(300_000), Cadence::of(30_000));
        assert!((home.recovery().powi(3_000) - 0.5).abs() < 1e-9);
        assert!((fine.recovery().powi(30_000) - 0.5).abs() < 1e-9);
        assert_eq!((home.rows_in(3_600_000), fine.rows_in(3_600_000), fine.rows_in(1)), (12, 120, 1));
    }
}
