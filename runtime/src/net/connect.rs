//! Connecting to a host by name: its addresses are raced as RFC 8305 ("Happy Eyeballs") has it.
//!
//! The families take turns, beginning with that of the first address (§4). An attempt is given
//! 250 ms before the next begins beside it, or less when it fails (§5); the first that succeeds wins
//! and the others are closed. One coroutine waits for all of them. Both families are looked up by
//! one call of the resolver, so there is no "Resolution Delay" (§3), and no history of addresses.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::clock::nanos;
use crate::error::timed_out;
use crate::fd::{Interest, poll_many};
use crate::net::resolve;
use crate::net::tcp::TcpStream;
use crate::wait::{self, Here};

/// RFC 8305 §5, the "Connection Attempt Delay" that it recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first address of `host` that answers.
#[cfg_attr(debug_assertions, track_caller)]
pub(super) fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = resolve::look_up(host, port)?;
    let here = wait::enter()?;
    let mut race =
        Race { untried: interleave(&addresses), under_way: Vec::new(), lost: Vec::new() };
    race.run(here)?.ok_or_else(|| race.failure(host, port))
}

/// Connections to several addresses of one host, of which one is wanted.
struct Race {
    untried: VecDeque<SocketAddr>,
    under_way: Vec<(SocketAddr, TcpStream)>,
    lost: Vec<(SocketAddr, io::Error)>,
}

impl Race {
    /// The first connection that is made; none when every address has failed.
    fn run(&mut self, here: Here) -> io::Result<Option<TcpStream>> {
        loop {
            if let Some(address) = self.untried.pop_front() {
                match TcpStream::begin(here, address) {
                    Ok((stream, false)) => return Ok(Some(stream)),
                    Ok((stream, true)) => self.under_way.push((address, stream)),
                    Err(error) => {
                        self.lost.push((address, error));
                        continue;
                    }
                }
            } else if self.under_way.is_empty() {
                return Ok(None);
            }
            let next = (!self.untried.is_empty()).then(|| {
                let clock = &here.scheduler.clock;
                clock.instant(clock.refresh().saturating_add(nanos(ATTEMPT_DELAY)))
            });
            if let Some(index) = self.wait(next)? {
                let (address, stream) = self.under_way.swap_remove(index);
                match stream.take_error() {
                    Ok(None) => return Ok(Some(stream)),
                    Ok(Some(error)) | Err(error) => self.lost.push((address, error)),
                }
            }
        }
    }

    /// Waits until an attempt is over, which one is the result, or until `next`.
    fn wait(&self, next: Option<Instant>) -> io::Result<Option<usize>> {
        let ready = match &self.under_way[..] {
            [(_, stream)] => stream.net_fd().poll(Interest::Writable, next).map(|_| Some(0)),
            several => {
                let fds: Vec<_> = several
                    .iter()
                    .map(|(_, stream)| (stream.as_fd(), Interest::Writable))
                    .collect();
                let is_over = |ready: &crate::fd::Ready| ready.writable || ready.hung_up;
                poll_many(&fds, next).map(|ready| ready.iter().position(is_over))
            }
        };
        match ready {
            Err(error) if next.is_some() && timed_out(&error).is_some() => {
                // Of a deadline around this call the caller is told in its own terms.
                if timed_out(&error).is_some_and(|passed| passed.is_outer()) {
                    wait::enter()?;
                }
                Ok(None)
            }
            result => result,
        }
    }

    /// What became of every address.
    fn failure(&self, host: &str, port: u16) -> io::Error {
        let mut text = format!("cannot connect to {host}:{port}:");
        for (index, (address, error)) in self.lost.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            let _infallible = write!(text, "{separator} {address}: {error}");
        }
        let last = self.lost.last();
        let kind = last.map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
        io::Error::new(kind, text)
    }
}

/// The addresses of both families in turns, each family in its order.
fn interleave(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let Some(first) = addresses.first() else { return VecDeque::new() };
    let (mut ours, mut others): (VecDeque<SocketAddr>, VecDeque<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut turns = VecDeque::with_capacity(addresses.len());
    while !ours.is_empty() || !others.is_empty() {
        turns.extend(ours.pop_front());
        turns.extend(others.pop_front());
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        let parse = |list: &str| -> Vec<SocketAddr> {
            list.split(' ').map(|text| text.parse().unwrap()).collect()
        };
        let cases = [
            (
                "[::1]:1 [::2]:1 [::3]:1 1.0.0.0:1 2.0.0.0:1",
                "[::1]:1 1.0.0.0:1 [::2]:1 2.0.0.0:1 [::3]:1",
            ),
            ("1.0.0.0:1 2.0.0.0:1 [::1]:1", "1.0.0.0:1 [::1]:1 2.0.0.0:1"),
            ("1.0.0.0:1 2.0.0.0:1", "1.0.0.0:1 2.0.0.0:1"),
        ];
        for (given, expected) in cases {
            assert_eq!(interleave(&parse(given)), parse(expected), "{given}");
        }
        assert!(interleave(&[]).is_empty());
    }
}
