//! A blocking thread for each socket, straight on libsrt; for sending, the C program `send.c`.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::meter::{Logs, windows};
use super::raw::{self, Socket};
use super::{LATENCY_MS, MESSAGE_BYTES, SEND_SPACING, SrtContender};
use crate::child::write_port;
use crate::measure::{Outcome, Plan};

/// The contender `thread`.
#[derive(Debug)]
pub(crate) struct Thread;

impl SrtContender for Thread {
    fn receive(&self, plan: Plan, spacing: Option<Duration>) -> Outcome {
        let listener = Socket::listen(LATENCY_MS, plan.n)?;
        write_port(listener.port()?);
        let logs = Logs::new(plan.n);
        for log in logs.iter() {
            let (socket, log) = (listener.accept()?, Arc::clone(log));
            thread::Builder::new().spawn(move || {
                let mut buf = [0; MESSAGE_BYTES];
                while let Ok(Some(due_us)) = socket.recv(&mut buf) {
                    log.received(raw::now_us() - due_us);
                }
            })?;
        }
        windows(plan, spacing, &logs, |duration| {
            thread::sleep(duration);
            Ok(())
        })
    }

    fn send(&self, plan: Plan) -> Outcome {
        let args = [
            plan.n.to_string(),
            plan.reps.to_string(),
            plan.rep.as_millis().to_string(),
            MESSAGE_BYTES.to_string(),
            SEND_SPACING.as_micros().to_string(),
        ];
        Err(Command::new(env!("THALWEG_SEND_C")).args(args).exec().into())
    }
}
