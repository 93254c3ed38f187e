//! The table.

use crate::sample::{Measure, Sample};

/// One line of it.
pub(crate) struct Line {
    measure: String,
    ours: String,
    floor: String,
    ratio: Option<f64>,
    target: Option<Target>,
}

/// What a ratio has to be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At most.
    Most(f64),
    /// At least.
    Least(f64),
}

impl Line {
    /// A measure beside its floor.
    pub(crate) fn beside(measure: &str, unit: &str, ours: f64, floor: f64) -> Self {
        Self { floor: number(floor, unit), ratio: Some(ours / floor), ..Self::alone(measure, unit, ours) }
    }

    /// A measure beside its floor, measured in turn: the medians of both, and that of their ratios.
    pub(crate) fn in_turn(title: &str, measure: Measure, ours: &Sample, floor: &Sample) -> Self {
        let unit = match measure {
            Measure::Cpu | Measure::Half => "µs",
            Measure::Pace => "/s",
        };
        let ratio = Some(ours.beside(floor, measure));
        Self { ratio, ..Self::beside(title, unit, ours.value(measure), floor.value(measure)) }
    }

    /// A measure without one.
    pub(crate) fn alone(measure: &str, unit: &str, ours: f64) -> Self {
        let (measure, ours) = (measure.to_owned(), number(ours, unit));
        Self { measure, ours, floor: String::new(), ratio: None, target: None }
    }

    /// What the ratio has to be.
    pub(crate) fn wants(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// What the measure itself has to be.
    pub(crate) fn within(measure: &str, unit: &str, ours: f64, most: f64) -> Self {
        let line = Self { ratio: Some(ours / most), ..Self::alone(measure, unit, ours) };
        Self { floor: format!("≤ {}", number(most, unit)), ..line.wants(Target::Most(1.0)) }
    }

    fn reached(&self) -> &'static str {
        match (self.ratio, self.target) {
            (Some(ratio), Some(Target::Most(most))) if ratio <= most => "yes",
            (Some(ratio), Some(Target::Least(least))) if ratio >= least => "yes",
            (_, Some(_)) => "NO",
            _ => "",
        }
    }
}

/// Prints the lines as a Markdown table.
pub(crate) fn print(lines: &[Line]) {
    println!(
        "| {:<52} | {:>13} | {:>13} | {:>6} | {:>7} | reached |",
        "measure", "ours", "beside", "ratio", "target"
    );
    println!("|{:-<54}|{:-<14}:|{:-<14}:|{:-<7}:|{:-<8}:|---------|", "", "", "", "", "");
    for line in lines {
        let ratio = line.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let target = match line.target {
            Some(Target::Most(most)) => format!("≤ {most:.2}"),
            Some(Target::Least(least)) => format!("≥ {least:.2}"),
            None => String::new(),
        };
        println!(
            "| {:<52} | {:>13} | {:>13} | {ratio:>6} | {target:>7} | {:<7} |",
            line.measure,
            line.ours,
            line.floor,
            line.reached()
        );
    }
}

fn number(value: f64, unit: &str) -> String {
    if value.abs() < 100.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}
