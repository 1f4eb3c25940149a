//! Figures, their bounds, and the table that shows them.

use std::{fs, path::PathBuf, process::ExitCode};

use serde_json::{Value, json};

use crate::machine::Circumstances;

/// What a figure must not pass.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {least:.2}"),
            Self::AtMost(most) => format!("<= {most:.2}"),
        }
    }
}

/// One row.
#[derive(Debug)]
pub struct Figure {
    /// Its name in the JSON, the same for ever.
    name: String,
    /// What it is, for people.
    what: String,
    value: f64,
    unit: &'static str,
    bound: Option<Bound>,
}

impl Figure {
    pub fn new(name: impl Into<String>, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), what: what.into(), value, unit, bound: None }
    }

    pub fn micros(name: impl Into<String>, what: impl Into<String>, value: f64) -> Self {
        Self::new(name, what, value, "us")
    }

    pub fn ratio(name: impl Into<String>, what: impl Into<String>, value: f64) -> Self {
        Self::new(name, what, value, "x")
    }

    pub fn bound(self, bound: Bound) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// Whether it keeps its bound; `None` if it has none.
    fn passes(&self) -> Option<bool> {
        self.bound.map(|bound| bound.holds(self.value))
    }

    fn verdict(&self) -> &'static str {
        match self.passes() {
            Some(true) => "pass",
            Some(false) => "MISS",
            None => "",
        }
    }
}

/// All rows.
#[derive(Debug, Default)]
pub struct Table(Vec<Figure>);

impl Table {
    pub fn add(&mut self, figures: Vec<Figure>) {
        self.0.extend(figures);
    }

    /// Prints the table and writes the JSON as `name` into the target folder. Exit code 0 = every bound is kept, 1 = one is missed.
    pub fn finish(&self, circumstances: &Circumstances, name: &str) -> ExitCode {
        println!("\n{circumstances}\n");
        for figure in &self.0 {
            let bound = figure.bound.map(Bound::text).unwrap_or_default();
            println!("{:<58} {:>9.3} {:<4} {:<8} {}", figure.what, figure.value, figure.unit, bound, figure.verdict());
        }
        let missed = self.0.iter().filter(|figure| figure.passes() == Some(false)).count();
        let bounded = self.0.iter().filter(|figure| figure.bound.is_some()).count();
        println!("\n{} of {bounded} bounds are kept", bounded - missed);
        if let Some(busy) = circumstances.warning() {
            println!("{busy}");
        }
        let file = json_file(name);
        fs::write(&file, format!("{:#}\n", self.json(circumstances))).unwrap();
        println!("written to {}", file.display());
        if missed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
    }

    fn json(&self, circumstances: &Circumstances) -> Value {
        let figure = |figure: &Figure| {
            let bound = figure.bound.map(Bound::text);
            json!({"name": figure.name, "what": figure.what, "value": figure.value, "unit": figure.unit, "bound": bound, "pass": figure.passes()})
        };
        json!({"machine": circumstances.json(), "figures": self.0.iter().map(figure).collect::<Vec<_>>()})
    }
}

/// `target/NAME`, wherever this build's target folder is.
fn json_file(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().join(name)
}
