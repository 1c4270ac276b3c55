//! libsrt alone, with its defaults: connected and not read, or one thread that sends and one that
//! receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::long_haul::{self, Journey, SPACING, TAIL};
use super::meter::{Logs, windows};
use super::raw::Socket;
use super::{LATENCY_MS, MESSAGE_BYTES, SrtContender};
use crate::child::write_port;
use crate::measure::{Outcome, Plan};

/// The contender `libsrt`.
#[derive(Debug)]
pub(crate) struct Libsrt;

impl SrtContender for Libsrt {
    fn receive(&self, plan: Plan, spacing: Option<Duration>) -> Outcome {
        let listener = Socket::listen(LATENCY_MS, plan.n)?;
        write_port(listener.port()?);
        let mut sockets = Vec::with_capacity(plan.n);
        for _ in 0..plan.n {
            sockets.push(listener.accept()?);
        }
        windows(plan, spacing, &Logs::new(plan.n), |duration| {
            thread::sleep(duration);
            Ok(())
        })
    }

    fn long_haul(&self, plan: Plan) -> Outcome {
        let listener = Socket::listen(long_haul::LATENCY_MS, 1)?;
        let link = long_haul::link(listener.port()?)?;
        let arrived = Arc::new(AtomicU64::new(0));
        let receiver = {
            let arrived = Arc::clone(&arrived);
            move || {
                let mut buf = [0; MESSAGE_BYTES];
                let Ok(socket) = listener.accept() else { return };
                while let Ok(Some(_due_us)) = socket.recv(&mut buf) {
                    arrived.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        thread::Builder::new().spawn(receiver)?;
        let sender = Socket::new(long_haul::LATENCY_MS)?;
        sender.connect(link.addr().port())?;
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < plan.rep {
            sender.send(&[0x47; MESSAGE_BYTES])?;
            sent += 1;
            thread::sleep((start + SPACING * sent).saturating_duration_since(Instant::now()));
        }
        thread::sleep(TAIL);
        let resent = u64::try_from(sender.stats()?.pktRetransTotal)?;
        let arrived = arrived.load(Ordering::Relaxed);
        Ok(Journey { sent: u64::from(sent), arrived, resent }.samples(&link))
    }
}
