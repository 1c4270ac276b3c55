//! `srt-io` as a user would use it: a coroutine for each socket, default options but for the latency.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg_runtime as rt;
use thalweg_srt_io::reorder::hold_tolerance;
use thalweg_srt_io::{Listener, Options, Received, Socket};

use super::long_haul::{self, Journey, SPACING, TAIL};
use super::meter::{Logs, windows};
use super::{LATENCY_MS, MESSAGE_BYTES, SEND_SPACING, SrtContender};
use crate::child::write_port;
use crate::measure::{Outcome, Plan};

/// The contender `thalweg`.
#[derive(Debug)]
pub(crate) struct Thalweg;

impl SrtContender for Thalweg {
    fn receive(&self, plan: Plan, spacing: Option<Duration>) -> Outcome {
        rt::Runtime::builder().build()?.block_on(move || {
            let listener = listen()?;
            let logs = Logs::new(plan.n);
            for log in logs.iter() {
                let (socket, _peer) = listener.accept()?;
                let log = Arc::clone(log);
                let _detached = rt::spawn(move || {
                    let mut buf = [0; MESSAGE_BYTES];
                    while let Ok(received) = socket.recv_message(&mut buf) {
                        log.received(late_us(received));
                    }
                });
            }
            windows(plan, spacing, &logs, |duration| Ok(rt::sleep(duration)?))
        })?
    }

    fn send(&self, plan: Plan) -> Outcome {
        rt::Runtime::builder().build()?.block_on(move || {
            let listener = listen()?;
            let players = (0..plan.n)
                .map(|_index| Ok(listener.accept()?.0))
                .collect::<io::Result<Vec<Socket>>>()?;
            let logs = Logs::new(plan.n);
            let step = SEND_SPACING / u32::try_from(plan.n)?;
            let mut begin = Instant::now();
            for (player, log) in players.into_iter().zip(logs.iter()) {
                let (log, mut due) = (Arc::clone(log), begin);
                let _detached = rt::spawn(move || {
                    let message = [0; MESSAGE_BYTES];
                    while rt::sleep_until(due).is_ok() && player.send(&message).is_ok() {
                        log.sent();
                        due += SEND_SPACING;
                    }
                });
                begin += step;
            }
            windows(plan, Some(SEND_SPACING), &logs, |duration| Ok(rt::sleep(duration)?))
        })?
    }

    fn long_haul(&self, plan: Plan) -> Outcome {
        rt::Runtime::builder().build()?.block_on(move || {
            let options = Options::long_haul().latency(ms(long_haul::LATENCY_MS));
            let listener = Listener::bind("127.0.0.1:0", &options)?;
            let link = long_haul::link(listener.local_addr().port())?;
            let arrived = Rc::new(Cell::new(0));
            let count = Rc::clone(&arrived);
            let _detached = rt::spawn(move || {
                let Ok((socket, _peer)) = listener.accept() else { return };
                let socket = Rc::new(socket);
                let held = Rc::clone(&socket);
                let _detached = rt::spawn(move || hold_tolerance(&held, HOLD_INTERVAL));
                while socket.recv(&mut [0; MESSAGE_BYTES]).is_ok() {
                    count.set(count.get() + 1);
                }
            });
            let sender = Socket::connect(link.addr(), &options)?;
            let sent = send_for(plan.rep, &sender)?;
            let resent = sender.stats()?.total.retransmitted_packets;
            Ok(Journey { sent, arrived: arrived.get(), resent }.samples(&link))
        })?
    }
}

/// Sends a message each [`SPACING`] for as long as `time`, and waits for the tail; returns how many.
fn send_for(time: Duration, sender: &Socket) -> Result<u64, Failure> {
    let (end, mut due) = (rt::now() + time, rt::now());
    let mut sent = 0;
    while rt::now() < end {
        sender.send(&[0x47; MESSAGE_BYTES])?;
        sent += 1;
        due += SPACING;
        rt::sleep_until(due)?;
    }
    rt::sleep(TAIL)?;
    Ok(sent)
}

/// How long ago the message was due.
fn late_us(message: Received) -> i64 {
    let late = message.due.map_or(Duration::MAX, |due| due.elapsed());
    i64::try_from(late.as_micros()).unwrap_or(i64::MAX)
}

fn listen() -> io::Result<Listener> {
    let options = Options::live().latency(ms(LATENCY_MS));
    let listener = Listener::bind("127.0.0.1:0", &options)?;
    write_port(listener.local_addr().port());
    Ok(listener)
}

fn ms(count: i32) -> Duration {
    Duration::from_millis(count.unsigned_abs().into())
}

type Failure = Box<dyn Error + Send + Sync>;

/// How often the reorder tolerance is looked at.
const HOLD_INTERVAL: Duration = Duration::from_millis(200);
