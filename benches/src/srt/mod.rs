//! The SRT cases: the contenders, one file each, and the other end of their connections.
//!
//! A child process listens on loopback, prints its port and waits until all callers of its case have come
//! from [`load`], another process. Nothing is pinned to a core: libsrt has threads of its own, and a
//! server of it would not be pinned either.

mod libsrt;
pub(crate) mod load;
mod long_haul;
mod meter;
mod poll;
pub(crate) mod raw;
mod thalweg;
mod thread;

use std::io;
use std::time::Duration;

use crate::case::{Case, ContenderName};
use crate::measure::{Outcome, Plan};

/// The cases, as a contender runs them in a process of its own. What a contender has no notion of
/// stays [`unsupported`].
pub(crate) trait SrtContender {
    /// Receives from `plan.n` callers; CPU, lateness, threads and memory.
    fn receive(&self, _plan: Plan, _spacing: Option<Duration>) -> Outcome {
        unsupported()
    }

    /// Sends to `plan.n` callers, each at [`SEND_SPACING`].
    fn send(&self, _plan: Plan) -> Outcome {
        unsupported()
    }

    /// Sends to itself over a long and lossy link; what was sent again, what did not arrive.
    fn long_haul(&self, _plan: Plan) -> Outcome {
        unsupported()
    }
}

/// Measures a case in this process.
pub(crate) fn measure(case: Case, name: ContenderName, plan: Plan) -> Outcome {
    let contender: &dyn SrtContender = match name {
        ContenderName::Thalweg => &thalweg::Thalweg,
        ContenderName::Thread => &thread::Thread,
        ContenderName::Poll => &poll::Poll,
        ContenderName::Libsrt => &libsrt::Libsrt,
        _ => return unsupported(),
    };
    match case {
        Case::Send => contender.send(plan),
        Case::LongHaul => contender.long_haul(plan),
        _ => contender.receive(plan, spacing(case)),
    }
}

/// The time between two messages of a socket; `None` when none are sent to the contender.
fn spacing(case: Case) -> Option<Duration> {
    match case {
        Case::Wake1 => Some(Duration::from_millis(1)),
        Case::Wake10 => Some(Duration::from_millis(10)),
        Case::Receive => Some(RECEIVE_SPACING),
        _ => None,
    }
}

fn unsupported() -> Outcome {
    Err(io::Error::from(io::ErrorKind::Unsupported).into())
}

/// Seven TS packets, the usual message of live SRT.
const MESSAGE_BYTES: usize = 1316;
/// 1 Mbit/s.
const RECEIVE_SPACING: Duration = Duration::from_micros(10_528);
/// 2 Mbit/s.
const SEND_SPACING: Duration = Duration::from_micros(5_264);
/// Of every socket of the cases on loopback: the time a message waits before it is due.
const LATENCY_MS: i32 = 20;
