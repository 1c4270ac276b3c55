//! Blocking work where the system gives no more threads: the limit is a real one, in a process of
//! its own.

mod support;

use std::io::{self, ErrorKind};
use std::sync::mpsc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setresuid};
use support::logs;
use support::net::{run, run_alone};
use thalweg_runtime::blocking::{self, BlockingError};
use thalweg_runtime::{self as rt, net};

/// Has the system refuse every further thread. It does not refuse root, so root becomes nobody,
/// for the rest of the process.
fn refuse_threads() -> io::Result<()> {
    let nobody = Uid::from_raw(65534);
    if Uid::effective().is_root() {
        setresuid(nobody, nobody, nobody)?;
    }
    limit_threads(0)
}

fn allow_threads() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    limit_threads(hard)
}

fn limit_threads(most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    Ok(setrlimit(Resource::RLIMIT_NPROC, most, hard)?)
}

#[test]
fn when_the_system_gives_no_thread_the_error_tells_and_all_else_goes_on() {
    const NAME: &str = "when_the_system_gives_no_thread_the_error_tells_and_all_else_goes_on";
    run_alone(NAME, || {
        run(|| {
            refuse_threads()?;
            let error = blocking::run(|| ()).expect_err("there is no thread");
            assert!(matches!(error, BlockingError::NoThread(_)), "{error:?}");
            let text = "cannot start a thread for blocking work: \
                        Resource temporarily unavailable (os error 11)";
            assert_eq!(error.to_string(), text);
            for error in [
                rt::fs::read("/proc/self/status").expect_err("there is no thread"),
                net::resolve("localhost:1").expect_err("there is no thread"),
            ] {
                assert_eq!(
                    (error.kind(), error.to_string().as_str()),
                    (ErrorKind::WouldBlock, text)
                );
            }
            let fellow = rt::spawn(rt::yield_now);
            fellow.join()??;
            // The limit may be lifted, and the next call tries again.
            allow_threads()?;
            assert_eq!(blocking::run(|| 1)?, 1);
            assert!(!rt::fs::read("/proc/self/status")?.is_empty());
            Ok(())
        });
    });
}

#[test]
fn when_the_system_gives_no_further_thread_those_who_are_there_do_the_work() {
    const NAME: &str = "when_the_system_gives_no_further_thread_those_who_are_there_do_the_work";
    run_alone(NAME, || {
        let warnings = logs::capture(|| {
            run(|| {
                let (end, ends) = mpsc::channel::<()>();
                let first = rt::spawn(move || blocking::run(move || ends.iter().next()));
                rt::yield_now()?;
                assert_eq!(rt::stats().map(|stats| stats.pool_threads), Some(1));
                refuse_threads()?;
                let rest: Vec<_> =
                    (0..10).map(|n| rt::spawn(move || blocking::run(move || n))).collect();
                rt::yield_now()?;
                assert!(rest.iter().all(|job| !job.is_finished()), "the only thread is busy");
                drop(end);
                first.join()??;
                for (n, job) in rest.into_iter().enumerate() {
                    assert_eq!(job.join()??, n);
                }
                Ok(())
            });
        });
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("cannot start another thread"), "{warnings:?}");
        assert!(warnings[0].contains("os error 11"), "{warnings:?}");
    });
}
