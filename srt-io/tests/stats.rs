//! Statistics of real connections, and the reorder tolerance that they steer.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use thalweg_badlink::Link;
use thalweg_runtime as rt;
use thalweg_srt_io::{Listener, Options, Socket, reorder};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const HEADERS: u64 = 44;
const MESSAGE: usize = 1316;

fn run<T: 'static>(f: impl FnOnce() -> Outcome<T> + 'static) -> io::Result<T> {
    rt::run(move || f().map_err(|error| io::Error::other(error.to_string())))
}

/// A listener of ours, a way to it, and both ends of a connection over that way.
fn pair(
    options: &Options,
    way: impl FnOnce(SocketAddr) -> io::Result<(SocketAddr, Option<Link>)>,
) -> Outcome<(Socket, Socket, Option<Link>)> {
    let listener = Listener::bind("127.0.0.1:0", options)?;
    let (addr, link) = way(listener.local_addr())?;
    let calling = rt::spawn({
        let options = options.clone();
        move || Socket::connect(addr, &options)
    });
    let (accepted, _peer) = listener.accept()?;
    let called = calling.join().map_err(|_| "the caller panicked")??;
    Ok((called, accepted, link))
}

fn direct(addr: SocketAddr) -> io::Result<(SocketAddr, Option<Link>)> {
    Ok((addr, None))
}

#[test]
fn packets_and_bytes_are_counted_in_full() -> io::Result<()> {
    run(|| {
        let latency = Duration::from_millis(50);
        let (caller, listener, _) = pair(&Options::live().latency(latency), direct)?;
        let mut buf = [0; 1456];
        for _ in 0..100 {
            caller.send(&[7; MESSAGE])?;
            listener.recv(&mut buf)?;
        }
        let size = u64::try_from(MESSAGE)? + HEADERS;
        let (sent, received) = (caller.stats()?, listener.stats()?);
        assert_eq!(sent.total.sent_unique_packets, 100);
        assert_eq!(sent.total.sent_unique_bytes, 100 * size);
        assert_eq!(received.total.recv_unique_packets, 100);
        assert_eq!(received.total.recv_unique_bytes, 100 * size);
        assert_eq!(received.interval.counters, received.total);
        assert_eq!((received.now.recv_latency, sent.now.send_latency), (latency, latency));
        assert_eq!(received.now.mss_bytes, 1500);
        assert!(received.elapsed >= latency && received.total.sent_acks > 0);

        // The next interval begins with nothing, the totals stay.
        let taken = listener.take_stats()?;
        assert_eq!(taken.interval.counters.recv_unique_packets, 100);
        let next = listener.stats()?;
        assert_eq!(next.interval.counters.recv_unique_packets, 0);
        assert_eq!(next.total.recv_unique_packets, 100);
        assert_eq!(next.total.since(&taken.total).recv_unique_packets, 0);
        Ok(())
    })
}

#[test]
fn an_ended_connection_has_no_statistics() -> io::Result<()> {
    run(|| {
        let (caller, listener, _) = pair(&Options::live(), direct)?;
        drop(caller);
        assert!(listener.recv(&mut [0; 1456]).is_err());
        assert!(listener.stats().is_err());
        assert_eq!(reorder::hold_tolerance(&listener, Duration::from_millis(1)), Ok(()));
        Ok(())
    })
}

/// What a bad link cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    retransmitted: u64,
    dropped: u64,
}

/// Receives until the connection ends; packets dropped until then.
fn receive_all(listener: &Socket) -> Result<u64, String> {
    let mut buf = vec![0; 1456];
    let mut dropped = 0;
    while listener.recv(&mut buf).is_ok() {
        if let Ok(stats) = listener.stats() {
            dropped = stats.total.recv_dropped_packets;
        }
    }
    Ok(dropped)
}

/// 2500 messages, 500 a second, over a link of 80 ms, 1 % loss, and one packet in ten 20 ms late.
fn over_a_bad_link(options: &Options, adaptive: bool) -> Outcome<Cost> {
    let (caller, listener, _link) = pair(options, |target| {
        let link = Link::builder()
            .delay(Duration::from_millis(40))
            .loss(1.0)
            .reorder(10.0, Duration::from_millis(20))
            .seed(7)
            .start(target)?;
        Ok((link.addr(), Some(link)))
    })?;
    let listener = Rc::new(listener);
    let holder = adaptive.then(|| {
        let listener = Rc::clone(&listener);
        rt::spawn(move || reorder::hold_tolerance(&listener, Duration::from_millis(200)))
    });
    let receiver = rt::spawn(move || receive_all(&listener));
    let begin = rt::now();
    for n in 0..2500_u32 {
        caller.send(&[7; MESSAGE])?;
        rt::sleep_until(begin + Duration::from_millis(2) * n)?;
    }
    let retransmitted = caller.stats()?.total.retransmitted_packets;
    caller.finish(rt::now() + Duration::from_secs(5))?;
    drop(caller);
    let dropped = receiver.join().map_err(|_| "the receiver panicked")??;
    if let Some(holder) = holder {
        holder.join().map_err(|_| "the holder panicked")??;
    }
    Ok(Cost { retransmitted, dropped })
}

#[test]
fn holding_the_tolerance_halves_what_jitter_makes_be_sent_again() -> io::Result<()> {
    run(|| {
        let options = Options::live().latency(Duration::from_millis(400));
        let plain = rt::spawn({
            let options = options.clone();
            move || over_a_bad_link(&options, false).map_err(|error| error.to_string())
        });
        let held = over_a_bad_link(&options, true)?;
        let plain = plain.join().map_err(|_| "panicked")??;
        assert!(plain.retransmitted > 200, "the link is not bad: {plain:?}");
        assert!(held.retransmitted * 2 <= plain.retransmitted, "{held:?}, {plain:?} without");
        assert!(held.dropped <= plain.dropped, "{held:?}, {plain:?} without");
        Ok(())
    })
}
