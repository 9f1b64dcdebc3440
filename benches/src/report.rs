//! What a bench prints.

use std::io::Write as _;

/// One figure against its baseline.
#[derive(Debug, Clone)]
pub struct Ratio {
    /// What was measured.
    pub name: &'static str,
    /// Measured over baseline.
    pub value: f64,
    /// The target.
    pub target: f64,
    /// Whether larger is better.
    pub at_least: bool,
}

impl Ratio {
    /// Whether the figure is at target.
    #[must_use]
    pub fn ok(&self) -> bool {
        if self.at_least {
            self.value >= self.target
        } else {
            self.value <= self.target
        }
    }

    /// The closing line: `ratio <name> <value> <target> <ok|short>`.
    #[must_use]
    pub fn line(&self) -> String {
        let verdict = if self.ok() { "ok" } else { "short" };
        format!(
            "ratio {} {:.2} {:.2} {verdict}",
            self.name, self.value, self.target
        )
    }
}

/// Prints a line for the person who waits.
pub fn say(text: &str) {
    // A bench whose reader went away has nobody left to tell.
    writeln!(std::io::stdout(), "{text}").ok();
}

/// Median of `figures`; 0 for none.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// The value below which `share` of `figures` lie; 0 for none.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index into a slice, from a share between 0 and 1"
)]
pub fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_whether_the_target_is_met() {
        let ratio = Ratio {
            name: "x",
            value: 0.79,
            target: 0.8,
            at_least: true,
        };
        assert_eq!(ratio.line(), "ratio x 0.79 0.80 short");
        let ratio = Ratio {
            at_least: false,
            ..ratio
        };
        assert_eq!(ratio.line(), "ratio x 0.79 0.80 ok");
    }

    #[test]
    fn quantiles_of_little_and_nothing() {
        assert!(median(&[]).abs() < f64::EPSILON);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((quantile(&[1.0, 2.0], 1.0) - 2.0).abs() < f64::EPSILON);
    }
}
