//! The processes of a measurement, as the parent sees them.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::case::{Case, ContenderName};
use crate::measure::Plan;
use crate::suite::Measured;

/// The command line of a child that measures.
pub(crate) fn child_args(case: Case, contender: ContenderName, plan: Plan) -> [String; 6] {
    [
        "child".to_owned(),
        case.to_string(),
        contender.to_string(),
        plan.n.to_string(),
        plan.reps.to_string(),
        plan.rep.as_millis().to_string(),
    ]
}

/// Starts this program once more.
pub(crate) fn spawn_self(args: &[String]) -> io::Result<Child> {
    let program = env::current_exe()?;
    Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

/// Waits for a child's end and returns what it has printed.
pub(crate) fn finish(child: Child) -> Measured {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("the child ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// A child, killed when it is not needed any more.
#[derive(Debug)]
pub(crate) struct Kept(Child);

impl Kept {
    pub(crate) fn spawn_self(args: &[String]) -> io::Result<Self> {
        spawn_self(args).map(Self)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Either fails only when the child is gone already.
        let _gone = self.0.kill().is_err() || self.0.wait().is_err();
    }
}

/// A child that listens, and says so by a first line with its port.
#[derive(Debug)]
pub(crate) struct Served {
    child: Kept,
    stdout: BufReader<ChildStdout>,
    port: String,
}

impl Served {
    pub(crate) fn start(args: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut child = Kept::spawn_self(args)?;
        let mut stdout = BufReader::new(child.0.stdout.take().ok_or("the child has no stdout")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let port = line.trim().strip_prefix("port\t").ok_or("the child has not started")?;
        Ok(Self { child, stdout, port: port.to_owned() })
    }

    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Waits for the child's end and returns what it has printed after its port.
    pub(crate) fn finish(mut self) -> Measured {
        let lines = self.stdout.by_ref().lines().collect::<io::Result<Vec<String>>>()?;
        let status = self.child.0.wait()?;
        if !status.success() {
            return Err(format!("the child ended with {status}").into());
        }
        Ok(lines)
    }
}

/// How long the calling thread has waited for a core, which the kernel counts.
#[derive(Debug)]
pub(crate) struct Starvation {
    before: Duration,
}

impl Starvation {
    /// From now on.
    pub(crate) fn begin() -> io::Result<Self> {
        Ok(Self { before: Self::now()? })
    }

    /// Since this was asked last.
    pub(crate) fn since_last(&mut self) -> io::Result<Duration> {
        let now = Self::now()?;
        Ok(now.saturating_sub(std::mem::replace(&mut self.before, now)))
    }

    /// The second field of `schedstat` (Documentation/scheduler/sched-stats.rst).
    fn now() -> io::Result<Duration> {
        let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
        let waited = stat.split_whitespace().nth(1).and_then(|field| field.parse().ok());
        waited
            .map(Duration::from_nanos)
            .ok_or_else(|| io::Error::other("schedstat has no time of waiting"))
    }
}
