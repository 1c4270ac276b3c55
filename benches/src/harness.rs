//! The parent process: starts the children in interleaved rounds and gathers what they measure.
//!
//! Contenders of one case and size follow each other directly, and each round starts with another
//! one, so that a slow phase of the machine meets all of them.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::case::{Case, ContenderName};
use crate::measure::{BYTES_PTE, BYTES_RSS, NS, NS_CPU, Plan, SYSCALLS};
use crate::report;

/// Runs the whole bench: `[--quick] [--rounds N] [--case NAME]… [--contender NAME]…`.
pub(crate) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let options = Options::parse(args)?;
    mount_tracefs();
    let mut figures = Figures::default();
    for round in 0..options.rounds {
        for &case in &options.cases {
            for &n in case.sizes() {
                let Some(plan) = options.plan(case, n, round) else {
                    continue;
                };
                progress(&format!("round {} of {}: {case} {n}", round + 1, options.rounds));
                for contender in options.contenders_from(round) {
                    if case.applies_to(contender, n) && !options.leaves_out(case, contender, round)
                    {
                        measure(case, contender, plan, &mut figures);
                    }
                }
            }
        }
    }
    report::print(&figures);
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("benches/ has no parent folder")?;
    let path = root.join("target/bench/runtime.json");
    report::write_json(&figures, &path)?;
    progress(&format!("written: {}", path.display()));
    Ok(())
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

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[derive(Debug)]
struct Options {
    quick: bool,
    rounds: usize,
    cases: Vec<Case>,
    contenders: Vec<ContenderName>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut quick = false;
        let mut rounds = None;
        let (mut cases, mut contenders) = (Vec::new(), Vec::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--quick" => quick = true,
                "--rounds" => {
                    let number = value()?.parse();
                    rounds = Some(number.map_err(|_error| "--rounds needs a number")?);
                }
                "--case" => cases.push(value()?.parse()?),
                "--contender" => contenders.push(value()?.parse()?),
                _ => {
                    return Err(format!(
                        "{arg:?}: known are --quick, --rounds N, --case C, --contender C"
                    ));
                }
            }
        }
        if cases.is_empty() {
            cases.extend(Case::ALL);
        }
        if contenders.is_empty() {
            contenders.extend(ContenderName::ALL);
        }
        Ok(Self { quick, rounds: rounds.unwrap_or(if quick { 1 } else { 5 }), cases, contenders })
    }

    /// How long to measure; `None` leaves the case out of this round.
    fn plan(&self, case: Case, n: usize, round: usize) -> Option<Plan> {
        let (reps, rep_ms) = match case {
            Case::Yield | Case::Cond | Case::CondDeadline | Case::Spawn => (5, 30),
            Case::Timer => (2, 1000),
            Case::Echo | Case::EchoIdle => (3, 300),
            // Memory hardly varies, and a million coroutines take long to set up.
            Case::Memory if n > 100_000 && (self.quick || round > 0) => return None,
            Case::Memory if round > 1 => return None,
            Case::Memory => (1, 0),
        };
        let (reps, rep_ms) = if self.quick { (reps.min(3), rep_ms / 3) } else { (reps, rep_ms) };
        Some(Plan { n, reps, rep: Duration::from_millis(rep_ms) })
    }

    /// State Threads polls all idle connections for each one that it accepts: half a minute.
    fn leaves_out(&self, case: Case, contender: ContenderName, round: usize) -> bool {
        let is_slow = case == Case::EchoIdle && contender == ContenderName::StateThreads;
        is_slow && (self.quick || round > 0)
    }

    fn contenders_from(&self, round: usize) -> impl Iterator<Item = ContenderName> {
        let count = self.contenders.len();
        self.contenders.iter().copied().cycle().skip(round % count).take(count)
    }
}

fn measure(case: Case, contender: ContenderName, plan: Plan, figures: &mut Figures) {
    let result = if case.is_echo() {
        run_echo(case, contender, plan)
    } else {
        run_child(case, contender, plan)
    };
    let who = format!("{case} n={} {contender}", plan.n);
    match result {
        Ok(lines) => {
            for line in lines {
                if let Some((unit, value)) = parse_sample(&line) {
                    figures.add(Key { case, n: plan.n, unit, contender }, value);
                } else {
                    figures.note(format!("{who}: {}", line.trim_start_matches("note\t")));
                }
            }
        }
        Err(error) => figures.note(format!("{who}: not measured: {error}")),
    }
}

fn run_child(
    case: Case,
    contender: ContenderName,
    plan: Plan,
) -> Result<Vec<String>, Box<dyn Error>> {
    let child = spawn_child(case, contender, plan)?;
    finish(child)
}

fn run_echo(
    case: Case,
    contender: ContenderName,
    plan: Plan,
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut server = Server(spawn_child(case, contender, plan)?);
    let stdout = server.0.stdout.take().ok_or("the server has no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let port = line.trim().strip_prefix("port\t").ok_or("the server has not started")?.to_owned();
    let (active, idle) = if case == Case::EchoIdle { (1, plan.n) } else { (plan.n, 0) };
    let args = [
        "load".to_owned(),
        port,
        server.0.id().to_string(),
        active.to_string(),
        idle.to_string(),
        plan.reps.to_string(),
        plan.rep.as_millis().to_string(),
    ];
    finish(spawn_self(&args)?)
}

fn spawn_child(case: Case, contender: ContenderName, plan: Plan) -> std::io::Result<Child> {
    let args = [
        "child".to_owned(),
        case.to_string(),
        contender.to_string(),
        plan.n.to_string(),
        plan.reps.to_string(),
        plan.rep.as_millis().to_string(),
    ];
    spawn_self(&args)
}

fn spawn_self(args: &[String]) -> std::io::Result<Child> {
    let program: PathBuf = env::current_exe()?;
    Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

fn finish(child: Child) -> Result<Vec<String>, Box<dyn Error>> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("the child ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// A server process, killed when its measurement is over.
#[derive(Debug)]
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only when the server is gone already.
        let _gone = self.0.kill().is_err() || self.0.wait().is_err();
    }
}

fn parse_sample(line: &str) -> Option<(&'static str, f64)> {
    let (unit, value) = line.strip_prefix("sample\t")?.split_once('\t')?;
    let unit = UNITS.into_iter().find(|&known| known == unit)?;
    Some((unit, value.parse().ok()?))
}

/// Counting system calls needs tracefs; only root can mount it, and only then is it tried.
fn mount_tracefs() {
    let events = Path::new("/sys/kernel/tracing/events");
    if !events.exists() {
        let mount = ["-t", "tracefs", "nodev", "/sys/kernel/tracing"];
        let result = Command::new("mount").args(mount).stderr(Stdio::null()).status();
        if !result.is_ok_and(|status| status.success()) {
            progress("no tracefs: system calls will not be counted");
        }
    }
}

#[expect(clippy::print_stderr, reason = "progress of a run of minutes")]
fn progress(line: &str) {
    eprintln!("{line}");
}

const UNITS: [&str; 5] = [NS, NS_CPU, SYSCALLS, BYTES_RSS, BYTES_PTE];
