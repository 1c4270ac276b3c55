//! Many coroutines that sleep at the same time, and how late they wake up.
//!
//! `cargo run --release -p thalweg-runtime --example timers`; the number of coroutines (100 000)
//! may be given as an argument. By default a runtime rounds deadlines up to the millisecond, which
//! lets sleepers that are close together share a wake-up.
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use thalweg_runtime as rt;

fn main() -> Result<(), Box<dyn Error>> {
    let sleepers = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    rt::run(move || {
        let late = Rc::new(RefCell::new(Vec::with_capacity(sleepers)));
        let mut handles = Vec::with_capacity(sleepers);
        for number in 0..sleepers {
            let late = Rc::clone(&late);
            handles.push(rt::spawn(move || {
                // 100 to 1100 ms, in no order.
                let sleep = Duration::from_micros(100_000 + number as u64 * 7919 % 1_000_000);
                let due = rt::now() + sleep;
                rt::sleep_until(due)?;
                late.borrow_mut().push(rt::now().saturating_duration_since(due));
                Ok::<(), rt::WaitError>(())
            }));
            // To make them all takes long, so lets others run in between.
            if number % 100 == 0 {
                rt::yield_now()?;
            }
        }
        for handle in handles {
            handle.join()??;
        }
        let mut late = late.take();
        late.sort_unstable();
        let at = |share: f64| {
            let index = (late.len() as f64 * share) as usize;
            late.get(index.min(late.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        println!("{sleepers} coroutines slept for 0.1 to 1.1 s and woke late by");
        println!("median {:?}, 99 % {:?}, most {:?}", at(0.5), at(0.99), at(1.0));
        Ok(())
    })
}
