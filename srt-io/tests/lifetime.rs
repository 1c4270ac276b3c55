//! Connections leave nothing behind: no thread, no descriptor, no socket. Alone in its process, which it counts.
#![expect(clippy::disallowed_methods, reason = "reads what /proc has in memory")]

mod support;

use std::fs;

use support::{listener, number, numbered, pair, pair_of, quick, run, until};
use thalweg_srt_io::RecvError;

const CYCLES: usize = 500;

#[test]
fn five_hundred_connections_leave_nothing_behind_and_the_bridge_ends_with_the_last() {
    run(|| {
        let listener = listener(&quick());
        let cycle = || {
            let (caller, called) = pair_of(&listener, &quick());
            caller.send(&numbered(0)).unwrap();
            called.recv(&mut [0; 1500]).unwrap();
            drop(called);
            assert!(matches!(caller.recv(&mut [0; 1500]), Err(RecvError::Disconnected)));
        };
        cycle();
        let (descriptors, ports) = (count("/proc/self/fd"), udp_ports());
        for _ in 0..CYCLES {
            cycle();
        }
        // libsrt collects what was closed every second.
        until("its threads to end", || threads("SRT:TsbPd") == 0);
        assert_eq!((count("/proc/self/fd"), udp_ports()), (descriptors, ports));
        drop(listener);
        until("the bridge to end", || threads("srt-bridge") == 0);
        until("all ports to be closed", || threads("SRT:RcvQ") == 0);
    });
    // It starts again with the next socket.
    run(|| {
        let (caller, called) = pair(&quick());
        caller.send(&numbered(7)).unwrap();
        let mut buf = [0; 1500];
        called.recv(&mut buf).unwrap();
        assert_eq!(number(&buf), 7);
    });
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).expect("/proc is there").count()
}

/// Threads of this process whose names begin with `name`.
fn threads(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is there");
    // A thread may have ended since the list was made.
    let names =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|comm| comm.starts_with(name)).count()
}

/// Ports that libsrt has threads for.
fn udp_ports() -> usize {
    threads("SRT:RcvQ")
}
