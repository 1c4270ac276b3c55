//! A link as its callers and its target see it.

#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use thalweg_badlink::{Counts, Link, LinkBuilder};

const MS: Duration = Duration::from_millis(1);
/// Nothing on loopback takes this long; a test that waits for it fails.
const LIMIT: Duration = Duration::from_secs(20);

struct Net {
    target: UdpSocket,
    link: Link,
    caller: UdpSocket,
}

impl Net {
    fn new(builder: LinkBuilder) -> Self {
        Self::on("127.0.0.1:0", builder)
    }

    fn on(addr: &str, builder: LinkBuilder) -> Self {
        let target = socket(addr);
        let link = builder.start(target.local_addr().unwrap()).unwrap();
        Self { target, link, caller: socket(addr) }
    }

    /// Sends numbers through the link and returns those that arrive, in the order in which they do.
    ///
    /// In batches, so that neither socket's buffer overflows.
    fn pass(&self, numbers: u32) -> Vec<u32> {
        let mut arrived = Vec::new();
        let mut next = 0;
        while next < numbers {
            let end = numbers.min(next + 100);
            for number in next..end {
                self.caller.send_to(&number.to_be_bytes(), self.link.addr()).unwrap();
            }
            next = end;
            self.drain(u64::from(end), &mut arrived);
        }
        arrived
    }

    /// Receives all that the link has forwarded once it has dealt with `sent` datagrams.
    fn drain(&self, sent: u64, arrived: &mut Vec<u32>) {
        let start = Instant::now();
        loop {
            let counts = self.link.stats().up;
            if counts.received == sent && dealt_with(&counts) == sent + counts.duplicated {
                while arrived.len() as u64 != counts.forwarded {
                    arrived.push(receive(&self.target).unwrap().0);
                }
                return;
            }
            assert!(start.elapsed() < LIMIT, "{counts:?}, sent {sent}");
            std::thread::yield_now();
        }
    }
}

fn dealt_with(counts: &Counts) -> u64 {
    counts.forwarded + counts.lost + counts.cut + counts.overflowed + counts.refused
}

fn socket(addr: &str) -> UdpSocket {
    let socket = UdpSocket::bind(addr).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> io::Result<(u32, SocketAddr)> {
    let mut buf = [0; 4];
    let (_len, from) = socket.recv_from(&mut buf)?;
    Ok((u32::from_be_bytes(buf), from))
}

#[test]
fn a_good_link_carries_all_in_order_both_ways() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let net = Net::on(addr, Link::builder());
        assert!(net.pass(1000).into_iter().eq(0..1000), "{addr}");
        net.caller.send_to(&[0; 4], net.link.addr()).unwrap();
        let (_number, caller) = receive(&net.target).unwrap();
        for number in 0..100_u32 {
            net.target.send_to(&number.to_be_bytes(), caller).unwrap();
        }
        for number in 0..100 {
            assert_eq!(receive(&net.caller).unwrap(), (number, net.link.addr()));
        }
        let stats = net.link.stats();
        assert_eq!((stats.up.forwarded, stats.up.reordered, stats.up.lost), (1001, 0, 0));
        assert_eq!((stats.down.received, stats.flows), (100, 1));
    }
}

#[test]
fn as_many_are_lost_as_asked_for_and_the_same_ones_for_a_seed() {
    let pass = |seed| Net::new(Link::builder().loss(10.0).seed(seed)).pass(10_000);
    let arrived = pass(5);
    // Four standard deviations are 120.
    assert!((8_880..=9_120).contains(&arrived.len()), "{}", arrived.len());
    assert!(arrived.is_sorted());
    assert_eq!(arrived, pass(5));
    assert_ne!(arrived, pass(6));
}

#[test]
fn loss_can_change_while_the_link_runs() {
    let net = Net::new(Link::builder());
    assert_eq!(net.pass(100).len(), 100);
    net.link.set_loss(100.0);
    for _ in 0..50 {
        net.caller.send_to(&[0; 4], net.link.addr()).unwrap();
    }
    net.drain(150, &mut vec![0; 100]);
    assert_eq!(net.link.stats().up.lost, 50);
}

#[test]
fn delay_is_kept_and_keeps_the_order() {
    let net = Net::new(Link::builder().delay(30 * MS));
    let start = Instant::now();
    assert!(net.pass(100).into_iter().eq(0..100));
    assert!(start.elapsed() >= 30 * MS);
    assert_eq!(net.link.stats().up.reordered, 0);
}

#[test]
fn those_held_back_are_overtaken_and_none_is_lost() {
    let net = Net::new(Link::builder().reorder(10.0, 20 * MS).seed(2));
    let mut arrived = net.pass(1000);
    let overtaken = net.link.stats().up.reordered;
    assert!((50..=150).contains(&overtaken), "{overtaken}");
    let mut latest = 0;
    let late = arrived.iter().filter(|&&number| {
        latest = latest.max(number);
        number < latest
    });
    assert_eq!(late.count() as u64, overtaken);
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..1000));
}

#[test]
fn jitter_reorders_what_follows_closely() {
    let net = Net::new(Link::builder().jitter(10 * MS));
    let mut arrived = net.pass(1000);
    assert!(!arrived.is_sorted());
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..1000));
}

#[test]
fn duplicates_arrive_as_such() {
    let net = Net::new(Link::builder().duplicate(100.0));
    let arrived = net.pass(100);
    assert!(arrived.into_iter().eq((0..100).flat_map(|number| [number, number])));
}

#[test]
fn a_cut_link_carries_nothing_until_it_is_restored() {
    let net = Net::new(Link::builder().delay(200 * MS));
    net.caller.send_to(&1_u32.to_be_bytes(), net.link.addr()).unwrap();
    net.link.cut();
    net.caller.send_to(&2_u32.to_be_bytes(), net.link.addr()).unwrap();
    let mut arrived = Vec::new();
    net.drain(2, &mut arrived);
    net.link.restore();
    net.caller.send_to(&3_u32.to_be_bytes(), net.link.addr()).unwrap();
    net.drain(3, &mut arrived);
    assert_eq!(arrived, [3]);
    assert_eq!(net.link.stats().up.cut, 2);
}

#[test]
fn a_rate_limit_spaces_datagrams_out() {
    // 32 bytes with headers, so 256 bits: 100 of them take 25.6 ms at 1 Mbit/s.
    let net = Net::new(Link::builder().rate_limit(1_000_000));
    let start = Instant::now();
    assert!(net.pass(100).into_iter().eq(0..100));
    assert!(start.elapsed() >= 25 * MS);
}

#[test]
fn callers_are_told_apart_and_each_gets_its_own_answers() {
    let net = Net::new(Link::builder());
    let callers: Vec<UdpSocket> = (0..20).map(|_index| socket("127.0.0.1:0")).collect();
    for (number, caller) in (0_u32..).zip(&callers) {
        caller.send_to(&number.to_be_bytes(), net.link.addr()).unwrap();
    }
    for _ in &callers {
        let (number, from) = receive(&net.target).unwrap();
        net.target.send_to(&number.to_be_bytes(), from).unwrap();
    }
    for (number, caller) in (0..).zip(&callers) {
        assert_eq!(receive(caller).unwrap(), (number, net.link.addr()));
    }
    assert_eq!(net.link.stats().flows, 20);
}

#[test]
fn what_comes_from_elsewhere_is_not_passed_on() {
    let net = Net::new(Link::builder());
    net.caller.send_to(&[0; 4], net.link.addr()).unwrap();
    let (_number, flow) = receive(&net.target).unwrap();
    socket("127.0.0.1:0").send_to(&9_u32.to_be_bytes(), flow).unwrap();
    net.target.send_to(&1_u32.to_be_bytes(), flow).unwrap();
    assert_eq!(receive(&net.caller).unwrap().0, 1);
    assert_eq!(net.link.stats().down.received, 1);
}

#[test]
fn a_dropped_link_leaves_no_thread_and_no_descriptor() {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    // Other tests of this process have links of their own: this one runs in a child process.
    if std::env::var_os("BADLINK_ALONE").is_none() {
        let this = std::env::current_exe().unwrap();
        let status = std::process::Command::new(this)
            .args(["--exact", "a_dropped_link_leaves_no_thread_and_no_descriptor"])
            .env("BADLINK_ALONE", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let before = (count("/proc/self/task"), count("/proc/self/fd"));
    for _ in 0..20 {
        let net = Net::new(Link::builder().delay(LIMIT));
        for _ in 0..5 {
            socket("127.0.0.1:0").send_to(&[0; 4], net.link.addr()).unwrap();
        }
        while net.link.stats().flows < 5 {
            std::thread::yield_now();
        }
    }
    assert_eq!((count("/proc/self/task"), count("/proc/self/fd")), before);
}

#[test]
fn a_target_without_an_address_is_refused() {
    for target in ["0.0.0.0:1", "127.0.0.1:0", "[::]:1"] {
        let error = Link::builder().start(target.parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{target}");
    }
}
