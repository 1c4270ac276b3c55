//! The processes of a measurement and what the kernel knows of them.
//!
//! The gateway is this program once more, so that it is built as the bench is.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::measure::status_field;

/// A process that has said that it is ready; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a program and reads its output until `is_ready` returns something for a line.
    pub(super) fn start<T>(
        mut command: Command,
        mut is_ready: impl FnMut(&str) -> Option<T>,
    ) -> Result<(Self, T), Box<dyn Error>> {
        let name = format!("{command:?}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("the child has no stdin")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("the child has no stdout")?);
        let mut process = Self { child, stdin, stdout };
        loop {
            let line = process.line()?;
            if line.is_empty() {
                return Err(format!("ended before it was ready: {name}").into());
            }
            if let Some(ready) = is_ready(&line) {
                return Ok((process, ready));
            }
        }
    }

    /// Starts this program with a hidden command whose first line has a number.
    pub(super) fn start_self(args: &[&str]) -> Result<(Self, u16), Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.args(args);
        Self::start(command, port_of)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks for the next line, and waits for it.
    pub(super) fn ask(&mut self) -> Result<String, Box<dyn Error>> {
        self.tell("")
    }

    /// Says a line, and waits for the next.
    pub(super) fn tell(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        self.stdin.write_all(format!("{line}\n").as_bytes())?;
        Ok(self.line()?)
    }

    /// Reads all lines to the end of the process.
    pub(super) fn finish(mut self) -> Result<Vec<String>, Box<dyn Error>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the child ended with {status}").into());
        }
        Ok(lines)
    }

    /// The CPU time of all its threads.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            // A thread that has just ended is not asked any more.
            let stat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let ran = stat.split_whitespace().next().and_then(|field| field.parse().ok());
            total += Duration::from_nanos(ran.unwrap_or(0));
        }
        Ok(total)
    }

    /// Resident memory, in KiB.
    pub(super) fn rss_kib(&self) -> io::Result<u64> {
        status_field(&fs::read_to_string(format!("/proc/{}/status", self.id()))?, "VmRSS:")
    }

    /// How often its first thread has gone to sleep.
    pub(super) fn sleeps(&self) -> io::Result<u64> {
        let id = self.id();
        let status = fs::read_to_string(format!("/proc/{id}/task/{id}/status"))?;
        status_field(&status, "voluntary_ctxt_switches:")
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _gone = self.child.kill().is_err() || self.child.wait().is_err();
    }
}

/// The number that a process says when it is ready.
pub(super) fn port_of(line: &str) -> Option<u16> {
    line.trim().strip_prefix("port\t")?.parse().ok()
}

/// A running gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) process: Process,
    ports: Vec<(&'static str, u16)>,
}

impl Gateway {
    /// Starts it on free ports of loopback, on one core if that is given.
    pub(super) fn start(core: Option<usize>, set: &[&str]) -> Result<Self, Box<dyn Error>> {
        let core = core.map_or_else(|| "any".to_owned(), |core| core.to_string());
        let mut command = Command::new(env::current_exe()?);
        command.args(["gateway-serve", &core, "serve"]);
        for set in SETTINGS.iter().chain(set) {
            command.args(["--set", set]);
        }
        let mut ports = Vec::new();
        let (process, ()) = Process::start(command, |line| {
            for scheme in ["udp", "srt", "rtmp", "http"] {
                ports.extend(port_in(line, scheme).map(|port| (scheme, port)));
            }
            // The last line; HTTP comes somewhere after the inputs.
            let watch = ports.iter().any(|&(scheme, _port)| scheme == "http");
            (watch && line.trim().is_empty()).then_some(())
        })?;
        Ok(Self { process, ports })
    }

    /// The first port of a protocol.
    pub(super) fn port(&self, scheme: &str) -> Result<u16, String> {
        let found = self.ports.iter().find(|&&(known, _port)| known == scheme);
        found.map(|&(_scheme, port)| port).ok_or_else(|| format!("the gateway has no {scheme}"))
    }
}

/// The port of a URL in a line of what the gateway says at its start.
fn port_in(line: &str, scheme: &str) -> Option<u16> {
    let address = line.trim().strip_prefix(scheme)?.strip_prefix("://127.0.0.1")?;
    let Some(port) = address.strip_prefix(':') else {
        return (scheme == "rtmp").then_some(1935);
    };
    let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
    port.get(..digits)?.parse().ok()
}

const SETTINGS: &[&str] = &[
    "log.level=warn",
    "srt.listen=[\"127.0.0.1:0\"]",
    "srt.latency_ms=20",
    "rtmp.listen=[\"127.0.0.1:0\"]",
    "http.listen=[\"127.0.0.1:0\"]",
    "webrtc.listen=\"127.0.0.1:0\"",
    "udp=[{listen=\"127.0.0.1:0\",stream=\"live/cam0\"}]",
    "limits.connections=0",
    "limits.connections_per_ip=0",
];

#[cfg(test)]
mod tests {
    use super::port_in;

    #[test]
    fn ports_are_found_in_what_the_gateway_says() {
        let srt = "  srt://127.0.0.1:4071?streamid=#!::r=live/cam,m=publish\n";
        assert_eq!(port_in(srt, "srt"), Some(4071));
        assert_eq!(port_in(srt, "http"), None);
        assert_eq!(port_in("  udp://127.0.0.1:99   as live/cam0\n", "udp"), Some(99));
        assert_eq!(port_in("  rtmp://127.0.0.1/live/cam\n", "rtmp"), Some(1935));
    }
}
