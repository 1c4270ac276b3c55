//! The parent process: starts the children in interleaved rounds and gathers what they measure.
//!
//! Contenders of one case and size follow each other directly, and each round starts with another
//! one, so that a slow phase of the machine meets all of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::case::{Case, ContenderName};
use crate::measure::{Plan, UNITS};
use crate::report;
use crate::suite::Suite;

/// Runs a suite: `[--quick] [--rounds N] [--case NAME]… [--contender NAME]…`.
pub(crate) fn run(suite: &Suite, args: &[String]) -> Result<(), Box<dyn Error>> {
    let options = Options::parse(suite, args)?;
    (suite.prepare)();
    let mut figures = Figures::default();
    let path = folder()?.join(format!("{}.json", suite.name));
    for round in 0..options.rounds {
        for &case in &options.cases {
            for &n in case.sizes() {
                let step = format!("round {} of {}: {case} {n}", round + 1, options.rounds);
                for contender in options.contenders_from(round) {
                    let run = Run { is_quick: options.is_quick, round };
                    let plan = (suite.plan)(case, contender, n, run);
                    if let Some(plan) = plan.filter(|_plan| case.applies_to(contender, n)) {
                        progress(&format!("{step} {contender}"));
                        measure(suite, case, contender, plan, &mut figures);
                    }
                }
            }
        }
        // A run that is ended early leaves its rounds.
        report::write_json(&figures, &path)?;
    }
    report::print(suite, &figures);
    progress(&format!("written: {}", path.display()));
    Ok(())
}

/// Where figures are written, and what is kept for the next run.
pub(crate) fn folder() -> Result<PathBuf, &'static str> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(root.ok_or("benches/ has no parent folder")?.join("target/bench"))
}

/// Where in a run a measurement stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) is_quick: bool,
    /// Counted from 0.
    pub(crate) round: usize,
}

/// Which figure: the key of a row.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    pub(crate) case: Case,
    pub(crate) n: usize,
    pub(crate) unit: &'static str,
    pub(crate) contender: ContenderName,
}

/// All samples of a run, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    samples: BTreeMap<Key, Vec<f64>>,
    notes: Vec<String>,
    /// Measurements whose load generator had no core to run on: how many, by what was measured.
    starved: BTreeMap<String, usize>,
}

/// Smallest and middle sample of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

impl Figures {
    pub(crate) fn add(&mut self, key: Key, value: f64) {
        let samples = self.samples.entry(key).or_default();
        let at = samples.partition_point(|&other| other < value);
        samples.insert(at, value);
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Returns the rows in the order of the table.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Key, Summary)> {
        self.samples.keys().filter_map(|&key| Some((key, self.summary(key)?)))
    }

    pub(crate) fn summary(&self, key: Key) -> Option<Summary> {
        let samples = self.samples.get(&key)?;
        let upper = samples.len() / 2;
        let lower = (samples.len() - 1) / 2;
        Some(Summary {
            min: *samples.first()?,
            median: f64::midpoint(samples[lower], samples[upper]),
        })
    }

    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let starved = self.starved.iter().map(|(who, count)| {
            format!("{who}: {count} dropped, since the viewers or encoders waited for a core")
        });
        self.notes.iter().cloned().chain(starved)
    }
}

#[derive(Debug)]
struct Options {
    is_quick: bool,
    rounds: usize,
    cases: Vec<Case>,
    contenders: Vec<ContenderName>,
}

impl Options {
    fn parse(suite: &Suite, args: &[String]) -> Result<Self, String> {
        let mut is_quick = false;
        let mut rounds = None;
        let (mut cases, mut contenders) = (Vec::new(), Vec::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--quick" => is_quick = true,
                "--rounds" => {
                    let number = value()?.parse();
                    rounds = Some(number.map_err(|_error| "--rounds needs a number")?);
                }
                "--case" => cases.push(named(suite.cases, value()?)?),
                "--contender" => contenders.push(named(suite.contenders, value()?)?),
                _ => {
                    return Err(format!(
                        "{arg:?}: known are --quick, --rounds N, --case C, --contender C"
                    ));
                }
            }
        }
        if cases.is_empty() {
            cases.extend(suite.cases);
        }
        if contenders.is_empty() {
            contenders.extend(suite.contenders);
        }
        let rounds = rounds.unwrap_or(if is_quick { 1 } else { suite.rounds });
        Ok(Self { is_quick, rounds, cases, contenders })
    }

    fn contenders_from(&self, round: usize) -> impl Iterator<Item = ContenderName> {
        let count = self.contenders.len();
        self.contenders.iter().copied().cycle().skip(round % count).take(count)
    }
}

/// Finds what a suite has under a name.
fn named<T: Copy + Display>(of_suite: &[T], name: &str) -> Result<T, String> {
    let found = of_suite.iter().copied().find(|one| one.to_string() == name);
    found.ok_or_else(|| {
        let known: Vec<String> =
            of_suite.iter().map(|one| format!("{:?}", one.to_string())).collect();
        format!("{name:?} is unknown; known are {}", known.join(", "))
    })
}

fn measure(suite: &Suite, case: Case, contender: ContenderName, plan: Plan, figures: &mut Figures) {
    let who = format!("{case} n={} {contender}", plan.n);
    match (suite.measure)(case, contender, plan) {
        Ok(lines) => {
            for line in lines {
                if line == STARVED {
                    *figures.starved.entry(who.clone()).or_default() += 1;
                } else if let Some((unit, value)) = parse_sample(&line) {
                    figures.add(Key { case, n: plan.n, unit, contender }, value);
                } else {
                    figures.note(format!("{who}: {}", line.trim_start_matches("note\t")));
                }
            }
        }
        Err(error) => figures.note(format!("{who}: not measured: {error}")),
    }
}

/// What is said instead of a sample when the load generator was starved.
pub(crate) const STARVED: &str = "starved";

fn parse_sample(line: &str) -> Option<(&'static str, f64)> {
    let (unit, value) = line.strip_prefix("sample\t")?.split_once('\t')?;
    let unit = UNITS.into_iter().find(|&known| known == unit)?;
    Some((unit, value.parse().ok()?))
}

#[expect(clippy::print_stderr, reason = "progress of a run of minutes")]
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}
