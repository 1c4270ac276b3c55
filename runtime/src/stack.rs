//! Stacks: reserved in regions, guarded, reused last-in first-out, given back when idle.
//!
//! A size class is a power of two, guard included. Its regions are aligned to it, so a stack needs
//! to remember only its top:
//!
//! ```text
//!   region (128 MiB, MAP_NORESERVE)
//!   ├───────────── stack 0 ─────────────┼───────────── stack 1 ─────────────┼─ …
//!   │ guard 64 KiB │ usable             │ guard 64 KiB │ usable             │
//!   ^ limit        ^ floor          top ^
//! ```
//!
//! The guard is 64 KiB and not one page, because C code is often built without stack probes and
//! glibc has frames of 33 KiB, which step over one page into the next coroutine's stack. It is
//! installed by `MADV_GUARD_INSTALL` (Linux 6.13), which costs no mapping. Older kernels get
//! `mprotect`, two mappings a stack, and an error that names `vm.max_map_count` before that limit
//! is reached: at the limit itself even malloc fails.
//!
//! # Safety
//!
//! The file keeps these: a [`Stack`] owns the memory from its limit to its top, which is mapped
//! until the pool is dropped; no two stacks overlap; the guard of a stack that was handed out once
//! stays until its region is unmapped. A pool unmaps only when every stack came back.
#![expect(unsafe_code, reason = "maps memory and promises corosensei that stacks are guarded")]

use std::io;
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

use corosensei::stack::StackPointer;
use corosensei::stack::valgrind::ValgrindStackRegistration;

use crate::run_queue::prefetch;

/// The bytes under every stack that end the process when they are touched.
pub(crate) const GUARD: usize = 64 * 1024;

/// The smallest stack, guard included: a panic with a backtrace needs 24 KiB of the usable half.
pub(crate) const STACK_MIN: usize = 128 * 1024;

/// The largest stack, guard included.
pub(crate) const STACK_MAX: usize = 1 << 30;

/// The default stack, guard included. A TLS handshake in a debug build uses 118 KiB.
pub(crate) const STACK_DEFAULT: usize = 256 * 1024;

/// How much address space one mapping reserves, where a stack is not larger itself.
const REGION: usize = 128 << 20;

const PAGE: usize = 4096;

/// Mappings left to the rest of the process under the `mprotect` fallback.
const MAPS_RESERVE: usize = 8192;

/// How far ahead of its use the top of a free stack is fetched.
const AHEAD: usize = 4;

const MADV_GUARD_INSTALL: libc::c_int = 102;

/// How stacks are guarded; see [`RuntimeBuilder::guard`](crate::RuntimeBuilder::guard).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL` where the kernel has it (Linux 6.13), else `mprotect`.
    #[default]
    Auto,
    /// `mprotect`, which takes two of the process's `vm.max_map_count` mappings a stack.
    Mprotect,
}

/// One stack, ready for a coroutine.
#[derive(Debug)]
pub(crate) struct Stack {
    /// The highest address.
    top: StackPointer,
    /// The base-two logarithm of the size.
    class: u32,
}

/// Where a stack is: the addresses from `limit`, where its guard begins, to `top`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) limit: usize,
    pub(crate) top: usize,
}

#[derive(Debug)]
pub(crate) struct StackPool {
    classes: Vec<Class>,
    guard: GuardKind,
    /// How many free stacks of a class keep their memory while the runtime is idle.
    retain: usize,
    in_use: usize,
    guards_by_mprotect: usize,
}

/// The stacks of one size.
#[derive(Debug)]
struct Class {
    class: u32,
    regions: Vec<Region>,
    /// The stacks of the last region that were carved already.
    carved: usize,
    /// The next stack to hand out is the last.
    free: Vec<Stack>,
    /// The first so many of `free` hold no memory.
    trimmed: usize,
}

#[derive(Debug)]
struct Region {
    mapping: NonNull<libc::c_void>,
    mapping_len: usize,
    /// The first stack's limit, aligned to the stack size.
    start: usize,
    stacks: usize,
    /// Tells valgrind where stacks are, while the region lives.
    registrations: Vec<ValgrindStackRegistration>,
}

// SAFETY: `Stack` asks for a guard that catches overflows and for at least 4096 usable bytes
// between `limit` and `base`. `StackPool::carve` installs the guard before it makes a stack, and
// `class_of` lets no size under `STACK_MIN` through, of which all but `GUARD` is usable.
unsafe impl corosensei::stack::Stack for Stack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.top
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        // The size is a power of two to which the limit is aligned, and `top` is above the limit.
        let limit = (self.top.get() - 1) & !(self.size() - 1);
        NonZeroUsize::new(limit).expect("no region starts at address 0")
    }
}

impl Stack {
    /// The reserved bytes, guard included.
    #[inline]
    const fn size(&self) -> usize {
        1 << self.class
    }

    /// The base-two logarithm of the size.
    pub(crate) const fn class(&self) -> u8 {
        // `class_of` makes it 30 at most.
        self.class as u8
    }

    /// The highest address, at which the coroutine begins.
    #[inline]
    pub(crate) const fn top(&self) -> usize {
        self.top.get()
    }

    /// Where the stack is.
    pub(crate) fn span(&self) -> Span {
        Span::around(self.top.get() - 1, self.class())
    }
}

impl Span {
    /// The stack of class `class` that `address` is in.
    pub(crate) const fn around(address: usize, class: u8) -> Self {
        let limit = address & !((1 << class) - 1);
        Self { limit, top: limit + (1 << class) }
    }

    /// Whether `address` is in the guard.
    pub(crate) const fn guard_contains(self, address: usize) -> bool {
        address.wrapping_sub(self.limit) < GUARD
    }

    /// The reserved bytes, guard included.
    pub(crate) const fn size(self) -> usize {
        self.top - self.limit
    }

    /// Gives the memory between the guard and `end` back to the system; it reads as zero again.
    ///
    /// # Safety
    ///
    /// The span is a living stack's, and nothing between the guard and `end`, which lies in it, is
    /// used any more.
    pub(crate) unsafe fn discard_below(self, end: usize) -> io::Result<()> {
        let start = self.limit + GUARD;
        let end = end & !(PAGE - 1);
        if end <= start {
            return Ok(());
        }
        // SAFETY: `madvise` needs a page-aligned start: the limit and `GUARD` are. DONTNEED drops
        // the contents, which the caller gives up. The range is inside this mapped stack.
        let result = unsafe {
            libc::madvise(ptr::without_provenance_mut(start), end - start, libc::MADV_DONTNEED)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// How many bytes of the usable part are backed by memory: the deepest that the stack was used
    /// since it was last trimmed.
    pub(crate) fn resident(self) -> io::Result<usize> {
        let start = self.limit + GUARD;
        let end = self.top.next_multiple_of(PAGE);
        let mut pages = vec![0_u8; (end - start) / PAGE];
        // SAFETY: `mincore` needs a page-aligned start and one byte a page to write to, which
        // `pages` has; of a range that is not mapped it reports an error.
        let result = unsafe {
            libc::mincore(ptr::without_provenance_mut(start), end - start, pages.as_mut_ptr())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(pages.iter().filter(|page| **page & 1 == 1).count() * PAGE)
    }
}

impl StackPool {
    pub(crate) fn new(guard: GuardKind, retain: usize) -> Self {
        Self { classes: Vec::new(), guard, retain, in_use: 0, guards_by_mprotect: 0 }
    }

    /// Refuses a size that no stack can have.
    pub(crate) fn check(&mut self, size: usize) -> io::Result<()> {
        self.class_index(size).map(drop)
    }

    /// Takes a stack of at least `size` bytes, guard included.
    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> io::Result<Stack> {
        let index = self.class_index(size)?;
        let class = &mut self.classes[index];
        let stack = match class.free.pop() {
            Some(stack) => {
                if let Some(soon) = class.free.iter().nth_back(AHEAD) {
                    prefetch(ptr::without_provenance::<u8>(soon.top() - 64));
                    prefetch(ptr::without_provenance::<u8>(soon.top() - 128));
                }
                class.trimmed = class.trimmed.min(class.free.len());
                stack
            }
            None => self.carve(index)?,
        };
        self.in_use += 1;
        Ok(stack)
    }

    /// Takes back a stack on which nothing lives any more.
    #[inline]
    pub(crate) fn give_back(&mut self, stack: Stack) {
        self.in_use -= 1;
        let class = self.classes.iter_mut().find(|class| class.class == stack.class);
        class.expect("the stack came from this pool").free.push(stack);
    }

    /// Stacks that were taken and not given back.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Stacks that wait to be used again.
    pub(crate) fn pooled(&self) -> usize {
        self.classes.iter().map(|class| class.free.len()).sum()
    }

    /// Gives back the memory of at most `limit` free stacks above the number to retain. The
    /// result is whether more are left.
    pub(crate) fn trim(&mut self, limit: usize) -> bool {
        let mut left = limit;
        for class in &mut self.classes {
            while class.free.len() - class.trimmed > self.retain {
                if left == 0 {
                    return true;
                }
                left -= 1;
                let span = class.free[class.trimmed].span();
                // SAFETY: the stack is in the pool and free, so nothing in it is used.
                if let Err(error) = unsafe { span.discard_below(span.top + PAGE - 1) } {
                    tracing::warn!(%error, "cannot give back the memory of a free stack");
                }
                class.trimmed += 1;
            }
        }
        false
    }

    #[inline]
    fn class_index(&mut self, size: usize) -> io::Result<usize> {
        match self.classes.first() {
            Some(class) if 1 << class.class == size => Ok(0),
            _ => self.class_index_slow(size),
        }
    }

    #[cold]
    fn class_index_slow(&mut self, size: usize) -> io::Result<usize> {
        let wanted = class_of(size)?;
        if let Some(index) = self.classes.iter().position(|class| class.class == wanted) {
            return Ok(index);
        }
        let class =
            Class { class: wanted, regions: Vec::new(), carved: 0, free: Vec::new(), trimmed: 0 };
        self.classes.push(class);
        Ok(self.classes.len() - 1)
    }

    #[cold]
    fn carve(&mut self, index: usize) -> io::Result<Stack> {
        let class = &mut self.classes[index];
        if class.regions.last().is_none_or(|region| class.carved == region.stacks) {
            class.regions.push(Region::map(1 << class.class)?);
            class.carved = 0;
        }
        let region = class.regions.last_mut().expect("pushed above if there was none");
        let size = 1_usize << class.class;
        let limit = region.start + class.carved * size;
        install_guard(limit, &mut self.guard, &mut self.guards_by_mprotect)?;
        class.carved += 1;
        let end = limit + size;
        region.registrations.push(ValgrindStackRegistration::new(
            ptr::without_provenance_mut(limit + GUARD),
            size - GUARD,
        ));
        let top = NonZeroUsize::new(end).expect("no region ends at address 0");
        Ok(Stack { top, class: class.class })
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        if self.in_use > 0 {
            // A stack that was never given back belongs to a coroutine that was left behind: its
            // locals may be borrowed from elsewhere, so the memory stays for good.
            for region in self.classes.iter_mut().flat_map(|class| &mut class.regions) {
                std::mem::take(&mut region.registrations).leak();
                region.mapping_len = 0;
            }
        }
    }
}

impl Region {
    fn map(size: usize) -> io::Result<Self> {
        let len = REGION.max(size);
        let mapping_len = len + size;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory
        // that anyone else uses.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapping_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            return Err(io::Error::new(
                error.kind(),
                format!(
                    "cannot reserve {} MiB of address space for coroutine stacks: {error} (see \
                     ulimit -v, vm.overcommit_memory and vm.max_map_count)",
                    mapping_len >> 20
                ),
            ));
        }
        let mapping = NonNull::new(mapping).expect("mmap without MAP_FIXED never maps address 0");
        let start = mapping.as_ptr().addr().next_multiple_of(size);
        // SAFETY: the advice changes no contents; the range is the mapping made above. A failure
        // (a kernel without huge pages) changes nothing that matters.
        unsafe { libc::madvise(mapping.as_ptr(), mapping_len, libc::MADV_NOHUGEPAGE) };
        Ok(Self { mapping, mapping_len, start, stacks: len / size, registrations: Vec::new() })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.mapping_len > 0 {
            // SAFETY: this is the mapping made in `map`, and the pool drops a region with a
            // length only after all its stacks were given back, so nothing in it is used.
            unsafe { libc::munmap(self.mapping.as_ptr(), self.mapping_len) };
        }
    }
}

/// The base-two logarithm of the smallest class that holds `size` bytes.
fn class_of(size: usize) -> io::Result<u32> {
    if !(STACK_MIN..=STACK_MAX).contains(&size) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a stack of {size} bytes is out of range: {} KiB to {} KiB, of which the lowest \
                 {} KiB are the guard",
                STACK_MIN >> 10,
                STACK_MAX >> 10,
                GUARD >> 10
            ),
        ));
    }
    Ok(size.next_power_of_two().trailing_zeros())
}

/// Makes the `GUARD` bytes from `limit` inaccessible.
fn install_guard(limit: usize, kind: &mut GuardKind, by_mprotect: &mut usize) -> io::Result<()> {
    let guard = ptr::without_provenance_mut(limit);
    if *kind == GuardKind::Auto {
        // SAFETY: the range is page-aligned, inside a region of ours, and no stack uses it yet.
        if unsafe { libc::madvise(guard, GUARD, MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
        *kind = GuardKind::Mprotect;
    }
    let limit_of_maps = max_map_count();
    if (*by_mprotect + 1) * 2 + MAPS_RESERVE > limit_of_maps {
        return Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!(
                "cannot guard stack {}: each takes two of the {limit_of_maps} mappings that \
                 vm.max_map_count allows (raise it, or use Linux 6.13 or later, where guards \
                 take none)",
                *by_mprotect + 1
            ),
        ));
    }
    // SAFETY: the range is page-aligned, inside a region of ours, and no stack uses it yet.
    if unsafe { libc::mprotect(guard, GUARD, libc::PROT_NONE) } != 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(
            error.kind(),
            format!("cannot guard a stack by mprotect: {error} (see vm.max_map_count)"),
        ));
    }
    *by_mprotect += 1;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "procfs answers from memory, without a disk")]
fn max_map_count() -> usize {
    const LINUX_DEFAULT: usize = 65_530;
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(LINUX_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_do_not_overlap_and_come_back_last_in_first_out() {
        let mut pool = StackPool::new(GuardKind::Auto, 8);
        let stacks: Vec<Stack> = (0..600).map(|_| pool.take(STACK_DEFAULT).unwrap()).collect();
        let mut limits: Vec<usize> = stacks.iter().map(|stack| stack.span().limit).collect();
        limits.sort_unstable();
        assert!(limits.windows(2).all(|pair| pair[1] - pair[0] >= STACK_DEFAULT));
        let last = stacks.last().unwrap().span().limit;
        stacks.into_iter().for_each(|stack| pool.give_back(stack));
        assert_eq!((pool.in_use(), pool.pooled()), (0, 600));
        let again = pool.take(STACK_DEFAULT).unwrap();
        assert_eq!(again.span().limit, last);
        pool.give_back(again);
    }

    #[test]
    fn sizes_out_of_range_are_refused_by_name() {
        let mut pool = StackPool::new(GuardKind::Auto, 8);
        for size in [0, 1, GUARD, STACK_MIN - 1, STACK_MAX + 1, usize::MAX] {
            let error = pool.take(size).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("128 KiB to 1048576 KiB"), "{error}");
        }
        let stack = pool.take(STACK_MIN + 1).unwrap();
        assert_eq!(stack.size(), 2 * STACK_MIN);
        pool.give_back(stack);
    }

    #[test]
    fn the_mprotect_fallback_stops_before_the_limit_and_names_it() {
        let mut by_mprotect = (max_map_count() - MAPS_RESERVE) / 2;
        let mut kind = GuardKind::Mprotect;
        let error = install_guard(PAGE, &mut kind, &mut by_mprotect).unwrap_err();
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
    }

    #[test]
    fn memory_of_free_stacks_above_the_number_to_retain_is_given_back() {
        let mut pool = StackPool::new(GuardKind::Auto, 2);
        let stacks: Vec<Stack> = (0..10).map(|_| pool.take(STACK_DEFAULT).unwrap()).collect();
        for stack in &stacks {
            let word = ptr::with_exposed_provenance_mut::<u64>((stack.top() - 64) & !7);
            // SAFETY: the word is aligned and inside a stack that this test owns.
            unsafe { word.write(1) };
        }
        stacks.into_iter().for_each(|stack| pool.give_back(stack));
        assert!(pool.trim(3));
        assert!(!pool.trim(100));
        let resident = pool.classes[0]
            .free
            .iter()
            .filter(|stack| stack.span().resident().unwrap() > 0)
            .count();
        assert_eq!(resident, 2);
    }
}
