//! State Threads as Debian ships it (libst 1.9) with its default stacks.
//!
//! Debian builds it without epoll: it waits in `select`, and in the echo cases (more than 1024
//! descriptors) in `poll`.
//! It has no `st_thread_yield`; `st_usleep(0)` stands in, which goes through its timer queue.

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use crate::contender::{Contender, SEED};
use crate::measure::{
    CpuWindow, ECHO_BUF_BYTES, GATHERING, Memory, NS, Outcome, Plan, Stopwatch, TIMER_WARM_UP,
    Tally, WAIT_LIMIT, round_robin_share,
};
use crate::rng::Rng;
use crate::st::{Cond, NetFd, StateThreads as St};

/// The contender `state-threads`.
#[derive(Debug)]
pub(crate) struct StateThreads;

impl Contender for StateThreads {
    fn yield_round_robin(&self, plan: Plan) -> Outcome {
        let st = St::init()?;
        st.block_on(move || {
            let tally = Rc::new(Tally::default());
            let mut others = Vec::with_capacity(plan.n);
            let mut gates = Vec::with_capacity(plan.n);
            for _ in 1..plan.n {
                let gate = Rc::new(st.cond()?);
                gates.push(Rc::clone(&gate));
                let tally = Rc::clone(&tally);
                others.push(st.spawn(move || {
                    let mut yields = 0;
                    tally.gather();
                    gate.wait();
                    while !tally.stop.get() {
                        st.sleep(Duration::ZERO);
                        yields += 1;
                    }
                    tally.add(yields);
                })?);
            }
            while tally.gathered.get() < gates.len() {
                st.sleep(GATHERING);
            }
            for index in Rng::new(SEED).permutation(gates.len()) {
                gates[index].signal();
            }
            let mut own = 0;
            let mut watch = Stopwatch::new(plan, plan.n);
            while let Some(count) = watch.next_count() {
                for _ in 0..count {
                    st.sleep(Duration::ZERO);
                }
                own += count;
            }
            tally.add(own);
            tally.stop.set(true);
            for other in others {
                other.join()?;
            }
            let share = round_robin_share(plan.n, own, tally.total.get());
            Ok(watch.into_samples(NS, share))
        })?
    }

    fn cond(&self, plan: Plan) -> Outcome {
        let st = St::init()?;
        st.block_on(move || ping_pong(st, plan, Cond::wait))?
    }

    fn cond_deadline(&self, plan: Plan) -> Outcome {
        let st = St::init()?;
        st.block_on(move || {
            park_sleepers(st, plan.n)?;
            ping_pong(st, plan, |cond| cond.wait_for(WAIT_LIMIT))
        })?
    }

    fn spawn(&self, plan: Plan) -> Outcome {
        let st = St::init()?;
        st.block_on(move || {
            let mut threads = Vec::with_capacity(plan.n);
            let mut watch = Stopwatch::new(plan, plan.n);
            while let Some(count) = watch.next_count() {
                for _ in 0..count {
                    for _ in 0..plan.n {
                        threads.push(st.spawn(|| ())?);
                    }
                    for thread in threads.drain(..) {
                        thread.join()?;
                    }
                }
            }
            Ok(watch.into_samples(NS, 1.0))
        })?
    }

    fn timer(&self, plan: Plan) -> Outcome {
        let st = St::init()?;
        st.block_on(move || {
            let expiries = Rc::new(Cell::new(0));
            let mut seeds = Rng::new(SEED);
            for _ in 0..plan.n {
                let expiries = Rc::clone(&expiries);
                let mut rng = Rng::new(seeds.next_u64());
                st.spawn(move || {
                    loop {
                        st.sleep(rng.short_sleep());
                        expiries.set(expiries.get() + 1);
                    }
                })?;
            }
            st.sleep(TIMER_WARM_UP);
            let mut samples = Vec::new();
            for _ in 0..plan.reps {
                let window = CpuWindow::open(expiries.get());
                st.sleep(plan.rep);
                samples.push(window.close(expiries.get()));
            }
            Ok(samples)
        })?
    }

    fn echo(&self, listener: TcpListener) -> Outcome {
        let st = St::init_with_poll()?;
        st.block_on(move || {
            let listener = st.socket(listener.into())?;
            loop {
                let connection = listener.accept()?;
                connection.set_nodelay()?;
                st.spawn(move || serve(&connection))?;
            }
        })?
    }

    fn memory(&self, plan: Plan) -> Outcome {
        let st = St::init()?;
        st.block_on(move || {
            let before = Memory::now()?;
            park_sleepers(st, plan.n)?;
            Ok(before.growth_per_coroutine(plan.n)?)
        })?
    }
}

fn ping_pong(st: St, plan: Plan, wait: impl Fn(&Cond) + Copy + 'static) -> Outcome {
    let (ping, pong) = (Rc::new(st.cond()?), Rc::new(st.cond()?));
    let stop = Rc::new(Cell::new(false));
    let echo = {
        let (ping, pong, stop) = (Rc::clone(&ping), Rc::clone(&pong), Rc::clone(&stop));
        st.spawn(move || {
            while !stop.get() {
                wait(&ping);
                pong.signal();
            }
        })?
    };
    // The other thread must be waiting before the first signal.
    st.sleep(GATHERING);
    let mut watch = Stopwatch::new(plan, 1);
    while let Some(count) = watch.next_count() {
        for _ in 0..count {
            ping.signal();
            wait(&pong);
        }
    }
    stop.set(true);
    ping.signal();
    echo.join()?;
    Ok(watch.into_samples(NS, 1.0))
}

fn serve(connection: &NetFd) {
    let mut buf = [0; ECHO_BUF_BYTES];
    while let Ok(len @ 1..) = connection.read(&mut buf) {
        if connection.write_all(&buf[..len]).is_err() {
            break;
        }
    }
}

/// Starts `n` threads that sleep through the run, and returns when all do.
fn park_sleepers(st: St, n: usize) -> io::Result<()> {
    let mut rng = Rng::new(SEED);
    let started = Rc::new(Cell::new(0));
    for _ in 0..n {
        let started = Rc::clone(&started);
        let duration = rng.long_sleep();
        st.spawn(move || {
            started.set(started.get() + 1);
            st.sleep(duration);
        })?;
    }
    while started.get() < n {
        st.sleep(GATHERING);
    }
    Ok(())
}
