//! Many measurements in a few words of memory: how many, their sum and extremes, and a sample of them for percentiles.

/// Measurements kept of a summary, as in ZooKeeper, of one whose percentiles are told.
const DETAILED_SAMPLES: usize = 4096;
/// And of one of which only the median is told.
const BASIC_SAMPLES: usize = 128;

/// Measurements of one kind. Adding one takes neither a lock nor, once the sample is full, an allocation.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
    detailed: bool,
    /// A uniform sample (Vitter's algorithm R).
    samples: Vec<u32>,
    random: u64,
}

/// A summary as of now.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct SummaryFigures {
    pub count: u64,
    pub sum: u64,
    pub min: u64,
    pub max: u64,
    /// Whether its percentiles are told, and not its median only.
    pub detailed: bool,
    /// The sample, in order.
    pub samples: Vec<u32>,
}

impl Summary {
    /// One whose percentiles are told.
    pub fn detailed() -> Self {
        Summary { detailed: true, ..Summary::default() }
    }

    /// A measurement.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        let sample = u32::try_from(value).unwrap_or(u32::MAX);
        let limit = if self.detailed { DETAILED_SAMPLES } else { BASIC_SAMPLES };
        if self.samples.len() < limit {
            self.samples.push(sample);
            return;
        }
        // Weyl's sequence through a multiplicative mix (as in wyrand) is random enough for a sample.
        self.random = self.random.wrapping_add(0xa076_1d64_78bd_642f);
        let mixed = u128::from(self.random) * u128::from(self.random ^ 0xe703_7ed1_a0b4_28db);
        let random = (mixed >> 64) as u64 ^ mixed as u64;
        if let Ok(at) = usize::try_from(random % self.count)
            && let Some(place) = self.samples.get_mut(at)
        {
            *place = sample;
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Summary { detailed: self.detailed, ..Summary::default() };
    }

    /// As of now.
    pub fn figures(&self) -> SummaryFigures {
        let mut samples = self.samples.clone();
        samples.sort_unstable();
        let Summary { count, sum, min, max, detailed, .. } = *self;
        SummaryFigures { count, sum, min, max, detailed, samples }
    }
}

impl SummaryFigures {
    /// The mean, to four places as ZooKeeper rounds it.
    pub fn avg(&self) -> f64 {
        match self.count {
            0 => 0.0,
            count => (self.sum as f64 / count as f64 * 10_000.0).round() / 10_000.0,
        }
    }

    /// The value below which a part of all lies, between two measurements in proportion; `None` without any.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let (first, last) = (*self.samples.first()?, *self.samples.last()?);
        let position = part * (self.samples.len() + 1) as f64;
        let below = position.floor() as usize;
        if below < 1 {
            return Some(first.into());
        }
        match (self.samples.get(below - 1), self.samples.get(below)) {
            (Some(lower), Some(upper)) => {
                let (lower, upper) = (f64::from(*lower), f64::from(*upper));
                Some(lower + position.fract() * (upper - lower))
            }
            _ => Some(last.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_all_zero() {
        let figures = Summary::detailed().figures();
        assert_eq!((figures.count, figures.sum, figures.min, figures.max, figures.avg()), (0, 0, 0, 0, 0.0));
        assert_eq!(figures.quantile(0.5), None);
    }

    #[test]
    fn extremes_and_means() {
        let mut summary = Summary::default();
        [5, 3, 9].into_iter().for_each(|value| summary.add(value));
        let figures = summary.figures();
        assert_eq!((figures.count, figures.sum, figures.min, figures.max), (3, 17, 3, 9));
        assert_eq!(figures.avg(), 5.6667);
        assert_eq!(figures.quantile(0.5), Some(5.0));
        assert_eq!(figures.quantile(0.999), Some(9.0));
        summary.reset();
        assert_eq!(summary.figures(), Summary::default().figures());
    }

    #[test]
    fn the_sample_is_bounded_and_uniform() {
        let mut summary = Summary::detailed();
        (0..100_000).for_each(|value| summary.add(value));
        let figures = summary.figures();
        assert_eq!(figures.samples.len(), DETAILED_SAMPLES);
        for part in [0.5, 0.95, 0.99] {
            let found = figures.quantile(part).unwrap();
            assert!((found - part * 100_000.0).abs() < 4_000.0, "{part}: {found}");
        }
    }
}
