//! A tool in a process of its own, whose input and output are streams of the runtime.

#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thalweg_runtime::net::{TcpStream, UdpSocket};
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{self as rt, JoinHandle, blocking};

use super::Outcome;

/// A running tool. Killed when dropped.
pub(crate) struct Tool {
    child: Option<Child>,
    /// Its standard input, which ends when this is dropped.
    pub(crate) input: Option<TcpStream>,
    /// Collects its standard output, which would hold it up if nobody read it.
    output: JoinHandle<io::Result<Vec<u8>>>,
    log: Rc<Log>,
    reader: JoinHandle<()>,
}

/// What it has written to its standard error so far.
#[derive(Default)]
struct Log {
    text: RefCell<String>,
    has_grown: Cond,
}

impl Tool {
    pub(crate) fn start(program: &str, args: &[&str]) -> io::Result<Self> {
        let (input, their_input) = stream_pair()?;
        let (output, their_output) = stream_pair()?;
        let (errors, their_errors) = stream_pair()?;
        let mut command = Command::new(program);
        command.args(args);
        command.stdin(Stdio::from(their_input));
        command.stdout(Stdio::from(their_output));
        command.stderr(Stdio::from(their_errors));
        let child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        let log = Rc::new(Log::default());
        let reader = {
            let log = Rc::clone(&log);
            rt::spawn(move || log.collect(errors))
        };
        let output = rt::spawn(move || read_all(output));
        Ok(Self { child: Some(child), input: Some(input), output, log, reader })
    }

    /// Waits until the tool has said `words`.
    pub(crate) fn wait_for(&self, words: &str) -> Outcome {
        while !self.log.text.borrow().contains(words) {
            if self.reader.is_finished() {
                return Err(format!("ended before it said {words:?}: {}", self.said()).into());
            }
            self.log
                .has_grown
                .wait()
                .map_err(|error| format!("{error} before {words:?}: {}", self.said()))?;
        }
        Ok(())
    }

    /// All that it has said so far.
    pub(crate) fn said(&self) -> String {
        self.log.text.borrow().clone()
    }

    /// Ends its input, and waits for its end.
    pub(crate) fn finish(mut self) -> Outcome<Ended> {
        drop(self.input.take());
        let output = self.output.join().map_err(|error| error.to_string())??;
        self.reader.join().map_err(|error| error.to_string())?;
        let mut child = self.child.take().unwrap();
        let status = blocking::run(move || child.wait())??;
        Ok(Ended { status, output, said: self.said() })
    }

    /// Asks it to end, as a user would.
    pub(crate) fn terminate(&self) -> Outcome {
        let pid = i32::try_from(self.child.as_ref().unwrap().id())?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGTERM)?)
    }

    /// Kills it, so that it cannot say goodbye to anybody.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        let child = self.child.as_mut().unwrap();
        child.kill()?;
        child.wait().map(drop)
    }
}

/// How a tool has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// All that it has written to its standard output.
    pub(crate) output: Vec<u8>,
    pub(crate) said: String,
}

impl Drop for Tool {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Either fails only when it has ended already.
            let _ended = child.kill().is_err() || child.wait().is_err();
        }
    }
}

impl Log {
    /// Reads until the tool has closed its standard error.
    fn collect(&self, mut errors: TcpStream) {
        let mut buf = [0; 1024];
        while let Ok(len @ 1..) = errors.read(&mut buf) {
            self.text.borrow_mut().push_str(&String::from_utf8_lossy(&buf[..len]));
            self.has_grown.broadcast();
        }
        self.has_grown.broadcast();
    }
}

fn read_all(mut output: TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    output.read_to_end(&mut all)?;
    Ok(all)
}

/// A pair of connected sockets: ours is of the runtime, theirs blocks as any tool expects.
#[expect(clippy::disallowed_types, reason = "the other process's end")]
fn stream_pair() -> io::Result<(TcpStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    Ok((TcpStream::from_fd(ours.into())?, theirs.into()))
}

/// An address where nobody listens, for a tool that must be told one.
pub(crate) fn free_addr(ip: &str) -> io::Result<SocketAddr> {
    UdpSocket::bind(format!("{ip}:0").as_str())?.local_addr()
}
