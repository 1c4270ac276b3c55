//! What a listener decides before the handshake is over: a snapshot of who is connected and what is published.

use super::session::Settings;
use crate::{
    hub::{Clients, Registry, SourceState},
    key::StreamKey,
};
use thalweg_srt_io::{Admission, RejectReason, StreamRule, stream_id::StreamMode};

/// The table by which a listener refuses while there is still a handshake to say it in: with `OVERLOAD` (1402) who is one
/// too many by `limits`, with `CONFLICT` (1409) a second publisher. It is to be put in force anew whenever a
/// stream gets or loses its publisher, and when [`Clients::wait_changed`] tells.
pub fn admission(registry: &Registry, clients: &Clients, settings: &Settings) -> Admission {
    let table = Admission::new();
    if clients.overload().is_some() {
        return table.other_networks(Some(RejectReason::OVERLOAD));
    }
    let full = clients.full_addresses().into_iter();
    let table = full.fold(table, |table, ip| table.deny_network(ip.into(), RejectReason::OVERLOAD));
    match &settings.published {
        Some(key) => admit_publisher(table, registry, key, settings.takes_over),
        None => admit_streams(table, registry, settings),
    }
}

/// For a port whose peers publish this stream, whatever their stream ids say.
fn admit_publisher(
    table: Admission,
    registry: &Registry,
    key: &StreamKey,
    takes_over: bool,
) -> Admission {
    let reason = match registry.find(key).map(|source| source.state()) {
        Some(SourceState::Live) => (!takes_over).then_some(RejectReason::CONFLICT),
        _ if registry.is_full_of_publishers() => Some(RejectReason::OVERLOAD),
        Some(_) => None,
        None => registry.is_full_of_streams().then_some(RejectReason::OVERLOAD),
    };
    table.other_networks(reason)
}

/// For a port whose peers say by their stream ids what they want.
fn admit_streams(table: Admission, registry: &Registry, settings: &Settings) -> Admission {
    let table =
        table.default_mode(settings.default_mode).default_stream(settings.default_stream.path());
    let table = if registry.is_full_of_publishers() || registry.is_full_of_streams() {
        refuse_more(table, registry)
    } else {
        table
    };
    if settings.takes_over {
        return table;
    }
    let live = registry.list().into_iter().filter(|source| source.state() == SourceState::Live);
    live.fold(table, |table, source| {
        let key = source.key();
        let table = table.busy(key.path());
        // A stream of the default application may be named without it.
        if key.app() == StreamKey::APP_DEFAULT { table.busy(key.name()) } else { table }
    })
}

/// Refuses with `OVERLOAD` (1402) who wants to publish one more stream. Those that exist are judged by their own rules.
fn refuse_more(table: Admission, registry: &Registry) -> Admission {
    let overload = || StreamRule::reject(RejectReason::OVERLOAD);
    let table = [StreamMode::Publish, StreamMode::Bidirectional]
        .into_iter()
        .fold(table, |table, mode| table.other_streams(overload().only(mode)))
        .other_streams(StreamRule::admit());
    let may_come_back = !registry.is_full_of_publishers();
    let known = registry.list().into_iter();
    let known = known.filter(|source| may_come_back || source.state() == SourceState::Live);
    known.fold(table, |table, source| {
        let key = source.key();
        let table = table.stream(key.path(), StreamRule::admit());
        let is_default = key.app() == StreamKey::APP_DEFAULT;
        if is_default { table.stream(key.name(), StreamRule::admit()) } else { table }
    })
}
