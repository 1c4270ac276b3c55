//! tokio's `current_thread` runtime with all drivers enabled.
//!
//! A yield is a future that wakes itself and is pending once: `yield_now` defers to the driver as
//! well, so it measures `epoll_wait`. Spawning is `spawn_local` on a `LocalSet`; everything else is
//! `spawn`.

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn, spawn_local};
use tokio::time::{sleep, timeout};

use crate::contender::{Contender, SEED};
use crate::measure::{
    CpuWindow, ECHO_BUF_BYTES, GATHERING, Memory, NS, Outcome, Plan, Stopwatch, TIMER_WARM_UP,
    WAIT_LIMIT, round_robin_share,
};
use crate::rng::Rng;

/// The contender `tokio`.
#[derive(Debug)]
pub(crate) struct Tokio;

impl Contender for Tokio {
    fn yield_round_robin(&self, plan: Plan) -> Outcome {
        current_thread()?.block_on(async move { spawn(yields(plan)).await? })
    }

    fn cond(&self, plan: Plan) -> Outcome {
        current_thread()?.block_on(async move { spawn(ping_pong(plan, false)).await? })
    }

    fn cond_deadline(&self, plan: Plan) -> Outcome {
        current_thread()?.block_on(async move {
            park_sleepers(plan.n).await;
            spawn(ping_pong(plan, true)).await?
        })
    }

    fn spawn(&self, plan: Plan) -> Outcome {
        let local = LocalSet::new();
        local.block_on(&current_thread()?, async move {
            spawn_local(async move {
                let mut tasks = Vec::with_capacity(plan.n);
                let mut watch = Stopwatch::new(plan, plan.n);
                while let Some(count) = watch.next_count() {
                    for _ in 0..count {
                        for _ in 0..plan.n {
                            tasks.push(spawn_local(async {}));
                        }
                        for task in tasks.drain(..) {
                            task.await?;
                        }
                    }
                }
                Ok(watch.into_samples(NS, 1.0))
            })
            .await?
        })
    }

    fn timer(&self, plan: Plan) -> Outcome {
        current_thread()?.block_on(async move {
            let expiries = Arc::new(AtomicU64::new(0));
            let mut seeds = Rng::new(SEED);
            for _ in 0..plan.n {
                let expiries = Arc::clone(&expiries);
                let mut rng = Rng::new(seeds.next_u64());
                spawn(async move {
                    loop {
                        sleep(rng.short_sleep()).await;
                        expiries.fetch_add(1, Relaxed);
                    }
                });
            }
            sleep(TIMER_WARM_UP).await;
            let mut samples = Vec::new();
            for _ in 0..plan.reps {
                let window = CpuWindow::open(expiries.load(Relaxed));
                sleep(plan.rep).await;
                samples.push(window.close(expiries.load(Relaxed)));
            }
            Ok(samples)
        })
    }

    fn echo(&self, listener: TcpListener) -> Outcome {
        listener.set_nonblocking(true)?;
        current_thread()?.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let accepting = spawn(async move {
                loop {
                    let (connection, _peer) = listener.accept().await?;
                    connection.set_nodelay(true)?;
                    spawn(serve(connection));
                }
            });
            accepting.await?
        })
    }

    fn memory(&self, plan: Plan) -> Outcome {
        current_thread()?.block_on(async move {
            let before = Memory::now()?;
            park_sleepers(plan.n).await;
            Ok(before.growth_per_coroutine(plan.n)?)
        })
    }
}

async fn yields(plan: Plan) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let total = Arc::new(AtomicU64::new(0));
    let mut others = Vec::with_capacity(plan.n);
    let gates: Vec<Arc<Notify>> = (1..plan.n).map(|_index| Arc::new(Notify::new())).collect();
    for gate in &gates {
        let gate = Arc::clone(gate);
        let (stop, total) = (Arc::clone(&stop), Arc::clone(&total));
        others.push(spawn(async move {
            let mut yields = 0;
            gate.notified().await;
            while !stop.load(Relaxed) {
                SelfWake::default().await;
                yields += 1;
            }
            total.fetch_add(yields, Relaxed);
        }));
    }
    // A gate that opens early stays open: a permit is kept.
    sleep(GATHERING).await;
    for index in Rng::new(SEED).permutation(gates.len()) {
        gates[index].notify_one();
    }
    let mut own = 0;
    let mut watch = Stopwatch::new(plan, plan.n);
    while let Some(count) = watch.next_count() {
        for _ in 0..count {
            SelfWake::default().await;
        }
        own += count;
    }
    total.fetch_add(own, Relaxed);
    stop.store(true, Relaxed);
    for other in others {
        other.await?;
    }
    let share = round_robin_share(plan.n, own, total.load(Relaxed));
    Ok(watch.into_samples(NS, share))
}

async fn ping_pong(plan: Plan, limited: bool) -> Outcome {
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let echo = {
        let (ping, pong, stop) = (Arc::clone(&ping), Arc::clone(&pong), Arc::clone(&stop));
        spawn(async move {
            while !stop.load(Relaxed) {
                wait(&ping, limited).await;
                pong.notify_one();
            }
        })
    };
    let mut watch = Stopwatch::new(plan, 1);
    while let Some(count) = watch.next_count() {
        for _ in 0..count {
            ping.notify_one();
            wait(&pong, limited).await;
        }
    }
    stop.store(true, Relaxed);
    ping.notify_one();
    echo.await?;
    Ok(watch.into_samples(NS, 1.0))
}

async fn wait(notify: &Notify, limited: bool) {
    if limited {
        // An end by the deadline shows as a round trip of 5 s.
        let _in_time = timeout(WAIT_LIMIT, notify.notified()).await.is_ok();
    } else {
        notify.notified().await;
    }
}

async fn serve(mut connection: TcpStream) {
    let mut buf = [0; ECHO_BUF_BYTES];
    while let Ok(len @ 1..) = connection.read(&mut buf).await {
        if connection.write_all(&buf[..len]).await.is_err() {
            break;
        }
    }
}

/// Starts `n` tasks that sleep through the run, and returns when all do.
async fn park_sleepers(n: usize) {
    let mut rng = Rng::new(SEED);
    let started = Arc::new(AtomicU64::new(0));
    for _ in 0..n {
        let started = Arc::clone(&started);
        let duration = rng.long_sleep();
        spawn(async move {
            started.fetch_add(1, Relaxed);
            sleep(duration).await;
        });
    }
    while started.load(Relaxed) < n as u64 {
        sleep(GATHERING).await;
    }
}

fn current_thread() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[derive(Debug, Default)]
struct SelfWake {
    woken: bool,
}

impl Future for SelfWake {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.woken {
            return Poll::Ready(());
        }
        self.woken = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
