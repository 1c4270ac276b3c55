//! Bad networks: every message is delivered whole, in order and in time, or counted as dropped.
//!
//! "In time" needs no stopwatch here: with too-late packet drop on, a message that is not there when it is
//! due is skipped, and counted (draft-sharabayko-srt-01 §4.6). So what was delivered and what was dropped must
//! add up to what was sent.

use std::time::Duration;

use thalweg_badlink::{Link, LinkBuilder};
use thalweg_runtime as rt;
use thalweg_srt_io::{Listener, Options, SendError, Socket};

use super::support::exchange::{ROLES, Terms, Way, exchange};
use super::support::{Outcome, message, recv, run};

const MS: Duration = Duration::from_millis(1);
/// Ten seconds' worth.
const MESSAGES: u32 = 4_000;
/// A busy machine may be late once in a while: 1 of 1 000.
const NEARLY_NONE: u64 = 4;
/// 4.2 Mbit/s.
const SPACING: Duration = Duration::from_micros(2_500);
/// Longer than any latency here.
const PAUSE: Duration = Duration::from_millis(600);

fn bad_link(percent: f64) -> LinkBuilder {
    Link::builder().loss(percent).delay(10 * MS).jitter(4 * MS).reorder(3.0, 15 * MS).seed(SEED)
}

#[test]
fn two_per_cent_of_loss_are_made_good() {
    run(|| {
        let account = travel(&bad_link(2.0), &Options::live().latency(250 * MS))?;
        account.check();
        assert!(account.dropped <= NEARLY_NONE, "{account:?}");
        Ok(())
    });
}

#[test]
fn ten_per_cent_of_loss_are_made_good_with_time_enough() {
    run(|| {
        let account = travel(&bad_link(10.0), &Options::live().latency(500 * MS))?;
        account.check();
        assert!(account.dropped <= NEARLY_NONE, "{account:?}");
        Ok(())
    });
}

#[test]
fn what_cannot_arrive_in_time_is_counted_as_dropped() {
    run(|| {
        // Less than a round trip: what was lost cannot be sent again in time.
        let account = travel(&bad_link(10.0), &Options::live().latency(15 * MS))?;
        account.check();
        assert!(account.dropped >= u64::from(MESSAGES) / 50, "{account:?}");
        Ok(())
    });
}

#[test]
fn a_tool_at_the_other_end_of_a_bad_link_loses_nothing_in_either_role() {
    run(|| {
        for role in ROLES {
            let terms = Terms {
                options: Options::live().latency(400 * MS),
                link: Some(bad_link(2.0)),
                ..Terms::new(role)
            };
            exchange(Way::FromTool, &terms)?;
            exchange(Way::ToTool, &terms)?;
        }
        Ok(())
    });
}

#[test]
fn encryption_survives_loss() {
    run(|| {
        let options = Options::live().latency(250 * MS).passphrase("0123456789");
        let account = travel(&bad_link(2.0), &options)?;
        account.check();
        assert!(account.dropped <= NEARLY_NONE, "{account:?}");
        Ok(())
    });
}

/// What became of [`MESSAGES`] and the one behind them.
#[derive(Debug)]
struct Account {
    arrived: Vec<u32>,
    /// Gaps that the receiver has noticed, made good or not.
    gaps: u64,
    /// Messages that were given up.
    dropped: u64,
    undecrypted: u64,
}

impl Account {
    fn check(&self) {
        assert!(self.arrived.is_sorted_by(|a, b| a < b), "seed {SEED}");
        let last = self.arrived.last().expect("the last one always arrives");
        let arrived = self.arrived.len() as u64;
        assert_eq!(arrived + self.dropped, u64::from(*last) + 1, "seed {SEED}");
        assert!(self.gaps > 0, "the link lost nothing: {self:?}");
        assert_eq!(self.undecrypted, 0);
    }
}

/// Sends all messages over the link, from us to us.
fn travel(link: &LinkBuilder, options: &Options) -> Outcome<Account> {
    let listener = Listener::bind("127.0.0.1:0", options)?;
    let link = link.clone().start(listener.local_addr())?;
    let sender = {
        let (addr, options) = (link.addr(), options.clone());
        rt::spawn(move || -> Result<(), String> {
            send_all(addr, &options).map_err(|e| e.to_string())
        })
    };
    let (socket, _peer) = listener.accept()?;
    let mut arrived = Vec::new();
    // What comes behind shows that everything before it is settled, the last messages too.
    while arrived.last().is_none_or(|&number| number < MESSAGES) {
        arrived.push(message::number(&recv(&socket)?).ok_or("a message has changed")?);
    }
    // After the end of a connection the library knows no figures any more.
    let total = Box::new(socket.stats()?).total;
    socket.close();
    sender.join().map_err(|error| error.to_string())??;
    let (gaps, dropped) = (total.recv_loss_packets, total.recv_dropped_packets);
    Ok(Account { arrived, gaps, dropped, undecrypted: total.undecrypted_packets })
}

fn send_all(addr: std::net::SocketAddr, options: &Options) -> Outcome {
    let socket = Socket::connect(addr, options)?;
    let mut due = rt::now();
    for number in 0.. {
        match socket.send(&message::encode(number)) {
            Ok(_len) => {}
            // The receiver's goodbye may be lost like anything else.
            Err(SendError::Disconnected | SendError::Broken) if number > MESSAGES => break,
            Err(error) => return Err(error.into()),
        }
        // Later ones come one by one, so that the figures are still when they are read.
        due += if number < MESSAGES - 1 { SPACING } else { PAUSE };
        rt::sleep_until(due)?;
    }
    Ok(())
}

const SEED: u64 = 20;
