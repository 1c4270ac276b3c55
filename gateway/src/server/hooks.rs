//! Web hooks at the gate: what protocols say of a peer becomes what SRS calls a request.

use std::{collections::BTreeMap, io, path::PathBuf, rc::Rc};

use super::Gateway;
use crate::{
    auth::{Action, Ask, AtEnd, Refused, Visit},
    config::{self, HookFailure},
    hooks::{Denied, Hook, Hooks, Identity, Notice, OnFailure, Segment, Settings, Signer, Subject},
    http::client::{Roots, Url},
    hub::{ClientId, Clients},
    protocol::hls::OnSegment,
};

/// The hooks that the configuration names.
///
/// # Suspends
///
/// While the file of certificates is read, if one is needed.
pub(super) fn open(config: &config::Hooks) -> io::Result<Hooks> {
    let lists = [
        (Hook::Connect, &config.on_connect),
        (Hook::Close, &config.on_close),
        (Hook::Publish, &config.on_publish),
        (Hook::Unpublish, &config.on_unpublish),
        (Hook::Play, &config.on_play),
        (Hook::Stop, &config.on_stop),
        (Hook::Hls, &config.on_hls),
        (Hook::Dvr, &config.on_dvr),
    ];
    let mut urls = BTreeMap::new();
    for (hook, list) in lists {
        let parsed = list.iter().map(|url| Url::parse(url.reveal())).collect::<Result<Vec<_>, _>>();
        let parsed = parsed.map_err(|error| invalid(&format!("hooks.{hook}: {error}")))?;
        urls.insert(hook, parsed);
    }
    let needs_roots = urls.values().flatten().any(Url::is_https);
    let roots = match &config.ca_file {
        Some(file) => Roots::read(file),
        None if needs_roots => Roots::of_system(),
        None => Ok(Roots::default()),
    };
    Ok(Hooks::new(Settings {
        urls,
        timeout: config.timeout,
        on_failure: match config.on_failure {
            HookFailure::Refuse => OnFailure::Refuse,
            HookFailure::Accept => OnFailure::Accept,
        },
        signer: config.secret.as_ref().map(|secret| Signer::new(secret.reveal())),
        roots: roots.map_err(|error| invalid(&format!("hooks.ca_file: {error}")))?,
        queue_most: config.queue,
        retry: config.retry,
        identity: Identity::of_process().clone(),
    }))
}

/// Has the gate ask the hooks.
pub(super) fn attach(gateway: &Gateway) -> io::Result<()> {
    let Gateway { gate, hooks, clients, .. } = gateway;
    hooks.start()?;
    let asked = (hooks.clone(), clients.clone());
    gate.add_visit_check(move |visit| {
        let (hooks, clients) = &asked;
        connect(hooks, clients, of_visit(visit)).map(|notice| at_end([Some(notice), None]))
    });
    let asked = (hooks.clone(), clients.clone());
    gate.add_check(move |ask| {
        let (hooks, clients) = &asked;
        let subject = of_ask(ask);
        // In RTMP one connects first; HLS has no connections that mean anything, and nobody connects by UDP.
        let connected = match ask.protocol {
            "rtmp" | "hls" | "udp" => None,
            _ => Some(connect(hooks, clients, subject.clone())?),
        };
        let begun = match ask.action {
            Action::Publish => hooks.publish(subject, &ask.key),
            Action::Play => hooks.play(subject),
        };
        Ok(at_end([Some(begun.map_err(refused)?), connected]))
    });
    Ok(())
}

/// Tells the hooks of finished segments.
pub(super) fn on_segment(hooks: &Hooks) -> Rc<OnSegment> {
    let hooks = hooks.clone();
    Rc::new(move |done| {
        let path = |path: &Option<PathBuf>| {
            path.as_deref().map(|path| path.display().to_string()).unwrap_or_default()
        };
        let segment = Segment {
            duration: done.duration,
            file: path(&done.file),
            url: done.uri.clone(),
            m3u8: path(&done.playlist_file),
            m3u8_url: done.playlist_uri.clone(),
            seq_no: done.msn,
        };
        hooks.segment(&done.key, &segment);
    })
}

fn connect(hooks: &Hooks, clients: &Clients, subject: Subject) -> Result<Notice, Refused> {
    let client = clients.find(ClientId(subject.client));
    let traffic =
        move || client.as_ref().map_or((0, 0), |client| (client.sent.get(), client.received.get()));
    hooks.connect(subject, traffic).map_err(refused)
}

/// Tells of the ends in this order.
fn at_end(notices: [Option<Notice>; 2]) -> Option<AtEnd> {
    Some(Box::new(move || notices.into_iter().for_each(drop)))
}

fn of_visit(visit: &Visit) -> Subject {
    Subject {
        tc_url: visit.tc_url.reveal().to_owned(),
        page_url: visit.page_url.reveal().to_owned(),
        param: with_mark(visit.params.reveal()),
        ..Subject::of_app(visit.client, visit.peer.ip(), &visit.vhost, &visit.app)
    }
}

fn of_ask(ask: &Ask) -> Subject {
    let mut subject = Subject::of_stream(ask.client, ask.peer.ip(), &ask.key);
    if !ask.tc_url.is_empty() {
        subject.tc_url = ask.tc_url.reveal().to_owned();
    }
    subject.page_url = ask.page_url.reveal().to_owned();
    let params = ask.params.reveal();
    // SRS leaves the question mark out where there was none.
    subject.param = if ask.protocol == "srt" { params.to_owned() } else { with_mark(params) };
    subject
}

fn with_mark(query: &str) -> String {
    if query.is_empty() { String::new() } else { format!("?{query}") }
}

fn refused(denied: Denied) -> Refused {
    match denied {
        Denied::Refused(_) => Refused::Forbidden(denied.to_string()),
        Denied::Failed(_) => Refused::Unavailable(denied.to_string()),
        Denied::Wait(error) => Refused::Wait(error),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
