//! The one accept loop: limits, a coroutine and a span for each connection, its closing line.
//!
//! A protocol gives two functions: how to accept, and what a connection does from its first byte to its last. The
//! second returns why it is over; nothing below it logs that too.

use crate::hub::{Client, Clients, Refusal};
use std::{
    cell::{Cell, RefCell},
    fmt, io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
};
use thalweg_runtime::{self as rt, coroutine_local};
use tracing::{debug, field::Empty, info, info_span, warn};

/// What a connection's function is given besides the connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its entry among the clients.
    pub client: Rc<Client>,
    /// Why it must be refused, if it must.
    pub refusal: Option<Refusal>,
    cause: Rc<RefCell<Option<String>>>,
    credited: Rc<Cell<u64>>,
}

coroutine_local! {
    /// The session that the coroutine serves.
    static SESSION: RefCell<Option<Session>> = RefCell::new(None);
}

impl Session {
    /// The session that the calling coroutine serves.
    pub fn current() -> Option<Self> {
        SESSION.with_borrow(Clone::clone)
    }

    /// Says why the session is over, better than its function can: HTTP does not know what a player was told.
    pub fn set_cause(&self, cause: impl fmt::Display) {
        *self.cause.borrow_mut() = Some(cause.to_string());
    }

    /// Says that so many bytes were sent over this connection for a client of another entry, where they are counted.
    pub fn credit(&self, bytes: usize) {
        self.credited.set(self.credited.get() + bytes as u64);
    }

    /// Bytes that are counted elsewhere.
    pub fn credited(&self) -> u64 {
        self.credited.get()
    }
}

/// Accepts until `accept` fails, as it does when it is cancelled; each connection becomes a coroutine that runs
/// `session`.
///
/// Connections that are far beyond the limit are closed without a word, since even a word costs something.
///
/// # Suspends
///
/// Between connections.
///
/// # Errors
///
/// What `accept` returned last.
pub fn serve<C, E>(
    protocol: &'static str,
    clients: &Clients,
    mut accept: impl FnMut() -> io::Result<(C, SocketAddr)>,
    session: impl FnOnce(C, &Session) -> Result<(), E> + Clone + 'static,
) -> io::Result<()>
where
    C: 'static,
    E: fmt::Display + 'static,
{
    loop {
        let (connection, peer) = accept()?;
        let refusal = clients.refusal(peer.ip());
        if clients.is_flooded() {
            debug!(protocol, %peer, "closed at once: twice as many connections as limits.connections");
            continue;
        }
        let client = clients.enter(protocol, peer);
        let coroutine = rt::Builder::new().name(format!("{protocol} {}", client.peer()));
        let session = session.clone();
        let session = move |begun: &Session| session(connection, begun);
        if let Err(error) = spawn(coroutine, &client, refusal, session) {
            warn!(protocol, %peer, %error, "cannot serve");
        }
    }
}

/// Serves a client by a coroutine of its own, whatever brought it here: in a span with its id, and with one line that
/// tells how it ended. The client can be ended from outside.
///
/// # Errors
///
/// When there can be no more coroutines.
pub fn spawn<E: fmt::Display + 'static>(
    coroutine: rt::Builder,
    client: &Rc<Client>,
    refusal: Option<Refusal>,
    session: impl FnOnce(&Session) -> Result<(), E> + 'static,
) -> io::Result<()> {
    // Of the connection that brought it there is another span.
    let span =
        info_span!(parent: None, "client", id = client.id.0, peer = %client.peer(), origin = Empty);
    let (cause, credited) = Default::default();
    let begun = Session { client: Rc::clone(client), refusal, cause, credited };
    let handle = coroutine.span(span).spawn(move || run(&begun, session))?;
    client.set_kick(move || handle.cancel());
    Ok(())
}

/// One connection, and the one line that tells how it ended.
fn run<E: fmt::Display>(begun: &Session, session: impl FnOnce(&Session) -> Result<(), E>) {
    SESSION.set(Some(begun.clone()));
    debug!("accepted");
    if let Some(refusal) = begun.refusal {
        begun.client.note_refusal(None, refusal, None);
    }
    let result = catch_unwind(AssertUnwindSafe(|| session(begun)));
    let client = &begun.client;
    let seconds = rt::now().saturating_duration_since(client.since).as_secs_f64();
    let said = begun.cause.take();
    let cause = match &result {
        Ok(Ok(())) => said.unwrap_or_else(|| "done".to_owned()),
        Ok(Err(error)) => said.unwrap_or_else(|| error.to_string()),
        // Where, the runtime tells.
        Err(_) => "a fault of the gateway: a panic".to_owned(),
    };
    info!(
        cause,
        protocol = client.protocol(),
        seconds,
        received = client.received.get(),
        sent = client.sent.get(),
        skips = client.skips.get(),
        "closed"
    );
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}
