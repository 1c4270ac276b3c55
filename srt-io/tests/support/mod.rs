//! What the test programs share: connected pairs of sockets, and threads with a runtime of their own.

use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::{Listener, Options, Socket};

/// Long enough for anything that is meant to happen, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Runs `f` as a coroutine with a deadline over all its waits.
pub(crate) fn run<T: 'static>(f: impl FnOnce() -> T + 'static) -> T {
    let runtime = rt::Runtime::builder().build().expect("a runtime can be built");
    runtime.block_on(|| rt::timeout(LONG, f)).expect("the runtime works")
}

/// A listener on a free port of the loopback.
pub(crate) fn listener(options: &Options) -> Listener {
    Listener::bind("127.0.0.1:0", options).expect("a free port can be bound")
}

/// Two ends of a connection: who called, and who was called.
pub(crate) fn pair(options: &Options) -> (Socket, Socket) {
    pair_of(&listener(options), options)
}

/// Two ends of a connection to `listener`.
pub(crate) fn pair_of(listener: &Listener, options: &Options) -> (Socket, Socket) {
    let caller = Socket::connect(listener.local_addr(), options).expect("the listener answers");
    let (called, _) = listener.accept().expect("the caller waits");
    (caller, called)
}

/// Live mode with as little latency as the loopback needs.
pub(crate) fn quick() -> Options {
    Options::live().latency(Duration::from_millis(20))
}

/// A message of live mode that begins with `number`.
pub(crate) fn numbered(number: u32) -> [u8; 1316] {
    let mut message = [0; 1316];
    message[..4].copy_from_slice(&number.to_be_bytes());
    message
}

/// The number that a message begins with.
pub(crate) fn number(message: &[u8]) -> u32 {
    let (number, _) = message.split_first_chunk().expect("messages of tests are numbered");
    u32::from_be_bytes(*number)
}

/// Waits until `done`, looking every few milliseconds, as what is waited for tells nobody.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = rt::now() + LONG;
    while !done() {
        assert!(rt::now() < end, "waited in vain for {what}");
        rt::sleep(Duration::from_millis(5)).expect("nobody cancels a test");
    }
}
