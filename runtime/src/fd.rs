//! A descriptor that coroutines wait for: the operation is tried first, and only if it would block
//! does the coroutine park until epoll reports the descriptor ready.
//!
//! A [`NetFd`] is a key: it names a slot of its runtime's poller and nothing else, so it may be
//! sent to other threads, where using it is an error and dropping it queues the close.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::clock::{ClockKind, NEVER, Nanos, nanos};
use crate::error::Refused;
use crate::poller::{Readiness, Waits};
use crate::remote::{Message, Remote};
use crate::scheduler::Scheduler;
use crate::wait::{self, Direction, Here, Node, NodeRef, WaitingFor, Wake};

/// A non-blocking descriptor on which coroutines wait.
///
/// Several coroutines may wait on one descriptor, in the same direction too: all of them try again
/// when it is ready. Clones share the descriptor, which closes with the last of them.
#[derive(Clone)]
pub struct NetFd {
    shared: Arc<Shared>,
}

struct Shared {
    /// There until the drop.
    fd: Option<OwnedFd>,
    slot: u32,
    home: Arc<Remote>,
}

/// Which readiness to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Data, a connection, the end of the stream or an error is there to be read.
    Readable,
    /// There is room to write, or an error.
    Writable,
    /// Either.
    Either,
}

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Reading will not block.
    pub readable: bool,
    /// Writing will not block.
    pub writable: bool,
    /// Both directions ended, or an error is pending.
    pub hung_up: bool,
}

/// How far an operation got on a stream.
pub(crate) enum Progress<T> {
    /// As far as was asked; there may be more.
    Full(T),
    /// The descriptor took or gave less than it was asked for, so that the next try would block.
    Short(T),
}

/// An operation on a descriptor that was closed by [`NetFd::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl NetFd {
    /// Takes over `fd` and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// `Unsupported` outside a runtime and under a virtual clock, which cannot know when a real
    /// descriptor will be ready; otherwise what `fcntl(2)` reports.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        if !flags.contains(OFlag::O_NONBLOCK) {
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        Self::from_nonblocking(fd)
    }

    /// Takes over a descriptor that is known to be non-blocking.
    pub(crate) fn from_nonblocking(fd: OwnedFd) -> io::Result<Self> {
        let Some(scheduler) = Scheduler::current() else { return Err(crate::spawn::outside()) };
        if scheduler.clock.kind == ClockKind::Virtual {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "real descriptors cannot be used under a virtual clock; use sync::duplex",
            ));
        }
        let slot = scheduler.poller.insert();
        let home = Arc::clone(&scheduler.remote);
        Ok(Self { shared: Arc::new(Shared { fd: Some(fd), slot, home }) })
    }

    /// Tries `operation` once, unless the descriptor is known not to be ready. A result of
    /// `WouldBlock` is remembered until the next event.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the descriptor is not ready; what `operation` returns; [`Closed`];
    /// `InvalidInput` for [`Interest::Either`]; `Unsupported` on a thread or runtime other than the
    /// descriptor's own.
    pub fn try_io<T>(
        &self,
        interest: Interest,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let direction = interest.one_way()?;
        let poller = &self.home_scheduler()?.poller;
        let Readiness::Maybe(ticks) = self.readiness(poller, direction)? else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let result = operation(self.as_fd());
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            // Without events the descriptor would be taken for not ready for ever.
            poller.register(self.shared.slot, self.as_fd())?;
            poller.would_block(self.shared.slot, direction, ticks);
        }
        result
    }

    /// Performs `operation`, waiting and trying again as long as it returns `WouldBlock`.
    ///
    /// It must not suspend, and has to be tried on the descriptor itself: what it reports is taken
    /// for the descriptor's readiness.
    ///
    /// # Suspends
    ///
    /// Until `operation` returns something else, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// What `operation` returns; [`Cancelled`](crate::Cancelled) and
    /// [`TimedOut`](crate::TimedOut) inside the error; [`Closed`]; `InvalidInput` for
    /// [`Interest::Either`]; `Unsupported` on a thread or runtime other than the descriptor's own.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn io<T>(
        &self,
        interest: Interest,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.perform(interest.one_way()?, None, |fd| operation(fd).map(Progress::Full))
    }

    /// Waits until reading would not block.
    ///
    /// # Suspends
    ///
    /// Unless the descriptor is ready already.
    ///
    /// # Errors
    ///
    /// As [`NetFd::poll`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn readable(&self) -> io::Result<()> {
        self.poll(Interest::Readable, None).map(drop)
    }

    /// Waits until writing would not block.
    ///
    /// # Suspends
    ///
    /// Unless the descriptor is ready already.
    ///
    /// # Errors
    ///
    /// As [`NetFd::poll`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn writable(&self) -> io::Result<()> {
        self.poll(Interest::Writable, None).map(drop)
    }

    /// Waits until the descriptor is ready, as `poll(2)` means it: it is asked, not remembered, so
    /// this works for descriptors that other code reads and writes, too.
    ///
    /// # Suspends
    ///
    /// Unless the descriptor is ready already.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) and [`TimedOut`](crate::TimedOut) inside the error;
    /// [`Closed`]; `Unsupported` on a thread or runtime other than the descriptor's own.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn poll(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<Ready> {
        let (here, until) = match deadline {
            Some(deadline) => self.home_until(deadline)?,
            None => (self.home()?, NEVER),
        };
        let poller = &here.scheduler.poller;
        loop {
            self.readiness(poller, Direction::Read)?;
            if here.scheduler.count_io(here) {
                continue;
            }
            let ready = self.ready_now(interest)?;
            if ready != Ready::default() {
                return Ok(ready);
            }
            // The descriptor was found not ready, so readiness that comes is an edge.
            match interest {
                Interest::Readable => self.wait(here, Direction::Read, until)?,
                Interest::Writable => self.wait(here, Direction::Write, until)?,
                Interest::Either => self.wait_either(here, until)?,
            }
        }
    }

    /// Shuts the descriptor down: whoever waits on it gets [`Closed`], as does every later
    /// operation, and the peer of a socket sees the end of the stream. The descriptor itself
    /// closes with the last handle, so that a `BorrowedFd` stays valid.
    ///
    /// # Errors
    ///
    /// `Unsupported` on a thread or runtime other than the descriptor's own.
    pub fn close(&self) -> io::Result<()> {
        let scheduler = self.home_scheduler()?;
        scheduler.poller.close(self.shared.slot);
        // What is not a socket, or not connected, has nothing to shut down.
        let _not_a_connection =
            nix::sys::socket::shutdown(self.as_fd().as_raw_fd(), nix::sys::socket::Shutdown::Both);
        Ok(())
    }

    /// Sets how long an operation in `direction` may take as a whole; `None` for as long as it
    /// takes.
    pub(crate) fn set_timeout(
        &self,
        direction: Direction,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a timeout of zero would fail every operation; None takes the timeout away",
            ));
        }
        let poller = &self.home_scheduler()?.poller;
        poller.set_timeout(self.shared.slot, direction, timeout.map_or(NEVER, nanos));
        Ok(())
    }

    pub(crate) fn timeout(&self, direction: Direction) -> io::Result<Option<Duration>> {
        let timeout = self.home_scheduler()?.poller.timeout(self.shared.slot, direction);
        Ok((timeout != NEVER).then(|| Duration::from_nanos(timeout)))
    }

    /// Performs `operation`, waiting for readiness as often as it would block. `until` is the
    /// deadline; without one the descriptor's timeout counts from the first wait.
    #[cfg_attr(debug_assertions, track_caller)]
    #[inline]
    pub(crate) fn perform<T>(
        &self,
        direction: Direction,
        mut until: Option<Nanos>,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<Progress<T>>,
    ) -> io::Result<T> {
        let here = self.home()?;
        let poller = &here.scheduler.poller;
        let slot = self.shared.slot;
        loop {
            if let Readiness::Maybe(ticks) = self.readiness(poller, direction)? {
                if here.scheduler.count_io(here) {
                    continue;
                }
                match operation(self.as_fd()) {
                    Ok(Progress::Full(done)) => return Ok(done),
                    Ok(Progress::Short(done)) => {
                        poller.short(slot, direction, ticks);
                        return Ok(done);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        poller.would_block(slot, direction, ticks);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            let until = *until.get_or_insert_with(|| self.until(here, direction));
            self.wait(here, direction, until)?;
        }
    }

    /// When an operation in `direction` that begins now has to end by the descriptor's timeout.
    pub(crate) fn until(&self, here: Here, direction: Direction) -> Nanos {
        match here.scheduler.poller.timeout(self.shared.slot, direction) {
            NEVER => NEVER,
            // The cached time would let it pass early by as much as it lags.
            timeout => here.scheduler.clock.refresh().saturating_add(timeout),
        }
    }

    /// Parks until an event for `direction`.
    fn wait(&self, here: Here, direction: Direction, until: Nanos) -> io::Result<()> {
        let poller = &here.scheduler.poller;
        let node = &here.task.node;
        let slot = self.shared.slot;
        if poller.wait(slot, self.as_fd(), direction, node)? == Waits::No {
            return Ok(());
        }
        let waiting_for = WaitingFor::Fd(self.as_fd().as_raw_fd(), direction);
        let wake = here.park(waiting_for, until.min(here.task.deadline()));
        poller.end_wait(slot, direction, node);
        if node.fired() { Ok(()) } else { Err(here.failure(wake, until).into()) }
    }

    /// Has events reported from now on, so that [`NetFd::begin_wait`] has nothing that can fail.
    pub(crate) fn register(&self) -> io::Result<()> {
        self.home_scheduler()?.poller.register(self.shared.slot, self.as_fd())
    }

    /// Has events for `direction` wake `node`'s coroutine until [`NetFd::end_wait`], for a caller
    /// that was `home`, called [`NetFd::register`] and parks by itself. `false` when there is
    /// nothing to wait for: the descriptor is always ready.
    pub(crate) fn begin_wait(&self, here: Here, direction: Direction, node: NodeRef) -> bool {
        let waits = here.scheduler.poller.wait(self.shared.slot, self.as_fd(), direction, node);
        waits.expect("only registering can fail") == Waits::Yes
    }

    /// What the descriptor is ready for now, as `poll(2)` means it.
    pub(crate) fn ready_now(&self, interest: Interest) -> io::Result<Ready> {
        let poller = &self.home_scheduler()?.poller;
        self.readiness(poller, Direction::Read)?;
        let ready = poll_now(&[(self.as_fd(), interest)])?[0];
        poller.found(self.shared.slot, ready.readable, ready.writable);
        Ok(ready)
    }

    /// Ends what [`NetFd::begin_wait`] began.
    pub(crate) fn end_wait(&self, here: Here, direction: Direction, node: NodeRef) {
        here.scheduler.poller.end_wait(self.shared.slot, direction, node);
    }

    /// Parks until an event for either direction.
    fn wait_either(&self, here: Here, until: Nanos) -> io::Result<()> {
        let poller = &here.scheduler.poller;
        let (fd, slot) = (self.as_fd(), self.shared.slot);
        let reader = &here.task.node;
        if poller.wait(slot, fd, Direction::Read, reader)? == Waits::No {
            return Ok(());
        }
        let writer = Node::lend(here.task);
        let waits = poller.wait(slot, fd, Direction::Write, writer);
        debug_assert!(matches!(waits, Ok(Waits::Yes)), "the first wait has registered it");
        let wake = here.park(WaitingFor::Fds, until.min(here.task.deadline()));
        poller.end_wait(slot, Direction::Read, reader);
        poller.end_wait(slot, Direction::Write, writer);
        let fired = reader.fired() || writer.fired();
        writer.give_back();
        if fired { Ok(()) } else { Err(here.failure(wake, until).into()) }
    }

    /// Has a short read or write never mean that the next would block.
    pub(crate) fn distrust_short(&self) -> io::Result<()> {
        self.home_scheduler()?.poller.distrust_short(self.shared.slot);
        Ok(())
    }

    #[inline]
    fn readiness(
        &self,
        poller: &crate::poller::Poller,
        direction: Direction,
    ) -> io::Result<Readiness> {
        match poller.readiness(self.shared.slot, direction) {
            Readiness::Closed => Err(Closed.into()),
            readiness => Ok(readiness),
        }
    }

    /// The caller, who may suspend and runs on the descriptor's own runtime.
    #[cfg_attr(debug_assertions, track_caller)]
    #[inline]
    pub(crate) fn home(&self) -> io::Result<Here> {
        let here = wait::enter()?;
        if self.is_home(here.scheduler) { Ok(here) } else { Err(foreign()) }
    }

    /// Like [`NetFd::home`], for a call with a `deadline` of its own, which is returned too.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn home_until(&self, deadline: Instant) -> io::Result<(Here, Nanos)> {
        let (here, until) = wait::enter_until(deadline)?;
        if self.is_home(here.scheduler) { Ok((here, until)) } else { Err(foreign()) }
    }

    /// The descriptor's runtime, if the caller runs on it.
    pub(crate) fn home_scheduler(&self) -> io::Result<&'static Scheduler> {
        let scheduler = Scheduler::current().filter(|scheduler| self.is_home(scheduler));
        scheduler.ok_or_else(foreign)
    }

    #[inline]
    fn is_home(&self, scheduler: &Scheduler) -> bool {
        ptr::eq(Arc::as_ptr(&self.shared.home), Arc::as_ptr(&scheduler.remote))
    }
}

/// Waits until at least one of `fds` is ready, and tells of each what it is ready for.
///
/// The descriptors may be anybody's: nothing about them is changed.
///
/// # Suspends
///
/// Unless one is ready already.
///
/// # Errors
///
/// As [`NetFd::poll`], and what epoll reports of a descriptor that it cannot watch.
#[cfg_attr(debug_assertions, track_caller)]
pub fn poll_many(
    fds: &[(BorrowedFd<'_>, Interest)],
    deadline: Option<Instant>,
) -> io::Result<Vec<Ready>> {
    let here = wait::enter()?;
    here.scheduler.count_io(here);
    let mut watch = None;
    loop {
        let ready = poll_now(fds)?;
        if ready.iter().any(|ready| *ready != Ready::default()) {
            return Ok(ready);
        }
        // An epoll descriptor is ready when one of those it watches is, so one wait does for all.
        let watch = match &watch {
            Some(watch) => watch,
            None => watch.insert(watch_all(fds)?),
        };
        watch.poll(Interest::Readable, deadline)?;
    }
}

fn watch_all(fds: &[(BorrowedFd<'_>, Interest)]) -> io::Result<NetFd> {
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent};
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (fd, interest) in fds {
        let mut flags = interest.epoll_flags();
        match epoll.add(fd, EpollEvent::new(flags, 0)) {
            Err(nix::errno::Errno::EEXIST) => {
                let same = fds.iter().filter(|(other, _)| other.as_raw_fd() == fd.as_raw_fd());
                same.for_each(|(_, interest)| flags |= interest.epoll_flags());
                epoll.modify(fd, &mut EpollEvent::new(flags, 0))?;
            }
            result => result?,
        }
    }
    NetFd::from_nonblocking(epoll.0)
}

/// `poll(2)` without waiting.
fn poll_now(fds: &[(BorrowedFd<'_>, Interest)]) -> io::Result<Vec<Ready>> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|(fd, interest)| PollFd::new(*fd, interest.poll_flags())).collect();
    loop {
        match nix::poll::poll(&mut polled, PollTimeout::ZERO) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let ready = |polled: &PollFd<'_>| {
        let flags = polled.revents().unwrap_or(PollFlags::empty());
        let end = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        let hung_up = flags.intersects(end);
        Ready {
            readable: hung_up || flags.contains(PollFlags::POLLIN),
            writable: hung_up || flags.contains(PollFlags::POLLOUT),
            hung_up,
        }
    };
    Ok(polled.iter().map(ready).collect())
}

impl Interest {
    fn one_way(self) -> io::Result<Direction> {
        match self {
            Self::Readable => Ok(Direction::Read),
            Self::Writable => Ok(Direction::Write),
            Self::Either => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an operation waits for one direction: which one would block?",
            )),
        }
    }

    fn poll_flags(self) -> PollFlags {
        match self {
            Self::Readable => PollFlags::POLLIN,
            Self::Writable => PollFlags::POLLOUT,
            Self::Either => PollFlags::POLLIN | PollFlags::POLLOUT,
        }
    }

    fn epoll_flags(self) -> nix::sys::epoll::EpollFlags {
        use nix::sys::epoll::EpollFlags;
        match self {
            Self::Readable => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
            Self::Writable => EpollFlags::EPOLLOUT,
            Self::Either => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLOUT,
        }
    }
}

/// Refuses to go on after `until`, which data that keeps coming would otherwise outrun.
pub(crate) fn check(here: Here, until: Nanos) -> io::Result<()> {
    if here.scheduler.clock.now() < until {
        return Ok(());
    }
    Err(here.failure(Wake::Timer, until).into())
}

fn foreign() -> io::Error {
    match Scheduler::current() {
        None if Scheduler::was_forked() => Refused::Forked.into(),
        None => Refused::NoCoroutine.into(),
        Some(_) => {
            io::Error::new(io::ErrorKind::Unsupported, "the descriptor belongs to another runtime")
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        let home = Scheduler::current()
            .filter(|scheduler| ptr::eq(Arc::as_ptr(&self.home), Arc::as_ptr(&scheduler.remote)));
        match home {
            Some(scheduler) => scheduler.poller.remove(self.slot, fd.as_fd()),
            None => self.home.send(Message::Close { slot: self.slot, fd }),
        }
    }
}

impl AsFd for NetFd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_ref().expect("the descriptor is there until the drop").as_fd()
    }
}

impl fmt::Debug for NetFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetFd({})", self.as_fd().as_raw_fd())
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the descriptor was closed")
    }
}

impl std::error::Error for Closed {}

impl From<Closed> for io::Error {
    fn from(closed: Closed) -> Self {
        Self::new(io::ErrorKind::NotConnected, closed)
    }
}
