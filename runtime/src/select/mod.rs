//! Waiting for the first of several events: [`select!`](crate::select!), the sources it takes, and
//! the contract between the two.
//!
//! One coroutine waits in the queues of all its sources at once, with a node in each; no coroutine
//! is made for an arm. A coroutine is woken once: who finds its node in a queue afterwards passes
//! it over. So at most one source hands something over, that arm wins, and nothing is lost in the
//! others. In order, a select does this:
//!
//! 1. poll the sources in the order of the arms; the first that has something wins,
//! 2. register with all of them and park,
//! 3. unregister from all of them; the one that was signalled wins,
//! 4. without one, it was woken by time or by a cancellation: an arm for that is found by polling
//!    again, otherwise the select fails.

mod arms;
mod fd;
mod source;

use std::cell::Cell;

use crate::clock::{NEVER, Nanos};
use crate::wait::{Here, Node, NodeRef, WaitQueue};

#[doc(hidden)]
pub use arms::{Arm, Arms, Choice, End, Plan, poll, wait};
pub use fd::Becoming;
pub use source::{
    Cancellation, Ending, ScopedEnding, TakingPermit, Until, after, cancellation, permit, until,
};

/// Waits for the first of several events and runs the body that belongs to it.
///
/// ```
/// # use std::time::Duration;
/// # use thalweg_runtime::{self as rt, select, sync::channel};
/// # rt::run(|| -> std::io::Result<()> {
/// let (tx, rx) = channel::bounded(16);
/// let reader = rt::spawn(move || (0..3).try_for_each(|n| tx.send(n)));
/// let end = rt::now() + Duration::from_secs(1);
/// let mut sum = 0;
/// loop {
///     select! {
///         message = rx.receiving() => match message {
///             Ok(n) => sum += n,
///             Err(_closed) => break,
///         },
///         _ = select::until(end) => break,
///     }?;
/// }
/// assert_eq!(sum, 3);
/// # reader.join().unwrap().unwrap();
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// An arm is `pattern = source => body`. Bodies are blocks, or expressions followed by a comma; the
/// patterns are irrefutable. A source is any value that implements [`Select`](crate::select::Select):
///
/// | source | ready when | gives |
/// |---|---|---|
/// | [`Receiver::receiving`](crate::sync::channel::Receiver::receiving) | a message is there, or the channel is closed | `Result<T, RecvError>` |
/// | [`RemoteReceiver::receiving`](crate::sync::channel::RemoteReceiver::receiving) | the same, from any thread | `Result<T, RecvError>` |
/// | [`Sender::sending`](crate::sync::channel::Sender::sending) | there is room, or the channel is closed | `Result<(), SendError<T>>` |
/// | [`JoinHandle::ending`](crate::JoinHandle::ending) | the coroutine has ended | `Result<T, JoinError>` |
/// | [`Event::becoming_set`](crate::sync::Event::becoming_set), [`WaitGroup::finishing`](crate::sync::WaitGroup::finishing), [`Cond::being_signalled`](crate::sync::Cond::being_signalled) | as their waits | `()` |
/// | [`NetFd::becoming_readable`](crate::net::NetFd::becoming_readable), [`becoming_writable`](crate::net::NetFd::becoming_writable) | the descriptor is ready, or closed | `io::Result<()>` |
/// | [`Signals::receiving`](crate::signal::Signals::receiving) | a signal has arrived | `io::Result<Signal>` |
/// | [`until`](crate::select::until), [`after`](crate::select::after) | the time has come | `()` |
/// | [`cancellation`](crate::select::cancellation) | the coroutine is cancelled | [`Cancelled`](crate::Cancelled) |
/// | [`permit`](crate::select::permit) | an [`Unparker`](crate::Unparker) gave the coroutine its permit | `()` |
///
/// `Option<S>` is a source that is never ready while it is `None`: an arm that can be switched
/// off. `&mut S` is one that is kept when it does not win.
///
/// # Meaning
///
/// - The sources are polled in the order of the arms, and the first that is ready wins. When none
///   is, the first that becomes ready does, whatever its place. So an arm that is always ready
///   keeps those after it from winning: put the rare ones first.
/// - An arm that does not win has no effect: no message is taken, no permit, no value of a
///   coroutine. The source itself is dropped; pass `&mut source` to keep a value to be sent.
/// - The body runs when the select is over, in the function around it: `?`, `return`, `break` and
///   `continue` mean what they mean there, and the body may select again.
/// - `select!` gives `Ok` with the value of the body, or the [`WaitError`](crate::WaitError) for
///   which the coroutine could not wait or wait on: a cancellation, a deadline in force around it,
///   or a place where suspending is refused. With a `cancellation()` arm a cancellation makes that
///   arm ready instead.
/// - With a last arm `default => body` it does not wait: when no source is ready, that body runs.
///   Such a select cannot fail, and gives the value of the body as it is.
///
/// # Suspends
///
/// Unless a source is ready or there is a `default` arm.
///
/// # Examples
///
/// ```
/// # use thalweg_runtime::{self as rt, select, sync::channel::{self, SendError}};
/// # rt::run(|| -> std::io::Result<()> {
/// let (tx, rx) = channel::bounded(1);
/// tx.send("first")?;
/// // The value to be sent stays here when the arm does not win.
/// let mut sending = tx.sending("second");
/// let sent = select! {
///     result = &mut sending => result.is_ok(),
///     default => false,
/// };
/// assert!(!sent);
/// assert_eq!(sending.into_inner(), Some("second"));
/// # Ok(())
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! select {
    // Collects the arms, each in three groups: `{ pattern } { source } { body }`.
    (@arms [$($arms:tt)+]) => { $crate::select!(@wait $($arms)+) };
    (@arms [$($arms:tt)+] default => $body:expr $(,)?) => {
        $crate::select!(@try { $body } $($arms)+)
    };
    (@arms [$($arms:tt)*] $pattern:pat = $source:expr => $body:block, $($rest:tt)*) => {
        $crate::select!(@arms [$($arms)* { $pattern } { $source } { $body }] $($rest)*)
    };
    (@arms [$($arms:tt)*] $pattern:pat = $source:expr => $body:block $($rest:tt)*) => {
        $crate::select!(@arms [$($arms)* { $pattern } { $source } { $body }] $($rest)*)
    };
    (@arms [$($arms:tt)*] $pattern:pat = $source:expr => $body:expr, $($rest:tt)*) => {
        $crate::select!(@arms [$($arms)* { $pattern } { $source } { $body }] $($rest)*)
    };
    (@arms [$($arms:tt)*] $pattern:pat = $source:expr => $body:expr) => {
        $crate::select!(@arms [$($arms)* { $pattern } { $source } { $body }])
    };
    (@arms $($unknown:tt)*) => {
        ::core::compile_error!(
            "select! takes one or more arms `pattern = source => body`, and `default => body` last"
        )
    };

    (@wait $({ $pattern:pat } { $source:expr } { $body:expr })+) => {{
        let outcome = $crate::select::wait($crate::select!(@sources $({ $source })+));
        match outcome {
            ::core::result::Result::Ok(chosen) => {
                let value = $crate::select!(@bodies chosen $({ $pattern } { $body })+);
                #[allow(unreachable_code, reason = "every body may leave the function")]
                let outcome = ::core::result::Result::Ok(value);
                outcome
            }
            ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
        }
    }};
    (@try { $default:expr } $({ $pattern:pat } { $source:expr } { $body:expr })+) => {{
        let chosen = $crate::select::poll($crate::select!(@sources $({ $source })+));
        match chosen {
            ::core::option::Option::Some(chosen) => {
                $crate::select!(@bodies chosen $({ $pattern } { $body })+)
            }
            ::core::option::Option::None => $default,
        }
    }};

    // The sources as a list: `Arm(first, Arm(second, End))`.
    (@sources) => { $crate::select::End };
    (@sources { $source:expr } $($rest:tt)*) => {
        $crate::select::Arm::new($source, $crate::select!(@sources $($rest)*))
    };

    // The body of the arm that was chosen from that list.
    (@bodies $chosen:ident) => { match $chosen {} };
    (@bodies $chosen:ident { $pattern:pat } { $body:expr } $($rest:tt)*) => {
        match $chosen {
            $crate::select::Choice::This($pattern) => $body,
            $crate::select::Choice::Other(other) => $crate::select!(@bodies other $($rest)*),
        }
    };

    ($($arms:tt)*) => { $crate::select!(@arms [] $($arms)*) };
}

/// Something that [`select!`](crate::select!) can wait for.
///
/// Outside this crate it is implemented by handing every call on to a source of this crate, to
/// change what that one gives. The calls come in this order, any number of times:
/// `poll`, and when no source had something `register`, `unregister`. Once `poll` or `unregister`
/// has given something no call follows.
pub trait Select {
    /// What the event brings.
    type Output;

    /// Takes what is there now, without waiting. `None` means that it changed nothing.
    fn poll(&mut self) -> Option<Self::Output>;

    /// Begins to wait: from now on the event wakes the coroutine.
    fn register(&mut self, waiter: &Waiter) -> Registration;

    /// Ends what `register` began. What was handed to the source in between is the result; at most
    /// one source of a select has been handed something.
    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output>;

    /// Whether a cancellation makes this source ready, so that it does not make the select fail.
    fn takes_cancellation(&self) -> bool {
        false
    }
}

/// What [`Select::register`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Registration {
    /// The event will wake the coroutine.
    Waiting,
    /// The source is ready, or cannot wait and will say why: the select polls again at once.
    Ready,
}

/// The wait of a select for one source; one that is made and used inside this crate.
#[derive(Debug)]
pub struct Waiter {
    here: Here,
    /// The place in the queue of the source, once it has asked for one.
    node: Cell<Option<NodeRef>>,
    /// When the source wants to be polled at the latest.
    due: Cell<Nanos>,
    /// Whether the permit of the coroutine is to wake it.
    takes_permit: Cell<bool>,
}

impl Waiter {
    fn new(here: Here) -> Self {
        let (node, takes_permit) = (Cell::new(None), Cell::new(false));
        Self { here, node, due: Cell::new(NEVER), takes_permit }
    }

    /// The coroutine that selects.
    pub(crate) const fn here(&self) -> Here {
        self.here
    }

    /// The node with which the source waits, in one queue.
    #[inline]
    pub(crate) fn node(&self) -> NodeRef {
        self.node.get().unwrap_or_else(|| {
            let node = Node::lend(self.here.task);
            self.node.set(Some(node));
            node
        })
    }

    /// Puts the node into `queue`.
    ///
    /// # Panics
    ///
    /// When it is in one: an implementation outside this crate has two sources share a waiter.
    #[inline]
    pub(crate) fn wait_in(&self, queue: &WaitQueue) -> Registration {
        let node = self.node();
        assert!(!node.is_queued(), "a Waiter waits for one source");
        queue.push(node);
        Registration::Waiting
    }

    /// Takes the node out of `queue`; the result is whether a signal did so before.
    #[inline]
    pub(crate) fn leave(&self, queue: &WaitQueue) -> bool {
        queue.remove(self.node());
        self.fired()
    }

    /// Whether the source has asked for a node.
    pub(crate) fn is_registered(&self) -> bool {
        self.node.get().is_some()
    }

    /// Whether a signal took the node out of its queue.
    #[inline]
    pub(crate) fn fired(&self) -> bool {
        self.node.get().is_some_and(Node::fired)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(node) = self.node.get() {
            node.give_back();
        }
    }
}
