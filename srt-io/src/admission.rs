//! Who may connect to a listener, and on which terms: a table that is looked into before a connection is made.
//!
//! SRT's listener has to say yes or no at once, on the thread that receives for all streams of the port. So
//! the answer cannot be code that waits, asks a server or runs on a runtime: it is a table, built
//! beforehand, never changed, and replaced as a whole by
//! [`Listener::set_admission`](crate::Listener::set_admission). What takes longer to decide is decided after
//! [`Listener::accept`](crate::Listener::accept), and refusing is closing then.
//!
//! An attempt is judged in this order; the first that says no is the reason that the peer is sent:
//!
//! 1. the networks, the first that contains the peer's address; then what [`Admission::other_networks`] says;
//! 2. the judge, where there is one: a function that computes with nothing but what it holds, for passwords and
//!    signatures that no table can list;
//! 3. the stream id: one that cannot be parsed is `BAD_REQUEST`, if the table knows streams at all;
//! 4. the stream's own rule, else that of the longest prefix, else that for all others;
//! 5. for who wants to publish: whether the stream is busy.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::options::Secret;
use crate::reject::RejectReason;
use crate::stream_id::{StreamId, StreamMode};

/// A table of who may connect. A clone is cheap, and differs from its original by what is said to it.
///
/// ```
/// use thalweg_srt_io::{Admission, RejectReason, StreamRule};
///
/// let admission = Admission::new()
///     .allow_network("10.0.0.0/8".parse()?)
///     .other_networks(Some(RejectReason::FORBIDDEN))
///     .stream("live/one", StreamRule::admit().passphrase("correct horse"))
///     .prefix("guest/", StreamRule::admit())
///     .other_streams(StreamRule::reject(RejectReason::NOT_FOUND))
///     .busy("live/one");
/// # drop(admission);
/// # Ok::<(), thalweg_srt_io::NetworkError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Admission {
    judge: Option<Judge>,
    /// With the reason where it is a refusal.
    networks: Vec<(Network, Option<RejectReason>)>,
    other_networks: Option<RejectReason>,
    /// Shared by clones, which so differ cheaply in what is busy.
    streams: Arc<HashMap<String, Vec<StreamRule>>>,
    prefixes: Arc<BTreeMap<String, Vec<StreamRule>>>,
    other_streams: Vec<StreamRule>,
    busy: HashSet<String>,
    default_stream: Option<String>,
    default_mode: Option<StreamMode>,
}

/// Who wants to connect.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The stream id as it came; it may be anything.
    pub stream_id: &'a [u8],
}

/// Decides by more than a table can hold.
#[derive(Clone)]
struct Judge(Arc<dyn Fn(&Attempt<'_>) -> StreamRule + Send + Sync>);

/// What holds for a stream.
#[derive(Clone, Debug)]
pub struct StreamRule {
    mode: Option<StreamMode>,
    terms: Result<Terms, RejectReason>,
}

/// On which terms a connection is made, where they are not the listener's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) passphrase: Option<Arc<str>>,
    pub(crate) latency: Option<Duration>,
}

/// Addresses that begin with the same bits, such as `10.0.0.0/8`, `2001:db8::/32` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl Admission {
    /// A table that admits everybody on the listener's own terms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets peers of `network` pass.
    #[must_use]
    pub fn allow_network(mut self, network: Network) -> Self {
        self.networks.push((network, None));
        self
    }

    /// Refuses peers of `network`.
    #[must_use]
    pub fn deny_network(mut self, network: Network, reason: RejectReason) -> Self {
        self.networks.push((network, Some(reason)));
        self
    }

    /// What becomes of peers of no network in the table: they are refused for a reason, or pass
    /// (the default).
    #[must_use]
    pub fn other_networks(mut self, reason: Option<RejectReason>) -> Self {
        self.other_networks = reason;
        self
    }

    /// Asks `judge` about who passes the networks. What it says comes before all that is said of streams: a
    /// refusal stands, and its passphrase and latency are taken; what it is [`StreamRule::only`] for does not count.
    ///
    /// It runs on libsrt's thread, which receives for all streams of the port meanwhile. So it may compute for some
    /// microseconds with values that nobody changes, but neither wait nor touch a runtime.
    #[must_use]
    pub fn judge(
        mut self,
        judge: impl Fn(&Attempt<'_>) -> StreamRule + Send + Sync + 'static,
    ) -> Self {
        self.judge = Some(Judge(Arc::new(judge)));
        self
    }

    /// What holds for the stream: `resource` as in the stream id's `r=`, or the stream id as it is. Several
    /// rules may be given for different modes.
    #[must_use]
    pub fn stream(mut self, resource: impl Into<String>, rule: StreamRule) -> Self {
        Arc::make_mut(&mut self.streams).entry(resource.into()).or_default().push(rule);
        self
    }

    /// What holds for streams whose name begins with `prefix` and that have no rule of their own. The longest prefix counts.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>, rule: StreamRule) -> Self {
        Arc::make_mut(&mut self.prefixes).entry(prefix.into()).or_default().push(rule);
        self
    }

    /// What holds for all other streams; they are admitted by default.
    #[must_use]
    pub fn other_streams(mut self, rule: StreamRule) -> Self {
        self.other_streams.push(rule);
        self
    }

    /// Refuses who wants to publish the stream, with `CONFLICT`: somebody does already.
    #[must_use]
    pub fn busy(mut self, resource: impl Into<String>) -> Self {
        self.busy.insert(resource.into());
        self
    }

    /// Takes back what [`Admission::busy`] said.
    #[must_use]
    pub fn free(mut self, resource: &str) -> Self {
        self.busy.remove(resource);
        self
    }

    /// The stream of peers that name none, as many encoders do.
    #[must_use]
    pub fn default_stream(mut self, resource: impl Into<String>) -> Self {
        self.default_stream = Some(resource.into());
        self
    }

    /// What peers want that do not say it: [`StreamMode::Request`] by default, as in the standard.
    #[must_use]
    pub fn default_mode(mut self, mode: StreamMode) -> Self {
        self.default_mode = Some(mode);
        self
    }

    /// What becomes of an attempt.
    pub(crate) fn decide(&self, peer: SocketAddr, stream_id: &[u8]) -> Result<Terms, RejectReason> {
        self.judge_address(peer.ip())?;
        let own = match &self.judge {
            Some(judge) => (judge.0)(&Attempt { peer, stream_id }).terms?,
            None => Terms::default(),
        };
        let listed = self.judge_stream(stream_id)?;
        let (passphrase, latency) =
            (own.passphrase.or(listed.passphrase), own.latency.or(listed.latency));
        Ok(Terms { passphrase, latency })
    }

    fn judge_stream(&self, stream_id: &[u8]) -> Result<Terms, RejectReason> {
        if !self.knows_streams() {
            return Ok(Terms::default());
        }
        let parsed = StreamId::parse_bytes(stream_id).map_err(|_| RejectReason::BAD_REQUEST)?;
        let named = parsed.resource().or(self.default_stream.as_deref()).unwrap_or("");
        let mode = parsed.mode().or(self.default_mode).unwrap_or(StreamMode::Request);
        let terms = self.terms(parsed.original(), named, mode)?;
        let publishes = mode != StreamMode::Request;
        if publishes && (self.busy.contains(named) || self.busy.contains(parsed.original())) {
            return Err(RejectReason::CONFLICT);
        }
        Ok(terms)
    }

    fn judge_address(&self, peer: IpAddr) -> Result<(), RejectReason> {
        let peer = peer.to_canonical();
        let found = self.networks.iter().find(|(network, _)| network.contains(peer));
        found.map_or(self.other_networks, |(_, reason)| *reason).map_or(Ok(()), Err)
    }

    fn knows_streams(&self) -> bool {
        !(self.streams.is_empty()
            && self.prefixes.is_empty()
            && self.other_streams.is_empty()
            && self.busy.is_empty())
    }

    fn terms(&self, whole: &str, named: &str, mode: StreamMode) -> Result<Terms, RejectReason> {
        let own = self.streams.get(named).or_else(|| self.streams.get(whole));
        let rules = match own.or_else(|| self.longest_prefix(named)) {
            Some(rules) => rules,
            None if self.other_streams.is_empty() => return Ok(Terms::default()),
            None => &self.other_streams,
        };
        let fits = |rule: &&StreamRule| rule.mode.is_none_or(|only| only == mode);
        rules.iter().find(fits).ok_or(RejectReason::BAD_MODE)?.terms.clone()
    }

    fn longest_prefix(&self, named: &str) -> Option<&Vec<StreamRule>> {
        // A prefix is not greater than what begins with it, so the longest comes last.
        let upto = (Bound::Unbounded, Bound::Included(named));
        let mut upto = self.prefixes.range::<str, _>(upto).rev();
        upto.find(|(prefix, _)| named.starts_with(prefix.as_str())).map(|(_, rules)| rules)
    }
}

impl StreamRule {
    /// Connections are made, on the listener's terms where nothing else is said.
    #[must_use]
    pub fn admit() -> Self {
        Self { mode: None, terms: Ok(Terms::default()) }
    }

    /// Connections are refused.
    #[must_use]
    pub const fn reject(reason: RejectReason) -> Self {
        Self { mode: None, terms: Err(reason) }
    }

    /// The rule holds only for who wants this. Where a stream has rules and none is for what the peer wants, it
    /// is refused with `BAD_MODE`.
    #[must_use]
    pub fn only(mut self, mode: StreamMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The passphrase, 10 to 79 bytes, instead of the listener's; empty for none.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<Secret>) -> Self {
        if let Ok(terms) = &mut self.terms {
            terms.passphrase = Some(passphrase.into().reveal().into());
        }
        self
    }

    /// The least latency of both directions, instead of the listener's; rounded up to milliseconds.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        if let Ok(terms) = &mut self.terms {
            terms.latency = Some(latency);
        }
        self
    }
}

impl Network {
    /// The addresses whose first `bits` bits are those of `address`.
    ///
    /// # Errors
    ///
    /// If the address has fewer bits, or others of them are set.
    pub fn new(address: IpAddr, bits: u8) -> Result<Self, NetworkError> {
        let network = Self { address, bits };
        let whole = if address.is_ipv4() { 32 } else { 128 };
        if bits > whole || network.masked(address) != address {
            return Err(NetworkError(format!("{address}/{bits}")));
        }
        Ok(network)
    }

    /// Whether `address` is one of the network's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == self.address
    }

    fn masked(&self, address: IpAddr) -> IpAddr {
        let bits = u32::from(self.bits);
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        }
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        match text.split_once('/') {
            Some((address, bits)) => {
                let address = address.parse().map_err(|_| wrong())?;
                Self::new(address, bits.parse().map_err(|_| wrong())?).map_err(|_| wrong())
            }
            None => text.parse::<IpAddr>().map(Self::from).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no network, such as 10.0.0.0/8 or ::1, with all bits after the prefix 0",
            self.0
        )
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(admission: &Admission, peer: &str, stream_id: &str) -> Result<Terms, RejectReason> {
        admission.decide((peer.parse::<IpAddr>().unwrap(), 1).into(), stream_id.as_bytes())
    }

    #[test]
    fn networks_are_parsed_and_contain_what_they_should() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "ffff::", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1/32", "127.0.0.2", false),
            ("::1", "::1", true),
        ];
        for (network, address, expected) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "x/8"]
        {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_network_counts_also_for_mapped_addresses() {
        let admission = Admission::new()
            .allow_network("10.1.0.0/16".parse().unwrap())
            .deny_network("10.0.0.0/8".parse().unwrap(), RejectReason::FORBIDDEN)
            .other_networks(Some(RejectReason::UNAUTHORIZED));
        for (peer, expected) in [
            ("10.1.2.3", None),
            ("::ffff:10.1.2.3", None),
            ("10.2.2.3", Some(RejectReason::FORBIDDEN)),
            ("::ffff:10.2.2.3", Some(RejectReason::FORBIDDEN)),
            ("1.1.1.1", Some(RejectReason::UNAUTHORIZED)),
            ("::1", Some(RejectReason::UNAUTHORIZED)),
        ] {
            assert_eq!(judge(&admission, peer, "").err(), expected, "{peer}");
        }
    }

    #[test]
    fn a_judge_is_asked_between_the_networks_and_the_streams() {
        let admission = Admission::new()
            .deny_network("10.0.0.0/8".parse().unwrap(), RejectReason::FORBIDDEN)
            .stream("live/two", StreamRule::admit().passphrase("that of the table"))
            .busy("live/one")
            .judge(|attempt| match attempt.stream_id {
                b"live/no" => StreamRule::reject(RejectReason::UNAUTHORIZED),
                b"live/three" => StreamRule::admit().passphrase("that of the judge"),
                _ => StreamRule::admit(),
            });
        for (peer, stream_id, expected) in [
            ("10.1.1.1", "live/no", Err(RejectReason::FORBIDDEN)),
            ("11.1.1.1", "live/no", Err(RejectReason::UNAUTHORIZED)),
            ("11.1.1.1", "#!::r=live/one,m=publish", Err(RejectReason::CONFLICT)),
            ("11.1.1.1", "live/two", Ok(Some("that of the table"))),
            ("11.1.1.1", "live/three", Ok(Some("that of the judge"))),
            ("11.1.1.1", "live/four", Ok(None)),
        ] {
            let terms = judge(&admission, peer, stream_id);
            let passphrase = terms.map(|terms| terms.passphrase);
            assert_eq!(passphrase.as_ref().map(Option::as_deref), expected.as_ref().map(|p| *p));
        }
    }

    #[test]
    fn the_closest_rule_counts_and_the_rest_is_admitted_by_default() {
        let reject = |code| StreamRule::reject(RejectReason::from_code(code));
        let admission = Admission::new()
            .stream("live/one", reject(2001))
            .prefix("live/", reject(2002))
            .prefix("live/o", reject(2003))
            .prefix("live/onetwo", reject(2004))
            .default_stream("live/one");
        let cases = [
            ("live/one", Some(2001)),
            ("#!::r=live/one,m=publish", Some(2001)),
            ("live/other", Some(2003)),
            ("live/one2", Some(2003)),
            ("live/", Some(2002)),
            ("live", None),
            ("", Some(2001)),
            ("#!::m=publish", Some(2001)),
            ("#!::m=nonsense", Some(RejectReason::BAD_REQUEST.code())),
        ];
        for (stream_id, expected) in cases {
            let code = judge(&admission, "::1", stream_id).err().map(RejectReason::code);
            assert_eq!(code, expected, "{stream_id}");
        }
    }

    #[test]
    fn modes_have_rules_of_their_own_and_only_publishing_meets_a_busy_stream() {
        let admission = Admission::new()
            .stream(
                "one",
                StreamRule::admit().only(StreamMode::Publish).passphrase("for the publisher"),
            )
            .stream("one", StreamRule::admit().only(StreamMode::Request))
            .busy("two")
            .default_mode(StreamMode::Publish);
        let passphrase = |stream_id| judge(&admission, "::1", stream_id).unwrap().passphrase;
        assert_eq!(passphrase("#!::r=one,m=publish").as_deref(), Some("for the publisher"));
        assert_eq!(passphrase("one").as_deref(), Some("for the publisher"));
        assert_eq!(passphrase("#!::r=one,m=request"), None);
        let refused = |stream_id| judge(&admission, "::1", stream_id).err();
        assert_eq!(refused("#!::r=one,m=bidirectional"), Some(RejectReason::BAD_MODE));
        assert_eq!(refused("two"), Some(RejectReason::CONFLICT));
        assert_eq!(refused("#!::r=two,m=request"), None);
        assert_eq!(judge(&admission.clone().free("two"), "::1", "two").err(), None);
        assert_eq!(refused("two"), Some(RejectReason::CONFLICT));
    }

    #[test]
    fn who_asks_for_nothing_gets_no_parser() {
        assert!(judge(&Admission::new(), "::1", "#!::m=nonsense").is_ok());
    }
}
