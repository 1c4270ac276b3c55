//! Our runtime, used as a user would: no options, no inner doors.

use std::cell::Cell;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;

use thalweg_runtime as rt;
use thalweg_runtime::net::TcpStream;
use thalweg_runtime::sync::Cond;

use crate::contender::{Contender, SEED};
use crate::measure::{
    CpuWindow, ECHO_BUF_BYTES, GATHERING, Memory, NS, Outcome, Plan, Stopwatch, TIMER_WARM_UP,
    Tally, WAIT_LIMIT, round_robin_share,
};
use crate::rng::Rng;

/// The contender `thalweg`.
#[derive(Debug)]
pub(crate) struct Thalweg;

impl Contender for Thalweg {
    fn yield_round_robin(&self, plan: Plan) -> Outcome {
        block_on(move || {
            let tally = Rc::new(Tally::default());
            let mut others = Vec::with_capacity(plan.n);
            let gates: Vec<Rc<Cond>> = (1..plan.n).map(|_index| Rc::new(Cond::new())).collect();
            for gate in &gates {
                let (gate, tally) = (Rc::clone(gate), Rc::clone(&tally));
                others.push(rt::spawn(move || {
                    let mut yields = 0;
                    tally.gather();
                    let mut running = gate.wait().is_ok();
                    while running && !tally.stop.get() {
                        running = rt::yield_now().is_ok();
                        yields += 1;
                    }
                    tally.add(yields);
                }));
            }
            while tally.gathered.get() < gates.len() {
                rt::sleep(GATHERING)?;
            }
            for index in Rng::new(SEED).permutation(gates.len()) {
                gates[index].signal();
            }
            let mut own = 0;
            let mut watch = Stopwatch::new(plan, plan.n);
            while let Some(count) = watch.next_count() {
                for _ in 0..count {
                    rt::yield_now()?;
                }
                own += count;
            }
            tally.add(own);
            tally.stop.set(true);
            for other in others {
                join(&other)?;
            }
            let share = round_robin_share(plan.n, own, tally.total.get());
            Ok(watch.into_samples(NS, share))
        })
    }

    fn cond(&self, plan: Plan) -> Outcome {
        block_on(move || ping_pong::<Plain>(plan))
    }

    fn cond_deadline(&self, plan: Plan) -> Outcome {
        block_on(move || {
            park_sleepers(plan.n)?;
            ping_pong::<Limited>(plan)
        })
    }

    fn spawn(&self, plan: Plan) -> Outcome {
        block_on(move || {
            let mut coroutines = Vec::with_capacity(plan.n);
            let mut watch = Stopwatch::new(plan, plan.n);
            while let Some(count) = watch.next_count() {
                for _ in 0..count {
                    for _ in 0..plan.n {
                        coroutines.push(rt::spawn(|| ()));
                    }
                    for coroutine in coroutines.drain(..) {
                        join(&coroutine)?;
                    }
                }
            }
            Ok(watch.into_samples(NS, 1.0))
        })
    }

    fn timer(&self, plan: Plan) -> Outcome {
        block_on(move || {
            let expiries = Rc::new(Cell::new(0));
            let mut seeds = Rng::new(SEED);
            for _ in 0..plan.n {
                let expiries = Rc::clone(&expiries);
                let mut rng = Rng::new(seeds.next_u64());
                let _detached = rt::spawn(move || {
                    while rt::sleep(rng.short_sleep()).is_ok() {
                        expiries.set(expiries.get() + 1);
                    }
                });
            }
            rt::sleep(TIMER_WARM_UP)?;
            let mut samples = Vec::new();
            for _ in 0..plan.reps {
                let window = CpuWindow::open(expiries.get());
                rt::sleep(plan.rep)?;
                samples.push(window.close(expiries.get()));
            }
            Ok(samples)
        })
    }

    fn echo(&self, listener: TcpListener) -> Outcome {
        block_on(move || {
            let listener = rt::net::TcpListener::from_fd(listener.into())?;
            loop {
                let (connection, _peer) = listener.accept()?;
                connection.set_nodelay(true)?;
                let _detached = rt::spawn(move || serve(connection));
            }
        })
    }

    fn memory(&self, plan: Plan) -> Outcome {
        block_on(move || {
            let before = Memory::now()?;
            park_sleepers(plan.n)?;
            Ok(before.growth_per_coroutine(plan.n)?)
        })
    }
}

type Failure = Box<dyn Error + Send + Sync>;

fn block_on(f: impl FnOnce() -> Outcome + 'static) -> Outcome {
    rt::Runtime::builder().build()?.block_on(f)?
}

/// How a coroutine waits for the other. Inlined, as a direct call in a user's loop would be: a
/// function between loop and switch costs a mispredicted return.
trait Waiting: 'static {
    fn wait(cond: &Cond) -> Result<(), rt::WaitError>;
}

/// Without a deadline.
#[derive(Debug)]
struct Plain;

impl Waiting for Plain {
    #[inline(always)]
    fn wait(cond: &Cond) -> Result<(), rt::WaitError> {
        cond.wait()
    }
}

/// With a deadline that never comes.
#[derive(Debug)]
struct Limited;

impl Waiting for Limited {
    #[inline(always)]
    fn wait(cond: &Cond) -> Result<(), rt::WaitError> {
        cond.wait_until(rt::now() + WAIT_LIMIT)
    }
}

fn ping_pong<W: Waiting>(plan: Plan) -> Outcome {
    let (ping, pong) = (Rc::new(Cond::new()), Rc::new(Cond::new()));
    let stop = Rc::new(Cell::new(false));
    let echo = {
        let (ping, pong, stop) = (Rc::clone(&ping), Rc::clone(&pong), Rc::clone(&stop));
        rt::spawn(move || {
            while !stop.get() && W::wait(&ping).is_ok() {
                pong.signal();
            }
        })
    };
    // The other coroutine must be waiting before the first signal.
    rt::sleep(GATHERING)?;
    let mut watch = Stopwatch::new(plan, 1);
    while let Some(count) = watch.next_count() {
        for _ in 0..count {
            ping.signal();
            W::wait(&pong)?;
        }
    }
    stop.set(true);
    ping.signal();
    join(&echo)?;
    Ok(watch.into_samples(NS, 1.0))
}

/// Joins; the error keeps its text only, since a panic's payload is not `Sync`.
#[inline]
fn join<T: 'static>(coroutine: &rt::JoinHandle<T>) -> Result<T, Failure> {
    coroutine.join().map_err(|error| error.to_string().into())
}

fn serve(mut connection: TcpStream) {
    let mut buf = [0; ECHO_BUF_BYTES];
    while let Ok(len @ 1..) = connection.read(&mut buf) {
        if connection.write_all(&buf[..len]).is_err() {
            break;
        }
    }
}

/// Starts `n` coroutines that sleep through the run, and returns when all do.
fn park_sleepers(n: usize) -> Result<(), Failure> {
    let mut rng = Rng::new(SEED);
    let started = Rc::new(Cell::new(0));
    for _ in 0..n {
        let started = Rc::clone(&started);
        let duration = rng.long_sleep();
        let _detached = rt::spawn(move || {
            started.set(started.get() + 1);
            // Ends by cancellation when the measurement is over.
            let _ended_early = rt::sleep(duration).is_err();
        });
    }
    while started.get() < n {
        rt::sleep(GATHERING)?;
    }
    Ok(())
}
