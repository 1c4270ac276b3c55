//! The contenders: one file each, all with the functions of [`Contender`], so that the work is the
//! same.

mod corosensei;
mod epoll;
mod state_threads;
mod thalweg;
mod tokio;

use std::io;
use std::net::TcpListener;

use crate::case::ContenderName;
use crate::measure::{Outcome, Plan};

/// The cases, as a contender runs them in a process of its own. What a contender has no notion of
/// stays [`unsupported`].
pub(crate) trait Contender {
    /// `plan.n` coroutines yield in turn; ns per yield.
    ///
    /// Each waits at a gate first, and the gates open in random order: so the round visits stacks
    /// (or tasks) in an order that has nothing to do with their addresses, as in a server that runs
    /// for long.
    fn yield_round_robin(&self, _plan: Plan) -> Outcome {
        unsupported()
    }

    /// Two coroutines wake each other in turn; ns per round trip.
    fn cond(&self, _plan: Plan) -> Outcome {
        unsupported()
    }

    /// The same with a 5 s deadline on each wait while `plan.n` others sleep.
    fn cond_deadline(&self, _plan: Plan) -> Outcome {
        unsupported()
    }

    /// `plan.n` empty coroutines are spawned, then joined; ns for each.
    fn spawn(&self, _plan: Plan) -> Outcome {
        unsupported()
    }

    /// `plan.n` coroutines sleep for random times again and again; CPU ns per expiry.
    fn timer(&self, _plan: Plan) -> Outcome {
        unsupported()
    }

    /// Serves echo on `listener` until the process is ended.
    fn echo(&self, _listener: TcpListener) -> Outcome {
        unsupported()
    }

    /// `plan.n` coroutines with the default stack sleep; bytes for each.
    fn memory(&self, _plan: Plan) -> Outcome {
        unsupported()
    }
}

pub(crate) fn of(name: ContenderName) -> io::Result<&'static dyn Contender> {
    Ok(match name {
        ContenderName::Thalweg => &thalweg::Thalweg,
        ContenderName::Tokio => &tokio::Tokio,
        ContenderName::StateThreads => &state_threads::StateThreads,
        ContenderName::Corosensei => &corosensei::Corosensei,
        ContenderName::Epoll => &epoll::Epoll,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}

fn unsupported() -> Outcome {
    Err(io::Error::from(io::ErrorKind::Unsupported).into())
}

/// Every contender shuffles its gates and draws its sleeps from the same seed.
const SEED: u64 = 0x7a16;
