//! The last words of a coroutine that overflowed its stack.
//!
//! # Safety
//!
//! The handler runs on its own stack, in the thread that faulted. It reads the scheduler's plain
//! cells, writes to standard error from a fixed buffer, and allocates and locks nothing.
#![expect(unsafe_code, reason = "installs a signal handler")]

use std::cell::Cell;
use std::io::{self, Write};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::wait::Here;

/// What handled SIGSEGV before: std's handler, or the program's own.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    static HAS_SIGNAL_STACK: Cell<bool> = const { Cell::new(false) };
}

const SIGNAL_STACK: usize = 64 * 1024;

/// Has an overflow named before it ends the process, on this thread and others that call this.
pub(crate) fn install() -> io::Result<()> {
    provide_signal_stack()?;
    if !PREVIOUS.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    // SAFETY: all zeros is a valid sigaction: default handler, empty mask, no flags.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: all zeros is a valid sigaction.
    let previous = Box::into_raw(Box::new(unsafe { mem::zeroed::<libc::sigaction>() }));
    // SAFETY: a null action asks for the present one only; `previous` is valid to write.
    if unsafe { libc::sigaction(libc::SIGSEGV, ptr::null(), previous) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let first = PREVIOUS
        .compare_exchange(ptr::null_mut(), previous, Ordering::AcqRel, Ordering::Acquire)
        .is_ok();
    // Who comes second leaves a few bytes behind; it happens at most once a thread.
    if first {
        // SAFETY: `action` names a handler with the three arguments of SA_SIGINFO.
        if unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Gives the thread a stack for signal handlers, if it has none: std provides one for its own
/// threads, but not for those that other languages made.
fn provide_signal_stack() -> io::Result<()> {
    if HAS_SIGNAL_STACK.replace(true) {
        return Ok(());
    }
    // SAFETY: all zeros is a valid stack_t.
    let mut present: libc::stack_t = unsafe { mem::zeroed() };
    // SAFETY: a null new stack asks for the present one only; `present` is valid to write.
    if unsafe { libc::sigaltstack(ptr::null(), &raw mut present) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if present.ss_flags & libc::SS_DISABLE == 0 {
        return Ok(());
    }
    // The thread keeps this until it ends; nothing tells when that is, so it is never freed.
    let memory = Box::leak(vec![0_u8; SIGNAL_STACK].into_boxed_slice());
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIGNAL_STACK };
    // SAFETY: `stack` describes memory that nobody else uses and that is never freed.
    if unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid siginfo to a handler installed with SA_SIGINFO.
    let info_ref = unsafe { &*info };
    // SAFETY: SIGSEGV fills in the address.
    let address = unsafe { info_ref.si_addr() }.addr();
    if let Some(here) = Here::running().filter(|here| here.task.span().guard_contains(address)) {
        name_the_culprit(here);
    }
    // SAFETY: `install` stored a pointer from `Box::into_raw` before this handler could run.
    let previous = unsafe { &*PREVIOUS.load(Ordering::Acquire) };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: `previous` is a valid action; the fault repeats on return and meets it.
            unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: a handler installed with SA_SIGINFO has these three arguments.
            let handler = unsafe { mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: a handler installed without SA_SIGINFO has one argument.
            let handler = unsafe { mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
            handler(signal);
        }
    }
}

fn name_the_culprit(here: Here) -> ! {
    let mut buffer = [0_u8; 512];
    let mut line = io::Cursor::new(&mut buffer[..]);
    // A name that does not fit is cut.
    let _cut = write!(line, "coroutine {}", here.task.id.get());
    // The faulting code may be changing the name; then the line goes without it.
    if let Ok(name) = here.task.name.try_borrow()
        && let Some(name) = &*name
    {
        let shown = name.char_indices().nth(256).map_or(&**name, |(end, _)| &name[..end]);
        let _cut = write!(line, " \"{shown}\"");
    }
    let size = here.task.span().size() >> 10;
    let _cut = writeln!(line, " overflowed its {size} KiB stack");
    let length = usize::try_from(line.position()).unwrap_or(0);
    // SAFETY: the buffer has `length` bytes that were written.
    unsafe { libc::write(libc::STDERR_FILENO, buffer.as_ptr().cast(), length) };
    // SAFETY: abort may be called in a signal handler.
    unsafe { libc::abort() }
}
