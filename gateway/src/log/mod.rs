//! The log: lines of text or JSON, which nobody waits for.
//!
//! Whatever logs formats its line and puts it into a bounded queue; one thread of its own writes to the standard
//! error output or a file. When that stalls, because a terminal is stopped or nobody reads a pipe, lines are lost and
//! counted; coroutines go on. Each line carries the spans of the coroutine that logged it, so that a connection's lines
//! can be told apart: spans of level `info` and above exist at every log level.

mod gate;
mod queue;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg_runtime::blocking;
use thalweg_runtime::trace::SpanLayer;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt as lines, registry, reload};

use crate::config::{self, LogFormat};
use gate::Gate;
use queue::{Line, Queue, Writer};

/// By which the level changes.
type Level = reload::Handle<Gate, Registry>;

/// Keeps the log going; dropping it writes what is there, for at most a second.
#[derive(Debug)]
pub struct Log {
    queue: Queue,
    level: Level,
    _writer: Writer,
}

/// A change of the log that can be made.
#[derive(Debug)]
#[must_use = "it changes nothing by itself"]
pub struct Renewal {
    queue: Queue,
    level: Level,
    output: File,
    gate: Gate,
}

/// Why there is no log.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be opened.
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The standard error output is closed.
    StandardError(io::Error),
    /// The level cannot be understood.
    Level(ParseError),
    /// There is no thread to write it.
    Thread(io::Error),
    /// Something else logs in this process already.
    Taken,
}

/// How much of the log may wait to be written.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// How long the end of the process waits for the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

impl Log {
    /// Begins to log for the whole process, panics included. To be called before a runtime is built, on whose panics
    /// it is to report.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn start(settings: &config::Log) -> Result<Self, LogError> {
        let (output, is_terminal) = match &settings.file {
            Some(path) => (open(path)?, false),
            None => {
                (standard_error().map_err(LogError::StandardError)?, io::stderr().is_terminal())
            }
        };
        let report = |lost| {
            tracing::warn!(lost, "lines of the log were lost, since they could not be written");
        };
        let queue = Queue::new(QUEUE_BYTES_MAX);
        let writer =
            Writer::start(&queue, output, report, FLUSH_LIMIT).map_err(LogError::Thread)?;
        let (subscriber, level) = subscriber(settings, is_terminal, queue.clone())?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Taken)?;
        // The standard hook writes to the standard error output by itself, and would wait for it.
        panic::set_hook(Box::new(|info| tracing::error!(target: "panic", "{info}")));
        Ok(Self { queue, level, _writer: writer })
    }

    /// Makes ready to log at other levels and to another file, or to the same one opened anew, as programs that rotate
    /// files want it. Nothing changes yet.
    ///
    /// # Suspends
    ///
    /// While the file is opened.
    ///
    /// # Errors
    ///
    /// [`LogError::Open`], [`LogError::StandardError`] and [`LogError::Level`].
    pub fn prepare(&self, settings: &config::Log) -> Result<Renewal, LogError> {
        let gate = Gate::parse(&settings.level).map_err(LogError::Level)?;
        let output = match settings.file.clone() {
            Some(path) => {
                let named = path.clone();
                let opened = blocking::run(move || open(&path));
                opened.map_err(|error| LogError::Open { path: named, error: error.into() })??
            }
            None => standard_error().map_err(LogError::StandardError)?,
        };
        Ok(Renewal { queue: self.queue.clone(), level: self.level.clone(), output, gate })
    }

    /// How many lines were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }
}

impl Renewal {
    /// Makes it: what is logged from now on has the new levels and goes to the new file.
    pub fn commit(self) {
        self.queue.redirect(self.output);
        // It fails when there is no subscriber any more.
        let _logs = self.level.reload(self.gate);
    }
}

fn open(path: &Path) -> Result<File, LogError> {
    // Before there is a runtime.
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|error| LogError::Open { path: path.to_owned(), error })
}

/// The standard error output without std's lock, which everybody else would wait for while it stalls.
fn standard_error() -> io::Result<File> {
    Ok(File::from(io::stderr().as_fd().try_clone_to_owned()?))
}

fn subscriber(
    settings: &config::Log,
    has_colours: bool,
    queue: Queue,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Level), LogError> {
    let gate = Gate::parse(&settings.level).map_err(LogError::Level)?;
    let (gate, level) = reload::Layer::new(gate);
    let base = registry().with(gate).with(SpanLayer::new());
    let lines = lines::layer().with_writer(queue);
    let lines = match settings.format {
        LogFormat::Text => lines.with_ansi(has_colours).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    Ok((Box::new(base.with(lines)), level))
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line::new(self)
    }
}

/// Gathers one line; it is queued when this is dropped.
impl Write for Line<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.push(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, error } => {
                write!(f, "cannot write the log to {}: {error}", path.display())
            }
            Self::StandardError(error) => {
                write!(f, "cannot log to the standard error output: {error}")
            }
            Self::Level(error) => write!(f, "log.level: {error}"),
            Self::Thread(error) => {
                write!(f, "cannot start the thread that writes the log: {error}")
            }
            Self::Taken => f.write_str("something else logs in this process already"),
        }
    }
}

impl std::error::Error for LogError {}

#[cfg(test)]
mod tests;
