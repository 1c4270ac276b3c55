//! SRT as a test speaks it: publishers and players of our own, each on a thread with a runtime.

use crate::gateway::Gateway;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use thalweg_runtime as rt;
use thalweg_srt_io::{ConnectError, Options, RecvError, RejectReason, Socket};

/// As much as fits a datagram of Ethernet: seven packets.
const MESSAGE_BYTES: usize = 7 * 188;

/// Between two looks at the clock of a publisher.
const STEP: Duration = Duration::from_millis(5);

/// How long a publisher waits until what it sent has arrived.
const FINISH: Duration = Duration::from_secs(10);

/// The most that any of this may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A publisher on its own thread.
#[derive(Debug)]
pub struct Publisher {
    thread: thread::JoinHandle<Result<(), RejectReason>>,
    stop: Arc<AtomicBool>,
}

/// A player on its own thread, which keeps all that it gets.
#[derive(Debug)]
pub struct Player {
    thread: thread::JoinHandle<Result<(), RejectReason>>,
    got: Arc<Mutex<Vec<u8>>>,
}

/// Publishes these packets at `bytes_per_s`, and then says goodbye.
#[must_use]
pub fn publish(gateway: &Gateway, stream: &str, packets: Arc<[u8]>, bytes_per_s: u64) -> Publisher {
    let (peer, stream_id) = (gateway.srt, format!("#!::r={stream},m=publish"));
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = thread::spawn(move || {
        run(move || {
            let socket = connect(peer, stream_id)?;
            send(&socket, &packets, bytes_per_s, &told);
            // What has not arrived by then is missed by the test.
            let _finished = socket.finish(rt::now() + FINISH);
            Ok(())
        })
    });
    Publisher { thread, stop }
}

/// Connects as a publisher, and sends nothing until it is told to stop or is disconnected.
#[must_use]
pub fn publish_nothing(gateway: &Gateway, stream: &str) -> Player {
    attend(gateway.srt, format!("#!::r={stream},m=publish"))
}

/// Plays a stream until it ends.
#[must_use]
pub fn play(gateway: &Gateway, stream: &str) -> Player {
    attend(gateway.srt, format!("#!::r={stream},m=request"))
}

/// Connects, and takes what comes until the other side disconnects.
///
/// # Panics
///
/// Its thread does when receiving fails otherwise; [`Player::finish`] tells.
#[must_use]
pub fn attend(peer: SocketAddr, stream_id: String) -> Player {
    let got = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&got);
    let thread = thread::spawn(move || {
        run(move || {
            let socket = connect(peer, stream_id)?;
            let mut buf = vec![0; 1456];
            loop {
                match socket.recv(&mut buf) {
                    Ok(len) => taken.lock().expect("nobody panics with it").extend(&buf[..len]),
                    Err(RecvError::Disconnected | RecvError::Broken | RecvError::Closed) => {
                        return Ok(());
                    }
                    Err(error) => panic!("an SRT player: {error:?}"),
                }
            }
        })
    });
    Player { thread, got }
}

/// Connects with this stream id and closes again; an error is the code with which the listener refused.
///
/// # Errors
///
/// Why it was refused.
pub fn knock(peer: SocketAddr, stream_id: &str) -> Result<(), RejectReason> {
    let stream_id = stream_id.to_owned();
    run(move || connect(peer, stream_id).map(drop))
}

fn connect(peer: SocketAddr, stream_id: String) -> Result<Socket, RejectReason> {
    match Socket::connect(peer, &Options::live().stream_id(stream_id)) {
        Ok(socket) => Ok(socket),
        Err(ConnectError::Rejected { reason, .. }) => Err(reason),
        Err(error) => panic!("no SRT connection: {error}"),
    }
}

/// Sends messages as they are due; stops early when it is told to or disconnected.
fn send(socket: &Socket, packets: &[u8], bytes_per_s: u64, stop: &AtomicBool) {
    let begun = rt::now();
    let mut sent = 0_u64;
    for message in packets.chunks(MESSAGE_BYTES) {
        while u128::from(sent) * 1_000_000 > begun_us(begun) * u128::from(bytes_per_s) {
            rt::sleep(STEP).expect("nobody cancels a test");
        }
        if stop.load(Ordering::Relaxed) || socket.send(message).is_err() {
            return;
        }
        sent += message.len() as u64;
    }
}

fn begun_us(begun: std::time::Instant) -> u128 {
    rt::now().saturating_duration_since(begun).as_micros()
}

fn run<T: 'static>(f: impl FnOnce() -> T + 'static) -> T {
    let runtime = rt::Runtime::builder().build().expect("a runtime can be built");
    runtime.block_on(|| rt::timeout(PATIENCE, f)).expect("the runtime works")
}

impl Publisher {
    /// Waits until all was sent; an error is the code with which it was refused.
    ///
    /// # Errors
    ///
    /// Why it was refused.
    ///
    /// # Panics
    ///
    /// When the publisher did.
    pub fn finish(self) -> Result<(), RejectReason> {
        self.thread.join().expect("the publisher does not panic")
    }

    /// Ends it before all was sent.
    ///
    /// # Panics
    ///
    /// When the publisher did, or was refused.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().expect("it was not refused");
    }
}

impl Player {
    /// How many bytes have come so far.
    ///
    /// # Panics
    ///
    /// When the player did.
    #[must_use]
    pub fn received(&self) -> usize {
        self.got.lock().expect("nobody panics with it").len()
    }

    /// Waits until the gateway ended the connection; all that came.
    ///
    /// # Errors
    ///
    /// Why it was refused.
    ///
    /// # Panics
    ///
    /// When the player did.
    pub fn finish(self) -> Result<Vec<u8>, RejectReason> {
        self.thread.join().expect("the player does not panic")?;
        Ok(std::mem::take(&mut *self.got.lock().expect("nobody panics with it")))
    }
}
