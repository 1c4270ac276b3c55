//! When messages are due, as the receiver is told.

use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::{Listener, Options, Socket};

use super::support::{LATENCY, Outcome, live, message, run};

#[test]
fn a_message_is_handed_over_when_it_is_due_and_not_before() {
    run(|| {
        let (sender, receiver) = pair(&live())?;
        for number in 0..5 {
            let sent = rt::now();
            sender.send(&message::encode(number))?;
            let received = receiver.recv_message(&mut [0; message::BYTES])?;
            let due = received.due.ok_or("live messages have a time")?;
            // The time of the turn in which it was handed over may be from before that.
            rt::sleep(Duration::from_millis(1))?;
            assert_eq!(received.bytes, message::BYTES);
            assert!(due >= sent + LATENCY, "{:?} too early", sent + LATENCY - due);
            assert!(due <= rt::now(), "{:?} too early", due - rt::now());
        }
        Ok(())
    });
}

#[test]
fn without_timed_delivery_nothing_is_due() {
    run(|| {
        let (sender, receiver) = pair(&Options::message())?;
        sender.send(&message::encode(0))?;
        let received = receiver.recv_message(&mut [0; message::BYTES])?;
        assert_eq!((received.bytes, received.due), (message::BYTES, None));
        Ok(())
    });
}

fn pair(options: &Options) -> Outcome<(Socket, Socket)> {
    let listener = Listener::bind("127.0.0.1:0", options)?;
    let caller = Socket::connect(listener.local_addr(), options)?;
    Ok((caller, listener.accept()?.0))
}
