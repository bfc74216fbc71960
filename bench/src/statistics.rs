//! Medians and quartiles, and ratios between servers by round.

use serde::Serialize;

/// Five numbers of a sample.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Spread {
    /// First quartile.
    pub q1: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub q3: f64,
    /// Sample size.
    pub n: usize,
}

/// The spread of a sample. An empty one has none.
pub fn spread(sample: &[f64]) -> Option<Spread> {
    let at = |q| quantile(sample, q);
    Some(Spread { q1: at(0.25)?, median: at(0.5)?, q3: at(0.75)?, n: sample.len() })
}

/// Quantile by linear interpolation between neighbours.
pub fn quantile(sample: &[f64], q: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = sample.iter().copied().filter(|x| x.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = q * last as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

/// The spread of the ratios `ours / theirs` of the same rounds.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    let by_round: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    spread(&by_round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_interpolate() {
        let spread = spread(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.q1, spread.median, spread.q3, spread.n), (1.75, 2.5, 3.25, 4));
        assert_eq!(super::spread(&[]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        assert_eq!(ratios(&[1.0, 10.0], &[2.0, 20.0]).unwrap().median, 0.5);
    }
}
