//! SRT for coroutines: connect, accept, receive and send that look blocking and suspend only their caller.
//!
//! ```no_run
//! use std::time::Duration;
//! use thalweg_runtime as rt;
//! use thalweg_srt_io::{self as srt, Options};
//!
//! fn main() -> std::io::Result<()> {
//!     rt::run(|| {
//!         let options = Options::live().latency(Duration::from_millis(120));
//!         let listener = srt::Listener::bind("127.0.0.1:10080", &options)?;
//!         loop {
//!             let (socket, peer) = listener.accept()?; // suspends this coroutine only
//!             rt::spawn(move || {
//!                 let mut buf = [0; 1500];
//!                 while let Ok(bytes) = socket.recv(&mut buf) {
//!                     println!("{bytes} bytes from {peer}");
//!                 }
//!             });
//!         }
//!     })
//! }
//! ```
//!
//! # What to know
//!
//! **Waiting** follows the runtime's rules: deadlines and cancellation end it, both are looked for on entry, and
//! what was handed over wins. A socket belongs to no runtime: it may be moved to another thread.
//!
//! **The tail** of a live stream is what the peer has not played yet. [`Socket::finish`] waits for it,
//! [`Socket::close`] and dropping do not. What came before the peer closed is received in any case.
//!
//! **Who may connect** is said by a table beforehand, [`Admission`], since SRT asks before a connection is made and does
//! not wait for the answer.
//!
//! **Threads**: libsrt has one for the process, two for each UDP port, and one for each connection that has received
//! something; this crate has one more that waits for its events while there are sockets. All of them block all signals.
//!
//! **Logs**: what libsrt has to say, warnings and worse, comes as events of `tracing` with target `srt` and level
//! `DEBUG`; of a flood, some.

mod admission;
pub mod advisor;
mod connection;
mod error;
mod library;
mod libsrt;
mod message;
pub mod options;
pub mod reject;
pub mod reorder;
pub mod stats;
pub mod stream_id;
pub mod url;

pub use admission::{Admission, Attempt, Network, NetworkError, StreamRule};
pub use connection::{Encryption, KeyState, Latency};
pub use error::{
    AcceptError, BindError, ConnectError, FinishError, RecvError, SendError, SrtError, StartError,
    Step,
};
pub use library::{Features, Library, cleanup, library};
pub use libsrt::{Listener, Refusal, Refusals, Socket};
pub use message::{Batch, Message, Received};
pub use options::{OptionError, OptionName, OptionValue, Options, Secret};
pub use reject::RejectReason;
pub use stats::Stats;
pub use stream_id::StreamId;
pub use url::SrtUrl;
