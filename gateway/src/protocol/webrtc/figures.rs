//! What is told of a peer: its round trip, what is lost both ways, rates, requests, and the way that its media takes.
//!
//! The stack counts, and says so several times a second; every second that is noted, for whoever asks. Names are those of
//! the API, units last.

use super::addresses::Transport;
use crate::hub::{Client, Figures, Path};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};
use str0m::stats::{CandidatePairStats, MediaIngressStats, PeerStats};

/// What is told of one peer.
#[derive(Debug)]
pub(super) struct Told {
    figures: Rc<RefCell<Figures>>,
    /// When the stack told last, and the bytes that had been sent and received.
    before: Cell<(Instant, u64, u64)>,
    /// What feedback of every packet has told, which is better than what reports of a stream tell.
    by_packet: Cell<ByPacket>,
    /// Whether what is told now is noted.
    is_due: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ByPacket {
    rtt: bool,
    sent_loss: bool,
    received_loss: bool,
}

/// How often figures are noted; to ask for them more often tells nothing.
const EVERY: Duration = Duration::from_secs(1);

/// Names of what is counted of pictures.
const VIDEO: [&str; 3] = ["video_packets", "video_nacks", "video_plis"];

/// Names of what is counted of sound.
const AUDIO: [&str; 3] = ["audio_packets", "audio_nacks", "audio_plis"];

impl Told {
    /// The client shows it.
    pub(super) fn of(client: &Client, now: Instant) -> Self {
        let figures = Rc::new(RefCell::new(Figures::new()));
        let shown = Rc::clone(&figures);
        client.set_detail(move || shown.borrow().clone());
        let (by_packet, is_due) = Default::default();
        Self { figures, before: Cell::new((now, 0, 0)), by_packet, is_due }
    }

    /// Sets figures; those without a value are left out.
    pub(super) fn note(&self, values: impl IntoIterator<Item = (&'static str, Option<f64>)>) {
        let mut figures = self.figures.borrow_mut();
        for (name, value) in values {
            let known = figures.iter().position(|&(known, _)| known == name);
            match (known.and_then(|at| figures.get_mut(at)), value) {
                (Some(figure), Some(value)) => figure.1 = value,
                (None, Some(value)) => figures.push((name, value)),
                (Some(_), None) => figures.retain(|&(known, _)| known != name),
                (None, None) => {}
            }
        }
    }

    /// What holds for the peer as a whole.
    pub(super) fn note_peer(&self, stats: &PeerStats, client: &Client) {
        self.by_packet.set(ByPacket {
            rtt: stats.rtt.is_some(),
            sent_loss: stats.egress_loss_fraction.is_some(),
            received_loss: stats.ingress_loss_fraction.is_some(),
        });
        let (since, sent, received) = self.before.get();
        let passed = stats.timestamp.saturating_duration_since(since);
        self.is_due.set(passed >= EVERY);
        if passed < EVERY {
            return;
        }
        client.set_path(stats.selected_candidate_pair.as_ref().map(path));
        self.before.set((stats.timestamp, client.sent.get(), client.received.get()));
        #[expect(clippy::cast_precision_loss, reason = "a rate; 2^53 bytes are far")]
        let rate = |now: u64, before: u64| {
            Some(now.saturating_sub(before) as f64 * 8.0 / passed.as_secs_f64())
        };
        self.note([
            ("rtt_s", stats.rtt.map(|rtt| rtt.as_secs_f64())),
            ("send_bits_per_s", rate(client.sent.get(), sent)),
            ("recv_bits_per_s", rate(client.received.get(), received)),
        ]);
        self.note_loss("sent_loss_ratio", stats.egress_loss_fraction);
        self.note_loss("received_loss_ratio", stats.ingress_loss_fraction);
    }

    /// Whether it tells of every packet what became of it.
    pub(super) fn is_by_packet(&self) -> bool {
        self.by_packet.get().rtt
    }

    /// What holds for a stream that is sent: its packets, those that were asked for again and the requests for pictures, and
    /// what its reports tell. Comes after what holds for the peer.
    pub(super) fn note_egress(
        &self,
        counts: [u64; 3],
        is_video: bool,
        (rtt, loss): (Option<Duration>, Option<f32>),
    ) {
        if is_video && !self.by_packet.get().sent_loss {
            self.note_loss("sent_loss_ratio", loss);
        }
        self.note_stream(is_video, counts, rtt);
    }

    /// What holds for a stream that is received. Comes after what holds for the peer.
    pub(super) fn note_ingress(&self, stats: &MediaIngressStats, is_video: bool) {
        if is_video && !self.by_packet.get().received_loss {
            self.note_loss("received_loss_ratio", stats.loss);
        }
        let counts = [stats.packets, stats.nacks, stats.plis + stats.firs];
        self.note_stream(is_video, counts, stats.rtt);
    }

    /// How many packets its connections of TCP took not.
    pub(super) fn note_unsent(&self, packets: u64) {
        #[expect(clippy::cast_precision_loss, reason = "figures for people; 2^53 packets are far")]
        let packets = (packets > 0).then_some(packets as f64);
        self.note([("tcp_unsent_packets", packets)]);
    }

    fn note_stream(&self, is_video: bool, counts: [u64; 3], rtt: Option<Duration>) {
        if !self.is_due.get() {
            return;
        }
        let names = if is_video { VIDEO } else { AUDIO };
        #[expect(clippy::cast_precision_loss, reason = "figures for people; 2^53 packets are far")]
        let counts = counts.map(|count| Some(count as f64));
        self.note(names.into_iter().zip(counts));
        if let Some(rtt) = rtt.filter(|_| !self.is_by_packet()) {
            self.note([("rtt_s", Some(rtt.as_secs_f64()))]);
        }
    }

    /// What was told stays until there is something else to tell.
    fn note_loss(&self, name: &'static str, loss: Option<f32>) {
        if loss.is_some() {
            self.note([(name, loss.map(f64::from))]);
        }
    }
}

fn path(pair: &CandidatePairStats) -> Path {
    let network = Transport::from(pair.protocol).name();
    Path { network, local: pair.local.addr, remote: pair.remote.addr }
}
