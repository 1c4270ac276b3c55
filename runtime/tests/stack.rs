//! Stacks: many at once, reused, given back, and what happens when one overflows or none is left.
#![expect(clippy::unwrap_used, reason = "what tests call fails by it as they do")]

mod support;

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use support::native::{self, LargeFrame};
use support::{child, is_under_valgrind, scaled, virtual_runtime};
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{self as rt, Builder, ClockKind, GuardKind, Runtime};

const MS: Duration = Duration::from_millis(1);

/// Uses the stack down to about `bytes` below the caller, and calls `f` there.
fn dive(bytes: usize, f: &mut dyn FnMut()) {
    #[inline(never)]
    fn deeper(top: usize, bytes: usize, f: &mut dyn FnMut()) {
        let here = black_box([0_u8; 256]);
        if top - here.as_ptr().addr() < bytes {
            deeper(top, bytes, f);
        } else {
            f();
        }
        black_box(&here);
    }
    let top = black_box(0_u8);
    deeper((&raw const top).addr(), bytes, f);
}

/// The memory in use, in KiB, by `key` of `/proc/self/status`.
#[expect(clippy::disallowed_methods, reason = "procfs answers from memory")]
fn status_kib(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

// Many.

#[test]
fn more_coroutines_than_half_of_max_map_count_are_parked_at_once() {
    // With a mapping for each guard, `vm.max_map_count` (65 530) would end this at 32 765.
    let runtime = virtual_runtime();
    let count = scaled(40_000, 2_000);
    let cond = Rc::new(Cond::new());
    let woken = Rc::new(Cell::new(0));
    let (theirs, counter) = (Rc::clone(&cond), Rc::clone(&woken));
    runtime
        .block_on(move || {
            for _ in 0..count {
                let (cond, woken) = (Rc::clone(&theirs), Rc::clone(&counter));
                let parked = Builder::new().spawn(move || {
                    cond.wait().unwrap();
                    woken.set(woken.get() + 1);
                });
                drop(parked.unwrap());
            }
            rt::sleep(MS).unwrap();
            assert_eq!(theirs.broadcast(), count);
            rt::sleep(MS).unwrap();
        })
        .unwrap();
    assert_eq!(woken.get(), count);
    let counts = runtime.stats();
    assert_eq!((counts.live, counts.stacks_in_use, counts.stacks_pooled), (0, 0, count + 1));
}

#[test]
fn the_mprotect_fallback_guards_stacks_as_well() {
    let builder = Runtime::builder().clock(ClockKind::Virtual).guard(GuardKind::Mprotect);
    let runtime = builder.build().unwrap();
    runtime
        .block_on(|| {
            let children: Vec<_> = (0..500)
                .map(|n| {
                    rt::spawn(move || {
                        dive(150 << 10, &mut || rt::sleep(MS).unwrap());
                        n
                    })
                })
                .collect();
            let sum: u32 = children.iter().map(|child| child.join().unwrap()).sum();
            assert_eq!(sum, (0..500).sum::<u32>());
        })
        .unwrap();
}

#[test]
fn the_mprotect_fallback_ends_before_the_limit_with_an_error_that_names_it() {
    const TEST: &str = "the_mprotect_fallback_ends_before_the_limit_with_an_error_that_names_it";
    if !child::is_child(TEST) {
        return child::run(TEST, &[]).assert_success();
    }
    let builder = Runtime::builder().clock(ClockKind::Virtual).guard(GuardKind::Mprotect);
    let runtime = builder.build().unwrap();
    runtime
        .block_on(|| {
            let limit: usize = max_map_count();
            let mut spawned = 0;
            let error = loop {
                match Builder::new().spawn(|| Cond::new().wait()) {
                    Ok(_detached) => spawned += 1,
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains("vm.max_map_count"), "{error}");
            assert!(spawned > limit / 4 && spawned < limit / 2, "{spawned} of {limit}");
            // All that runs goes on running, and memory can still be had.
            rt::sleep(MS).unwrap();
            drop(black_box(vec![1_u8; 64 << 20]));
        })
        .unwrap();
}

#[expect(clippy::disallowed_methods, reason = "procfs answers from memory")]
fn max_map_count() -> usize {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    text.trim().parse().unwrap()
}

// Reuse, and giving back.

#[test]
fn the_stack_that_was_given_back_last_is_used_first() {
    virtual_runtime()
        .block_on(|| {
            let place = || {
                let here = black_box(0_u8);
                (&raw const here).addr() >> 18
            };
            let first = rt::spawn(place).join().unwrap();
            assert_eq!(rt::spawn(place).join().unwrap(), first);
        })
        .unwrap();
}

#[test]
fn a_burst_gives_its_memory_back_when_the_runtime_is_idle() {
    const TEST: &str = "a_burst_gives_its_memory_back_when_the_runtime_is_idle";
    if !child::is_child(TEST) {
        // A process of its own: other tests' memory would be counted too.
        return child::run(TEST, &[]).assert_success();
    }
    let builder = Runtime::builder().clock(ClockKind::Virtual).stack_retain(10);
    let runtime = builder.build().unwrap();
    let count = 500;
    runtime
        .block_on(move || {
            rt::spawn(|| dive(100 << 10, &mut || ())).join().unwrap();
            let before = status_kib("VmRSS");
            let cond = Rc::new(Cond::new());
            for _ in 0..count {
                let cond = Rc::clone(&cond);
                rt::spawn(move || dive(100 << 10, &mut || cond.wait().unwrap()));
            }
            rt::sleep(MS).unwrap();
            let during = status_kib("VmRSS");
            assert!(during > before + count * 90, "{before} then {during} KiB");
            assert_eq!(cond.broadcast(), count);
            rt::sleep(MS).unwrap();
            rt::sleep(MS).unwrap();
            let after = status_kib("VmRSS");
            // Ten stacks, the task blocks, and what the allocator keeps.
            assert!(after < before + 10 * 120 + 2000, "{before}, {during}, then {after} KiB");
        })
        .unwrap();
}

#[test]
fn trim_stack_gives_back_what_a_deep_call_touched_and_nothing_that_is_used() {
    const TEST: &str = "trim_stack_gives_back_what_a_deep_call_touched_and_nothing_that_is_used";
    if !child::is_child(TEST) {
        return child::run(TEST, &[]).assert_success();
    }
    let runtime = Runtime::builder().stack_size(16 << 20).build().unwrap();
    runtime
        .block_on(|| {
            let used = black_box([7_u8; 4000]);
            let before = status_kib("VmRSS");
            dive(12 << 20, &mut || ());
            let deep = status_kib("VmRSS");
            assert!(deep > before + 11_000, "{before} then {deep} KiB");
            rt::trim_stack().unwrap();
            let after = status_kib("VmRSS");
            assert!(after < before + 300, "{before}, {deep}, then {after} KiB");
            assert_eq!(used, [7; 4000]);
            // Again deep, and with others running in between.
            dive(12 << 20, &mut || rt::yield_now().unwrap());
            // From deep down, where little is below.
            dive(1 << 20, &mut || rt::trim_stack().unwrap());
            assert_eq!(used, [7; 4000]);
        })
        .unwrap();
    let error = rt::trim_stack().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}

// None left.

#[test]
fn spawning_without_address_space_is_a_clear_error_and_the_rest_goes_on() {
    const TEST: &str = "spawning_without_address_space_is_a_clear_error_and_the_rest_goes_on";
    if !child::is_child(TEST) {
        return child::run(TEST, &[]).assert_success();
    }
    let runtime = virtual_runtime();
    runtime
        .block_on(|| {
            let used = u64::try_from(status_kib("VmSize") << 10).unwrap();
            let limit = used + (1 << 30);
            setrlimit(Resource::RLIMIT_AS, limit, limit).unwrap();
            let cond = Rc::new(Cond::new());
            let mut spawned = 0;
            let error = loop {
                let cond = Rc::clone(&cond);
                match Builder::new().spawn(move || cond.wait().unwrap()) {
                    Ok(_detached) => spawned += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
            let text = error.to_string();
            assert!(text.contains("address space for coroutine stacks"), "{text}");
            assert!(text.contains("ulimit -v"), "{text}");
            assert!(spawned > 2000, "{spawned}");
            rt::sleep(MS).unwrap();
            // When some have ended there are stacks again.
            assert_eq!(cond.broadcast(), spawned);
            rt::sleep(MS).unwrap();
            assert_eq!(rt::spawn(|| 4).join().unwrap(), 4);
        })
        .unwrap();
}

// Overflow. Each in a child, which dies of it.

/// Runs `test` in a child; it must die by abort after exactly one line about an overflow.
fn assert_names_the_culprit(test: &str, line: &str) {
    let ended = child::run(test, &[]);
    assert_eq!(ended.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("overflow")).collect();
    assert_eq!(lines, [line], "{}", ended.stderr);
}

#[expect(unconditional_recursion, reason = "overflows the stack on purpose")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + 1
}

#[test]
fn endless_recursion_ends_in_one_line_that_names_the_coroutine_and_its_stack() {
    const TEST: &str = "endless_recursion_ends_in_one_line_that_names_the_coroutine_and_its_stack";
    if !child::is_child(TEST) {
        let line = "coroutine 3 \"srt-publish live/cam\" overflowed its 256 KiB stack";
        return assert_names_the_culprit(TEST, line);
    }
    virtual_runtime()
        .block_on(|| {
            rt::spawn(|| ());
            let builder = Builder::new().name("srt-publish live/cam");
            drop(builder.spawn(|| black_box(recurse(0))).unwrap().join());
        })
        .unwrap();
}

#[test]
fn an_overflow_is_named_also_without_a_name_and_on_a_foreign_thread() {
    const TEST: &str = "an_overflow_is_named_also_without_a_name_and_on_a_foreign_thread";
    if !child::is_child(TEST) {
        return assert_names_the_culprit(TEST, "coroutine 2 overflowed its 1024 KiB stack");
    }
    native::on_foreign_thread(|| {
        let builder = Runtime::builder().guard(GuardKind::Mprotect);
        let runtime = builder.build().unwrap();
        runtime
            .block_on(|| {
                let large = Builder::new().stack_size(1 << 20);
                drop(large.spawn(|| black_box(recurse(0))).unwrap().join());
            })
            .unwrap();
    });
}

#[test]
fn a_c_frame_of_32_kib_called_16_kib_from_the_limit_does_not_step_over_the_guard() {
    const TEST: &str =
        "a_c_frame_of_32_kib_called_16_kib_from_the_limit_does_not_step_over_the_guard";
    if !child::is_child(TEST) {
        let line = "coroutine 2 \"caller of C\" overflowed its 256 KiB stack";
        return assert_names_the_culprit(TEST, line);
    }
    let large_frame = LargeFrame::compile(env!("CARGO_TARGET_TMPDIR"));
    virtual_runtime()
        .block_on(move || {
            let caller = Builder::new().name("caller of C").spawn(move || {
                // Where there is room, it does no harm.
                large_frame.call();
                let here = black_box(0_u8);
                let here = (&raw const here).addr();
                // Stacks are aligned to their size, and the lowest 64 KiB are the guard.
                let floor = (here & !((256 << 10) - 1)) + (64 << 10);
                dive(here - floor - (16 << 10), &mut || large_frame.call());
            });
            drop(caller.unwrap().join());
        })
        .unwrap();
}

#[test]
fn a_fault_elsewhere_still_ends_as_it_does_without_a_runtime() {
    const TEST: &str = "a_fault_elsewhere_still_ends_as_it_does_without_a_runtime";
    if !child::is_child(TEST) {
        let ended = child::run(TEST, &[]);
        assert_eq!(ended.signal(), Some(libc::SIGSEGV), "{}", ended.stderr);
        assert!(!ended.stderr.contains("overflow"), "{}", ended.stderr);
        return;
    }
    virtual_runtime().block_on(native::read_null).unwrap();
}

#[test]
fn an_overflow_of_the_threads_own_stack_is_still_stds_to_report() {
    const TEST: &str = "an_overflow_of_the_threads_own_stack_is_still_stds_to_report";
    if !child::is_child(TEST) {
        let ended = child::run(TEST, &[]);
        assert_eq!(ended.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
        assert!(ended.stderr.contains("has overflowed its stack"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("coroutine"), "{}", ended.stderr);
        return;
    }
    let runtime = virtual_runtime();
    runtime.block_on(|| ()).unwrap();
    black_box(recurse(0));
}

#[test]
fn a_deep_call_that_fits_is_no_overflow() {
    virtual_runtime()
        .block_on(|| {
            let builder = Builder::new().stack_size(128 << 10);
            let fits = builder.spawn(|| dive(56 << 10, &mut || rt::yield_now().unwrap()));
            fits.unwrap().join().unwrap();
        })
        .unwrap();
}

#[test]
fn valgrind_is_told_of_every_stack() {
    // Under valgrind this is what would drown in reports of invalid accesses; without it, it shows
    // that stacks of all sizes can be used to their ends.
    virtual_runtime()
        .block_on(|| {
            for class in 17..if is_under_valgrind() { 21 } else { 25 } {
                let size = 1_usize << class;
                let deep = Builder::new().stack_size(size).spawn(move || {
                    dive(size - (74 << 10), &mut || rt::yield_now().unwrap());
                });
                deep.unwrap().join().unwrap();
            }
        })
        .unwrap();
}

/// A closure is moved onto the new stack. One that is larger than that used to be written over the
/// stack below, past the guard.
#[test]
fn a_closure_larger_than_its_stack_is_an_overflow_and_spoils_no_other_stack() {
    const TEST: &str = "a_closure_larger_than_its_stack_is_an_overflow_and_spoils_no_other_stack";
    if !child::is_child(TEST) {
        return assert_names_the_culprit(
            TEST,
            "coroutine 3 \"large\" overflowed its 128 KiB stack",
        );
    }
    // The root has room to make the closure.
    let runtime = Runtime::builder().stack_size(16 << 20).build().unwrap();
    runtime.block_on(|| spawn_large(128 * 1024)).unwrap();
}

#[test]
fn a_large_closure_runs_on_a_stack_that_has_room_for_it() {
    let runtime = Runtime::builder().stack_size(16 << 20).build().unwrap();
    runtime.block_on(|| spawn_large(8 << 20)).unwrap();
}

/// Spawns a coroutine whose closure holds 256 KiB on a stack of `stack_size`, beside another.
#[expect(clippy::large_stack_arrays, clippy::large_stack_frames, reason = "it is what is tested")]
fn spawn_large(stack_size: usize) {
    let neighbour = Builder::new().stack_size(stack_size).spawn(|| {
        let mine = black_box([7_u8; 1024]);
        rt::yield_now().unwrap();
        mine.iter().all(|byte| *byte == 7)
    });
    let cargo = black_box([1_u8; 256 * 1024]);
    let large = Builder::new().name("large").stack_size(stack_size);
    let large = large.spawn(move || black_box(cargo).iter().all(|byte| *byte == 1));
    assert!(large.unwrap().join().unwrap());
    assert!(neighbour.unwrap().join().unwrap());
}
