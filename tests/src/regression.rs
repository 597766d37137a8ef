//! What became worse between two builds by more than the machine's noise.
//!
//! Answers: is a difference between two builds theirs, or would the same build differ as much from itself? Invariant: pure;
//! the noise is estimated from the repeats alone, and a figure counts as worse only if all of its confidence interval is.
//!
//! Times and sizes are compared as ratios: the differences of their logarithms are what is averaged. The interval is
//! Student's, one-sided, because only "worse" is a verdict. Many figures at once would give false alarms, so the risk that is
//! allowed for is shared among them ([`Risk::shared`], after Bonferroni).

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Which way a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Times, sizes.
    Lower,
    /// Rates, shares.
    Higher,
}

/// How often a figure that did not change may be called worse: a share of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Risk(f64);

impl Risk {
    /// For each of so many figures, such that in one of twenty comparisons one of them at most is called worse for nothing.
    #[must_use]
    pub fn shared(figures: usize) -> Self {
        let figures = u32::try_from(figures.max(1)).unwrap_or(u32::MAX);
        Self(0.05 / f64::from(figures))
    }
}

/// A change of less than this is none that a release should wait for, however sure it is.
pub const LEAST: f64 = 0.01;

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// How many times as bad it is as before: 1.02 is 2 % worse, whichever way the figure is good.
    pub times_as_bad: f64,
    /// How far that may be off, as a factor: 1.05 is 5 % in either direction.
    pub noise: f64,
    /// All of the interval is worse, by [`LEAST`] at least.
    pub verdict: Verdict,
}

/// In a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Worse by more than noise.
    Worse,
    /// Better by more than noise.
    Better,
    /// Neither can be said.
    Same,
}

/// Compares figures of runs that were made in turns, one of each build in a pair, so that a slow quarter of an hour hits both.
///
/// # Errors
/// There are fewer than two pairs, or a figure is not a positive number.
pub fn paired(pairs: &[(f64, f64)], better: Better, risk: Risk) -> Result<Judged> {
    let changes = pairs.iter().map(|(before, after)| worse(*before, *after, better)).collect::<Result<Vec<_>>>()?;
    let sample = Sample::of(&changes)?;
    judge(sample.mean, sample.error_of_mean(), sample.count - 1.0, risk)
}

/// Compares figures of runs that were made at different times (Welch's test): what the machine did in between counts as a
/// change of the program.
///
/// # Errors
/// One of them was measured fewer than two times, or a figure is not a positive number.
pub fn unpaired(before: &[f64], after: &[f64], better: Better, risk: Risk) -> Result<Judged> {
    let logarithms =
        |figures: &[f64]| figures.iter().map(|figure| worse(1.0, *figure, better)).collect::<Result<Vec<_>>>();
    let (before, after) = (Sample::of(&logarithms(before)?)?, Sample::of(&logarithms(after)?)?);
    let (one, other) = (before.error_of_mean().powi(2), after.error_of_mean().powi(2));
    // Welch and Satterthwaite; where nothing varies, any number does.
    let freedom = if one + other == 0.0 {
        before.count + after.count - 2.0
    } else {
        (one + other).powi(2) / (one.powi(2) / (before.count - 1.0) + other.powi(2) / (after.count - 1.0))
    };
    judge(after.mean - before.mean, (one + other).sqrt(), freedom, risk)
}

fn judge(mean: f64, error_of_mean: f64, freedom: f64, risk: Risk) -> Result<Judged> {
    let student = StudentsT::new(0.0, 1.0, freedom).context("there are too few runs")?;
    let half = student.inverse_cdf(1.0 - risk.0) * error_of_mean;
    let least = LEAST.ln_1p();
    let verdict = if mean - half > least {
        Verdict::Worse
    } else if mean + half < -least {
        Verdict::Better
    } else {
        Verdict::Same
    };
    Ok(Judged { times_as_bad: mean.exp(), noise: half.exp(), verdict })
}

/// By how much `after` is worse, as a logarithm of the ratio.
fn worse(before: f64, after: f64, better: Better) -> Result<f64> {
    for figure in [before, after] {
        ensure!(figure.is_finite() && figure > 0.0, "{figure} is no positive number");
    }
    let change = (after / before).ln();
    Ok(match better {
        Better::Lower => change,
        Better::Higher => -change,
    })
}

/// Numbers whose noise is known from their own differences.
struct Sample {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Sample {
    fn of(numbers: &[f64]) -> Result<Self> {
        let count = f64::from(u32::try_from(numbers.len()).context("count the runs")?);
        ensure!(count >= 2.0, "what is measured once has no noise that is known: measure it twice at least");
        let mean = numbers.iter().sum::<f64>() / count;
        let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Ok(Self { count, mean, variance })
    }

    fn error_of_mean(&self) -> f64 {
        (self.variance / self.count).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Risk = Risk(0.05);

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.000_5
    }

    #[test]
    fn a_size_that_does_not_vary_is_worse_from_the_least_change_on() {
        let judged = |after: f64| paired(&[(1000.0, after); 2], Better::Lower, ONE).expect("two pairs").verdict;
        assert_eq!(
            [1000.0, 1009.0, 1011.0, 989.0].map(judged),
            [Verdict::Same, Verdict::Same, Verdict::Worse, Verdict::Better]
        );
    }

    #[test]
    fn a_change_within_the_noise_is_none() {
        let pairs = [(100.0, 112.0), (101.0, 95.0), (99.0, 108.0), (100.0, 97.0)];
        let judged = paired(&pairs, Better::Lower, ONE).expect("four pairs");
        assert_eq!(judged.verdict, Verdict::Same);
        // Student's quantile for three degrees of freedom is 2.353; the mean of the logarithms is 0.0272, their deviation 0.0859.
        assert!(near(judged.times_as_bad, 1.0275) && near(judged.noise, 1.1064), "{judged:?}");
    }

    #[test]
    fn what_each_pair_shows_is_worse_although_the_machine_drifts_by_more() {
        let drifting = [100.0, 140.0, 90.0, 200.0, 120.0, 160.0];
        let pairs = drifting.map(|before| (before, before * 1.05));
        assert_eq!(paired(&pairs, Better::Lower, ONE).expect("six pairs").verdict, Verdict::Worse);
        // The same figures without their pairs say nothing.
        let after = drifting.map(|before| before * 1.05);
        assert_eq!(unpaired(&drifting, &after, Better::Lower, ONE).expect("six runs").verdict, Verdict::Same);
    }

    #[test]
    fn one_outlier_raises_no_alarm() {
        let pairs = [(100.0, 100.0), (100.0, 101.0), (100.0, 99.0), (100.0, 100.0), (100.0, 300.0), (100.0, 100.0)];
        assert_eq!(paired(&pairs, Better::Lower, ONE).expect("six pairs").verdict, Verdict::Same);
    }

    #[test]
    fn a_share_is_worse_when_it_falls() {
        let pairs = [(0.90, 0.80), (0.91, 0.81), (0.90, 0.80)];
        let judged = paired(&pairs, Better::Higher, ONE).expect("three pairs");
        assert_eq!(judged.verdict, Verdict::Worse);
        assert!(judged.times_as_bad > 1.12, "{judged:?}");
    }

    #[test]
    fn welch_finds_a_change_between_two_quiet_machines() {
        let judged = unpaired(&[100.0, 101.0, 99.0, 100.0], &[110.0, 111.0, 109.0], Better::Lower, ONE).expect("runs");
        assert_eq!(judged.verdict, Verdict::Worse);
        assert!(near(judged.times_as_bad, 1.1000), "{judged:?}");
    }

    #[test]
    fn the_more_figures_there_are_the_surer_each_has_to_be() {
        let pairs = [(100.0, 104.0), (100.0, 107.0), (100.0, 103.0), (100.0, 108.0)];
        let judged = |figures| paired(&pairs, Better::Lower, Risk::shared(figures)).expect("four pairs").verdict;
        assert_eq!((judged(1), judged(20)), (Verdict::Worse, Verdict::Same));
    }

    #[test]
    fn what_was_measured_once_or_is_no_number_is_not_compared() {
        let refused = |pairs: &[(f64, f64)]| paired(pairs, Better::Lower, ONE).expect_err("not compared").to_string();
        assert!(refused(&[(1.0, 2.0)]).contains("measured once"));
        assert!(refused(&[(1.0, 0.0), (1.0, 1.0)]).contains("0 is no positive number"));
        assert!(refused(&[(1.0, f64::NAN), (1.0, 1.0)]).contains("NaN"));
    }
}
