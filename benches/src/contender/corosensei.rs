//! Raw corosensei with a `VecDeque` of indices as the run queue: the floor of switching.
//!
//! No timers, no joins, no I/O: `spawn` here is creating a coroutine on a pooled stack and running
//! it.

use std::collections::VecDeque;
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::contender::{Contender, SEED};
use crate::measure::{NS, Outcome, Plan, Stopwatch, Tally, round_robin_share};
use crate::rng::Rng;
use crate::sys::{StackRegion, StackSlot};

/// The contender `corosensei`.
#[derive(Debug)]
pub(crate) struct Corosensei;

type Raw = Coroutine<(), (), (), StackSlot>;

impl Contender for Corosensei {
    fn yield_round_robin(&self, plan: Plan) -> Outcome {
        let tally = Rc::new(Tally::default());
        let mut stacks = shuffled_stacks(plan.n)?.into_iter();
        let mut coroutines: Vec<Raw> = Vec::with_capacity(plan.n);
        let samples = Rc::new(std::cell::RefCell::new(Vec::new()));
        if let Some(stack) = stacks.next() {
            let (tally, samples) = (Rc::clone(&tally), Rc::clone(&samples));
            coroutines.push(Raw::with_stack(stack, move |yielder, ()| {
                let (own, watch) = measure_yields(plan, &tally, yielder);
                // The others add their counts when they see `stop`: one round later all have.
                yielder.suspend(());
                let share = round_robin_share(plan.n, own, tally.total.get());
                *samples.borrow_mut() = watch.into_samples(NS, share);
            }));
        }
        for stack in stacks {
            let tally = Rc::clone(&tally);
            coroutines.push(Raw::with_stack(stack, move |yielder, ()| {
                let mut yields = 0;
                while !tally.stop.get() {
                    yielder.suspend(());
                    yields += 1;
                }
                tally.add(yields);
            }));
        }
        run_all(&mut coroutines);
        Ok(samples.take())
    }

    fn spawn(&self, plan: Plan) -> Outcome {
        let mut pool = StackRegion::slots(plan.n)?;
        let mut live: Vec<Raw> = Vec::with_capacity(plan.n);
        let mut watch = Stopwatch::new(plan, plan.n);
        while let Some(count) = watch.next_count() {
            for _ in 0..count {
                while let Some(stack) = pool.pop() {
                    live.push(Raw::with_stack(stack, |_yielder, ()| ()));
                }
                for mut coroutine in live.drain(..) {
                    coroutine.resume(());
                    pool.push(coroutine.into_stack());
                }
            }
        }
        Ok(watch.into_samples(NS, 1.0))
    }
}

fn measure_yields(plan: Plan, tally: &Tally, yielder: &Yielder<(), ()>) -> (u64, Stopwatch) {
    let mut own = 0;
    let mut watch = Stopwatch::new(plan, plan.n);
    while let Some(count) = watch.next_count() {
        for _ in 0..count {
            yielder.suspend(());
        }
        own += count;
    }
    tally.add(own);
    tally.stop.set(true);
    (own, watch)
}

fn run_all(coroutines: &mut [Raw]) {
    let mut queue: VecDeque<usize> = (0..coroutines.len()).collect();
    while let Some(index) = queue.pop_front() {
        if let CoroutineResult::Yield(()) = coroutines[index].resume(()) {
            queue.push_back(index);
        }
    }
}

fn shuffled_stacks(count: usize) -> std::io::Result<Vec<StackSlot>> {
    let mut slots: Vec<Option<StackSlot>> =
        StackRegion::slots(count)?.into_iter().map(Some).collect();
    let order = Rng::new(SEED).permutation(count);
    Ok(order.into_iter().filter_map(|index| slots[index].take()).collect())
}
