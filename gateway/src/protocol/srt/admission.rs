//! What a listener decides before the handshake is over: a snapshot of who is connected, what is published, and of the
//! rules.

use super::session::{Naming, Settings, identify};
use crate::{
    auth::{Action, Refused, Rules},
    hub::{Clients, Level, Registry, SourceState},
    key::StreamKey,
};
use std::{collections::HashSet, sync::Arc, time::SystemTime};
use thalweg_srt_io::{Admission, Attempt, RejectReason, StreamRule, stream_id::StreamMode};

/// The table by which a listener refuses while there is still a handshake to say it in: with `OVERLOAD` (1402) who is one
/// too many by `limits` or the load, with `CONFLICT` (1409) a second publisher, with `UNAUTHORIZED` (1401) or `FORBIDDEN` (1403) whom
/// the rules do not let in, with `NOT_FOUND` (1404) who would not wait for a stream that is not there, with `BAD_REQUEST` (1400) whose
/// stream id names none. It is to be put in force anew whenever a stream gets or loses its publisher, when
/// [`Clients::wait_changed`] tells and when the rules are replaced.
pub fn admission(registry: &Registry, clients: &Clients, settings: &Settings) -> Admission {
    let table = Admission::new();
    if clients.overload().is_some() {
        return table.other_networks(Some(RejectReason::OVERLOAD));
    }
    let full = clients.full_addresses().into_iter();
    let table = full.fold(table, |table, ip| table.deny_network(ip.into(), RejectReason::OVERLOAD));
    let table = match &settings.naming.published {
        Some(key) => admit_publisher(table, registry, key, settings.takes_over),
        None => admit_streams(table, registry, settings),
    };
    let judge = Judge {
        rules: settings.gate.rules(),
        naming: settings.naming.clone(),
        load: registry.load().level(),
        playable: settings
            .wait
            .is_zero()
            .then(|| registry.list().into_iter().map(|source| source.key().clone()).collect()),
    };
    table.judge(move |attempt| judge.judge(attempt))
}

/// What is known of the rules on libsrt's thread. The session asks them again, and then whoever needs time to answer.
struct Judge {
    rules: Arc<Rules>,
    naming: Naming,
    load: Level,
    /// What there is to play, if nobody waits for more.
    playable: Option<HashSet<StreamKey>>,
}

impl Judge {
    fn judge(&self, attempt: &Attempt<'_>) -> StreamRule {
        let stream_id = match std::str::from_utf8(attempt.stream_id) {
            Ok(stream_id) => stream_id,
            // On a port of one stream it does not matter.
            Err(_) if self.naming.published.is_some() => "",
            Err(_) => return StreamRule::reject(RejectReason::BAD_REQUEST),
        };
        let Ok(request) = identify(stream_id, &self.naming) else {
            return StreamRule::reject(RejectReason::BAD_REQUEST);
        };
        let ask = request.ask(attempt.peer);
        let admitted = match self.rules.judge(&ask, SystemTime::now()) {
            Ok(admitted) => admitted,
            Err(refused) => return StreamRule::reject(reason(&refused)),
        };
        let least = match ask.action {
            Action::Play => Level::RefuseViewers,
            Action::Publish => Level::EndViewers,
        };
        if self.load >= least {
            return StreamRule::reject(RejectReason::OVERLOAD);
        }
        let is_there = self.playable.as_ref().is_none_or(|playable| playable.contains(&ask.key));
        if ask.action == Action::Play && !is_there {
            return StreamRule::reject(RejectReason::NOT_FOUND);
        }
        match admitted.passphrase {
            Some(passphrase) => StreamRule::admit().passphrase(passphrase.reveal()),
            None => StreamRule::admit(),
        }
    }
}

/// What a refusal is in SRT's numbers.
const fn reason(refused: &Refused) -> RejectReason {
    match refused {
        Refused::Unauthorized(_) => RejectReason::UNAUTHORIZED,
        Refused::Forbidden(_) => RejectReason::FORBIDDEN,
        Refused::NotFound(_) => RejectReason::NOT_FOUND,
        _ => RejectReason::DOWN,
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
    let Naming { default_mode, default_stream, .. } = &settings.naming;
    let table = table.default_mode(*default_mode).default_stream(default_stream.path());
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
