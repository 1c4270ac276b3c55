//! Coroutines that spawn, cancel, join, signal, time out, yield, unpark and open scopes at random,
//! under many seeds. At the end nothing may be left over, and nothing was woken twice or never.
//!
//! Nothing twice: a wait that ended well was ended by one signal, and a token is taken once. Nothing
//! never: whenever nobody is runnable, nobody waits for a token that is there, and nobody joins a
//! coroutine that has ended. In the end every coroutine has ended and every stack is back.
#![expect(clippy::unwrap_used, reason = "what tests call fails by it as they do")]

#[expect(dead_code, reason = "nothing but the random numbers is needed here")]
mod seeds;
mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use seeds::Random;
use support::scaled;
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{self as rt, ClockKind, JoinError, JoinHandle, Runtime, Unparker, WaitError};

/// What the coroutines of one run share.
struct World {
    random: RefCell<Random>,
    /// Handles that anybody may take, to cancel, join, or drop.
    handles: RefCell<Vec<JoinHandle<u64>>>,
    /// How many tokens are in nobody's hands, and those who wait for one.
    tokens: Cell<u64>,
    token_came: Cond,
    /// Of living coroutines and others; a virtual clock stands still while there is one.
    unparkers: Option<RefCell<Vec<Unparker>>>,
    /// Coroutines that have ended, and those that are being joined.
    ended: RefCell<HashSet<u64>>,
    joining: RefCell<HashSet<u64>>,
    plain: Cond,
    counts: Tally,
    /// Coroutines to be spawned at most.
    budget: Cell<u32>,
}

#[derive(Default)]
struct Tally {
    /// Whatever a coroutine did that ran.
    steps: Cell<u64>,
    spawned: Cell<u64>,
    ended: Cell<u64>,
    joined: Cell<u64>,
    /// Waits at `plain` that ended well, and signals that found somebody.
    waits: Cell<u64>,
    signals: Cell<u64>,
    tokens_made: Cell<u64>,
    tokens_taken: Cell<u64>,
    panics: Cell<u64>,
}

fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

/// Notes the end of a coroutine, however it comes.
struct Ends(Rc<World>);

impl Drop for Ends {
    fn drop(&mut self) {
        add(&self.0.counts.ended, 1);
        add(&self.0.counts.steps, 1);
        let id = rt::current().expect("it is dropped on its coroutine").id();
        self.0.ended.borrow_mut().insert(id);
    }
}

impl World {
    fn new(seed: u64, budget: u32, clock: ClockKind) -> Self {
        Self {
            random: RefCell::new(Random::new(seed)),
            handles: RefCell::default(),
            tokens: Cell::new(0),
            token_came: Cond::new(),
            unparkers: (clock == ClockKind::Real).then(RefCell::default),
            ended: RefCell::default(),
            joining: RefCell::default(),
            plain: Cond::new(),
            counts: Tally::default(),
            budget: Cell::new(budget),
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    fn some_time(&self) -> Duration {
        Duration::from_micros(self.below(3000))
    }

    fn take_handle(&self) -> Option<JoinHandle<u64>> {
        let mut handles = self.handles.borrow_mut();
        let index = usize::try_from(self.below(handles.len().max(1) as u64)).unwrap();
        (index < handles.len()).then(|| handles.swap_remove(index))
    }

    /// To be called when nobody is runnable.
    fn check_that_nobody_was_forgotten(&self) {
        if self.tokens.get() > 0 {
            assert_eq!(self.token_came.broadcast(), 0, "waits for a token that is there");
        }
        let joined_in_vain: Vec<u64> =
            self.joining.borrow().intersection(&self.ended.borrow()).copied().collect();
        assert!(joined_in_vain.is_empty(), "{joined_in_vain:?} have ended and are being joined");
    }

    fn may_spawn(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }
}

fn spawn(world: &Rc<World>) {
    if !world.may_spawn() {
        return;
    }
    add(&world.counts.spawned, 1);
    let theirs = Rc::clone(world);
    let handle = rt::spawn(move || {
        let ends = Ends(theirs);
        live(&ends.0)
    });
    match world.below(4) {
        0 => drop(handle),
        1 => handle.cancel(),
        _ => world.handles.borrow_mut().push(handle),
    }
}

/// What each coroutine does: some steps at random, until it ran into an error once or twice.
fn live(world: &Rc<World>) -> u64 {
    let mut patience = world.below(3);
    let steps = 1 + world.below(20);
    for _ in 0..steps {
        match step(world) {
            Ok(()) => {}
            Err(WaitError::Refused(refused)) => panic!("{refused}"),
            Err(_) if patience == 0 => break,
            Err(_) => patience -= 1,
        }
    }
    if world.below(20) == 0 {
        panic!("at random");
    }
    rt::current().unwrap().id()
}

fn step(world: &Rc<World>) -> Result<(), WaitError> {
    let result = try_step(world);
    add(&world.counts.steps, 1);
    result
}

fn try_step(world: &Rc<World>) -> Result<(), WaitError> {
    match world.below(16) {
        0 | 1 => rt::yield_now(),
        2 => rt::sleep(world.some_time()),
        3 | 4 => {
            spawn(world);
            Ok(())
        }
        5 => join(world),
        6 => {
            if let Some(handle) = world.take_handle() {
                handle.cancel();
                world.handles.borrow_mut().push(handle);
            }
            Ok(())
        }
        7 => wait_plain(world),
        8 => {
            add(&world.counts.signals, u64::from(world.plain.signal()));
            Ok(())
        }
        9 => {
            add(&world.counts.signals, world.plain.broadcast() as u64);
            Ok(())
        }
        10 => {
            add(&world.tokens, 1);
            add(&world.counts.tokens_made, 1);
            world.token_came.signal();
            Ok(())
        }
        11 => take_token(world),
        12 => rt::timeout(world.some_time(), || step(world)),
        13 => rt::shield(world.some_time(), || step(world)),
        14 => park(world),
        _ => open_scope(world),
    }
}

fn join(world: &Rc<World>) -> Result<(), WaitError> {
    let Some(handle) = world.take_handle() else { return Ok(()) };
    let id = handle.id();
    let own = rt::current().unwrap().id();
    let is_new = world.joining.borrow_mut().insert(id);
    let result = if world.below(2) == 0 {
        handle.join()
    } else {
        handle.join_until(rt::now() + world.some_time())
    };
    assert!(is_new && world.joining.borrow_mut().remove(&id), "a handle has one holder");
    match result {
        Ok(value) => {
            assert_eq!(value, id, "the value of another coroutine");
            add(&world.counts.joined, 1);
            assert!(matches!(
                handle.join_until(rt::now()),
                Err(JoinError::Taken | JoinError::Wait(_))
            ));
            Ok(())
        }
        Err(JoinError::Panicked(_)) => Ok(()),
        Err(JoinError::Itself) => {
            assert_eq!(id, own);
            Ok(())
        }
        Err(JoinError::Wait(error)) => {
            world.handles.borrow_mut().push(handle);
            Err(error)
        }
        Err(error) => panic!("{error}"),
    }
}

fn wait_plain(world: &World) -> Result<(), WaitError> {
    let result = world.plain.wait_until(rt::now() + world.some_time());
    add(&world.counts.waits, u64::from(result.is_ok()));
    result
}

/// Waits for a token; a signal that is not used must have gone on to another who waits.
fn take_token(world: &World) -> Result<(), WaitError> {
    let in_time = rt::now() + world.some_time();
    let for_ever = world.below(2) == 0;
    while world.tokens.get() == 0 {
        if for_ever { world.token_came.wait()? } else { world.token_came.wait_until(in_time)? }
    }
    world.tokens.set(world.tokens.get() - 1);
    add(&world.counts.tokens_taken, 1);
    Ok(())
}

fn park(world: &World) -> Result<(), WaitError> {
    let unparker = Unparker::for_current().unwrap();
    match &world.unparkers {
        Some(unparkers) if world.below(2) == 0 => {
            let other = unparkers.borrow_mut().pop();
            other.iter().for_each(Unparker::unpark);
            return Ok(());
        }
        Some(unparkers) => unparkers.borrow_mut().push(unparker),
        None => {
            unparker.unpark();
            drop(unparker);
        }
    }
    rt::park_until(rt::now() + Duration::from_millis(2))
}

fn open_scope(world: &Rc<World>) -> Result<(), WaitError> {
    let mut done = [false; 3];
    let panics = world.below(8) == 0;
    let joins = world.below(2) == 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        rt::scope(|s| {
            for flag in &mut done {
                if !world.may_spawn() {
                    *flag = true;
                    continue;
                }
                add(&world.counts.spawned, 1);
                let child = s.spawn(move || {
                    let _ends = Ends(Rc::clone(world));
                    // An error is no reason not to come to the end.
                    let _ended_early = step(world);
                    *flag = true;
                });
                if joins && child.join().is_err() {
                    return;
                }
            }
            if panics {
                add(&world.counts.panics, 1);
                panic!("at random");
            }
        });
    }));
    assert!(joins || done == [true; 3], "scope returned before its children had ended");
    assert!(result.is_ok() || panics);
    Ok(())
}

/// One run under one seed, which must leave nothing behind. The result is the sum of all that was
/// counted, by which a run is compared with its repetition.
fn stress(runtime: &Runtime, seed: u64, clock: ClockKind) -> u64 {
    let world = Rc::new(World::new(seed, 300, clock));
    let theirs = Rc::clone(&world);
    let begin = runtime.spawn(move || (0..20).for_each(|_| spawn(&theirs)));
    drop(begin.unwrap());
    // Some runs come to their own end, the others are ended with coroutines in every state.
    let mut patience = world.below(60);
    while patience > 0 && runtime.live() > 0 {
        let before = world.counts.steps.get();
        // Without moving a virtual clock.
        runtime.turn(Some(Duration::ZERO)).unwrap();
        if world.counts.steps.get() == before {
            world.check_that_nobody_was_forgotten();
            patience -= 1;
            runtime.turn(Some(Duration::from_millis(1))).unwrap();
        }
    }
    runtime.block_on(|| ()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    world.handles.borrow_mut().clear();
    world.unparkers.iter().for_each(|unparkers| unparkers.borrow_mut().clear());
    let tally = &world.counts;
    assert_eq!(tally.ended.get(), tally.spawned.get(), "seed {seed}: coroutines");
    assert_eq!(tally.waits.get(), tally.signals.get(), "seed {seed}: signals");
    let tokens = tally.tokens_taken.get() + world.tokens.get();
    assert_eq!(tokens, tally.tokens_made.get(), "seed {seed}: tokens");
    let counts = runtime.stats();
    assert_eq!((counts.live, counts.stacks_in_use), (0, 0), "seed {seed}: {counts:?}");
    assert_eq!(Rc::strong_count(&world), 1, "seed {seed}: a closure was not dropped");
    [&tally.ended, &tally.joined, &tally.waits, &tally.tokens_taken, &tally.panics]
        .map(Cell::get)
        .into_iter()
        .sum()
}

#[test]
fn random_programs_leave_nothing_behind_and_are_repeatable_on_the_virtual_clock() {
    std::panic::set_hook(Box::new(quiet));
    for seed in 0..scaled(120, 3) as u64 {
        let [first, second] = [(), ()].map(|()| {
            let builder = Runtime::builder().clock(ClockKind::Virtual).seed(seed);
            let runtime = builder.build().unwrap();
            stress(&runtime, seed, ClockKind::Virtual)
        });
        assert_eq!(first, second, "seed {seed} went another way");
    }
}

#[test]
fn random_programs_leave_nothing_behind_in_the_usual_order() {
    std::panic::set_hook(Box::new(quiet));
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let mut sum = 0;
    for seed in 0..scaled(120, 3) as u64 {
        sum += stress(&runtime, seed, ClockKind::Virtual);
    }
    assert!(sum > 100, "hardly anything happened");
    let counts = runtime.stats();
    assert!(counts.stacks_pooled <= 400, "stacks pile up: {counts:?}");
    assert!(counts.timers <= 3000, "timers pile up: {counts:?}");
}

#[test]
fn random_programs_leave_nothing_behind_on_the_real_clock() {
    std::panic::set_hook(Box::new(quiet));
    let runtime = Runtime::builder().build().unwrap();
    for seed in 0..scaled(20, 2) as u64 {
        stress(&runtime, seed, ClockKind::Real);
    }
}

/// Prints panics, but for those that are meant.
#[expect(clippy::print_stderr, reason = "the hook of a test")]
fn quiet(info: &std::panic::PanicHookInfo<'_>) {
    if info.payload_as_str() != Some("at random") {
        eprintln!("{info}");
    }
}
