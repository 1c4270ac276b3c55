//! Lines on their way to the thread that writes them.

#![expect(
    clippy::disallowed_types,
    reason = "shared with the writer's thread; both sides hold the lock for one copy or one swap"
)]

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

thread_local! {
    /// Whether this is a thread that writes a log.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Lines that wait to be written, up to a bound. Clones are the same queue.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    bytes_max: usize,
    /// There is something to write, or nothing more to come.
    came: Condvar,
    /// The writer has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, each with its end.
    lines: Vec<u8>,
    /// Lines that were lost and not reported yet.
    unreported: u64,
    /// Lines that were ever lost.
    lost: u64,
    is_closed: bool,
    has_ended: bool,
    /// Where to write from now on.
    output: Option<Output>,
}

/// Where lines go; closed by the thread that writes.
pub(super) struct Output(pub(super) Box<dyn Write + Send>);

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// The thread that writes; dropping this has it write what is there and end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Queue,
    limit: Duration,
}

/// One line that is being formatted.
#[derive(Debug)]
pub(super) struct Line<'q> {
    queue: &'q Queue,
    bytes: Vec<u8>,
}

/// How long a line may be. What a peer sends is in some of them.
const LINE_LEN_MAX: usize = 16 << 10;

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            bytes_max,
            came: Condvar::new(),
            ended: Condvar::new(),
        }))
    }

    /// Queues a line, or counts it as lost when there is no room for it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        // What the writer itself has to say is the report of losses, which is not to be lost too.
        if state.lines.len() + line.len() > self.0.bytes_max && !IS_WRITER.get() {
            state.count_lost(1);
            return;
        }
        let was_empty = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.0.came.notify_one();
        }
    }

    /// Has all lines that are not written yet go to `output`.
    pub(super) fn redirect(&self, output: impl Write + Send + 'static) {
        self.lock().output = Some(Output(Box::new(output)));
        self.0.came.notify_one();
    }

    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock leaves a line in halves.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and swaps them for the empty `lines`, with how many were lost behind them; `false` at the end.
    fn take(
        &self,
        output: &mut Box<dyn Write + Send>,
        lines: &mut Vec<u8>,
        lost: &mut u64,
    ) -> bool {
        let mut state = self.lock();
        while state.lines.is_empty() && state.unreported == 0 && !state.is_closed {
            if let Some(Output(next)) = state.output.take() {
                // The old one is closed now, not when there is something to say.
                *output = next;
            }
            state = self.0.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(Output(next)) = state.output.take() {
            *output = next;
        }
        lines.clear();
        mem::swap(lines, &mut state.lines);
        *lost = mem::take(&mut state.unreported);
        !lines.is_empty() || *lost > 0
    }

    fn write_all(&self, output: impl Write + Send + 'static, report: impl Fn(u64)) {
        let mut output: Box<dyn Write + Send> = Box::new(output);
        let (mut lines, mut lost) = (Vec::new(), 0);
        while self.take(&mut output, &mut lines, &mut lost) {
            let written = output.write_all(&lines).and_then(|()| output.flush());
            if written.is_err() {
                // Counted, and told when it works again: another line is what it takes to find out.
                let count = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
                self.lock().lost += count;
                self.keep_for_later(lost + count);
            } else if lost > 0 {
                report(lost);
            }
        }
    }

    /// Has losses reported after the next line that comes.
    fn keep_for_later(&self, lost: u64) {
        let mut state = self.lock();
        while state.lines.is_empty() && !state.is_closed {
            state = self.0.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.lines.is_empty() {
            state.unreported += lost;
        }
    }
}

impl State {
    fn count_lost(&mut self, count: u64) {
        self.lost += count;
        self.unreported += count;
    }
}

impl Writer {
    /// Starts the thread. `report` logs how many lines were lost; what it logs is a line like any other.
    pub(super) fn start(
        queue: &Queue,
        output: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
        limit: Duration,
    ) -> io::Result<Self> {
        let shared = queue.clone();
        thread::Builder::new().name("log".into()).spawn(move || {
            IS_WRITER.set(true);
            shared.write_all(output, report);
            shared.lock().has_ended = true;
            shared.0.ended.notify_all();
        })?;
        Ok(Self { queue: queue.clone(), limit })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.is_closed = true;
        self.queue.0.came.notify_one();
        // An output that stalls must not keep the process from ending.
        let waited =
            self.queue.0.ended.wait_timeout_while(state, self.limit, |state| !state.has_ended);
        drop(waited);
    }
}

impl<'q> Line<'q> {
    pub(super) const fn new(queue: &'q Queue) -> Self {
        Self { queue, bytes: Vec::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = LINE_LEN_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.bytes.last().is_some_and(|&byte| byte != b'\n') {
            // It was cut, perhaps in the middle of a character.
            let whole = self.bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
            self.bytes.truncate(whole);
            self.bytes.push(b'\n');
        }
        self.queue.push(&self.bytes);
    }
}
