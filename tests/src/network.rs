//! Hosts with a wire between them: network namespaces of the test's own, in which packets go as between machines.

use std::{
    fs::File,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// A host. It is gone when it is dropped, with what still runs in it cut off.
#[derive(Debug)]
pub struct Host {
    name: String,
}

impl Host {
    /// Two hosts, each with these addresses (`192.0.2.1/24`) on its end of the wire.
    ///
    /// # Panics
    ///
    /// When the test may not make them: it needs root and iproute2.
    #[must_use]
    pub fn pair(first: &[&str], second: &[&str]) -> (Self, Self) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(2, Ordering::Relaxed);
        let make = |number| {
            let host = Self { name: format!("thalweg-{}-{number}", std::process::id()) };
            ip(&["netns", "add", &host.name]);
            host
        };
        let (one, other) = (make(number), make(number + 1));
        let wire = ["link", "add", "wire", "netns", &one.name, "type", "veth"];
        ip(&[&wire[..], &["peer", "name", "wire", "netns", &other.name]].concat());
        for (host, addresses) in [(&one, first), (&other, second)] {
            for address in addresses {
                let duplicates = if address.contains(':') { &["nodad"][..] } else { &[] };
                let add = ["-n", &host.name, "address", "add", address, "dev", "wire"];
                ip(&[&add, duplicates].concat());
            }
            ip(&["-n", &host.name, "link", "set", "lo", "up"]);
            ip(&["-n", &host.name, "link", "set", "wire", "up"]);
        }
        (one, other)
    }

    /// Runs `f` on that host: sockets that it opens and programs that it starts are there.
    ///
    /// # Panics
    ///
    /// When `f` does.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let run = || {
            let namespace = File::open(format!("/run/netns/{}", self.name));
            let namespace = namespace.expect("the host is there until it is dropped");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("this test is run as root");
            f()
        };
        let ended = thread::scope(|scope| scope.spawn(run).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _deleted = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("ip: {error}; `make setup` installs it"));
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "ip {}: {errors}; this test is run as root",
        arguments.join(" ")
    );
}
