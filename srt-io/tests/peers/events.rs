//! No event is lost: a minute of ping-pong in which every coroutine waits for exactly one event.
//!
//! libsrt tells of a message once, when its socket becomes readable. Pairs of sockets pass a few messages back and
//! forth, and nobody sends before all have come back; so a single event that went missing, anywhere from
//! libsrt to the coroutine, would leave that pair waiting until its deadline. Two runtimes on two threads
//! share the bridge. How many messages travel and how long a pair thinks changes all the time, so that events
//! meet sockets that are being drained, parked coroutines, and busy turns.

#![expect(clippy::unwrap_used, reason = "a pair that fails fails the test")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use thalweg_badlink::Rng;
use thalweg_runtime as rt;
use thalweg_srt_io::{Listener, Options, Socket};

use super::support::{Outcome, message};

const PAIRS_PER_RUNTIME: u64 = 12;
const TIME: Duration = Duration::from_secs(61);
/// Nothing takes this long on loopback, however busy: whoever waits for it missed an event.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn no_event_is_lost_in_a_minute_of_ping_pong() {
    let rounds = std::thread::scope(|scope| {
        let runtimes = [0, 1].map(|seed| scope.spawn(move || one_runtime(seed)));
        runtimes.map(|runtime| runtime.join().unwrap())
    });
    // Each pair thinks for 10 ms in the mean: some thousand rounds at least, or nothing was tested.
    assert!(rounds.iter().all(|&rounds| rounds > 5_000), "{rounds:?}");
}

/// Runs the pairs of one runtime and returns how many rounds they made together.
fn one_runtime(seed: u64) -> u64 {
    rt::run(move || -> std::io::Result<u64> {
        let end = rt::now() + TIME;
        let options = Options::live().latency(Duration::from_millis(1));
        let listener = Listener::bind("127.0.0.1:0", &options)?;
        let addr = listener.local_addr();
        let pairs: Vec<_> = (0..PAIRS_PER_RUNTIME)
            .map(|index| {
                let options = options.clone();
                let rng = Rng::new(seed << 32 | index);
                rt::spawn(move || ping(addr, &options, rng, end).map_err(|error| error.to_string()))
            })
            .collect();
        for _ in 0..PAIRS_PER_RUNTIME {
            let (socket, _peer) = listener.accept()?;
            let _ends_with_its_pair = rt::spawn(move || pong(&socket));
        }
        let rounds = pairs.iter().map(|pair| pair.join().unwrap().unwrap()).sum();
        Ok(rounds)
    })
    .unwrap()
}

fn ping(addr: SocketAddr, options: &Options, mut rng: Rng, end: Instant) -> Outcome<u64> {
    let socket = Socket::connect(addr, options)?;
    let (mut rounds, mut next) = (0, 0);
    while rt::now() < end {
        let burst = 1 + u32::try_from(rng.below(6))?;
        for number in next..next + burst {
            socket.send(&message::encode(number))?;
        }
        for number in next..next + burst {
            let echoed = rt::timeout(PATIENCE, || receive(&socket))
                .map_err(|error| format!("round {rounds}, message {number}: {error}"))?;
            assert_eq!(echoed, Some(number));
        }
        next += burst;
        rounds += 1;
        match rng.below(4) {
            0 => {}
            1 => rt::yield_now()?,
            _ => rt::sleep(Duration::from_micros(rng.below(27_000)))?,
        }
    }
    Ok(rounds)
}

/// Sends back what comes, until the peer has left.
fn pong(socket: &Socket) {
    let mut buf = [0; message::BYTES];
    while let Ok(len) = socket.recv(&mut buf) {
        if socket.send(&buf[..len]).is_err() {
            return;
        }
    }
}

fn receive(socket: &Socket) -> Result<Option<u32>, thalweg_srt_io::RecvError> {
    let mut buf = [0; message::BYTES];
    let len = socket.recv(&mut buf)?;
    Ok(message::number(&buf[..len]))
}
