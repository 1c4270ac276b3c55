//! What a running gateway is told: by SIGHUP or the API to read its configuration again, by SIGUSR1 to open its log
//! anew, by SIGINT and SIGTERM to end.
//!
//! A new configuration is prepared whole (read, checked, its new addresses bound, its certificates and its log opened)
//! before any of it is put in force; whatever is wrong leaves the running one as it is. What is in force then holds for
//! connections and streams from that moment on: those that are there go on as they began, and none is dropped. The few
//! keys that take a restart are named.

use super::{
    Gateway, access, limits, listeners::Serving, notify::Notify, overload, secure, tcp::Tcp,
};
use crate::{
    auth::Rules,
    config::{Config, Loaded},
    hub::Level,
    log::Renewal,
    tls::Certificates,
};
use std::{io, rc::Rc};
use thalweg_runtime::{
    JoinHandle, fs, select,
    signal::{Signal, Signals},
    sync::channel::{self, OneshotSender, Receiver},
};
use tracing::{error, info, warn};

/// Keys, or sections with a dot, whose changes take a restart.
const RESTART: &[&str] = &[
    "srt.listen",
    "srt.ports",
    "srt.latency_ms",
    "srt.passphrase",
    "udp",
    "webrtc.listen",
    "hls.",
    "hooks.",
    "record.",
    "api.",
    "timeouts.shutdown_ms",
    "log.format",
];

/// Begins to listen for what a running gateway is told: from then on no such signal ends the process at once.
pub(super) fn listen() -> io::Result<Signals> {
    Signals::new([Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::User1])
}

/// A gateway that serves, and what may be told to it.
#[derive(Debug)]
pub(super) struct Running {
    gateway: Rc<Gateway>,
    serving: Serving,
    loaded: Loaded,
    /// For memory and load.
    watches: Vec<JoinHandle<()>>,
    notify: Notify,
}

/// What came of it, or what was wrong.
type Outcome = Result<String, String>;

/// What the API asks for.
type Request = OneshotSender<Outcome>;

impl Running {
    pub(super) fn new(
        gateway: Rc<Gateway>,
        serving: Serving,
        loaded: Loaded,
        notify: Notify,
    ) -> io::Result<Self> {
        let watches = watch(&gateway)?;
        Ok(Self { gateway, serving, loaded, watches, notify })
    }

    /// Does what it is told until that is to end.
    ///
    /// # Suspends
    ///
    /// Until then.
    pub(super) fn until_told_to_end(&mut self, signals: &Signals) -> io::Result<Signal> {
        let requests = self.listen_to_the_api();
        loop {
            let told = select! {
                signal = signals.receiving() => Told::Signal(signal?),
                request = requests.receiving() => Told::Api(request.ok()),
            }?;
            match told {
                Told::Signal(Signal::Hangup) => {
                    let outcome = self.reload_and_tell();
                    self.serving.admin().note_reload(outcome);
                }
                Told::Signal(Signal::User1) => self.reopen(),
                Told::Signal(signal) => return Ok(signal),
                // The API notes the outcome itself. Whoever asked may have gone.
                Told::Api(Some(request)) => drop(request.send(self.reload_and_tell())),
                Told::Api(None) => {}
            }
        }
    }

    /// Ends all that serves.
    ///
    /// # Suspends
    ///
    /// Until that has ended.
    pub(super) fn end(&self) -> io::Result<()> {
        self.notify.stopping(self.gateway.config.timeouts.shutdown);
        super::shutdown::run(&self.gateway, &self.serving)
    }

    fn listen_to_the_api(&self) -> Receiver<Request> {
        let (ask, requests) = channel::bounded::<Request>(1);
        self.serving.admin().set_reload(move || {
            let (answer, outcome) = channel::oneshot();
            let ended = |_| "the gateway is ending".to_owned();
            ask.send(answer).map_err(|_| ended(()))?;
            outcome.recv().map_err(|_| ended(()))?
        });
        requests
    }

    fn reload_and_tell(&mut self) -> Outcome {
        self.notify.reloading();
        let outcome = self.reload();
        self.notify.ready();
        match &outcome {
            Ok(text) => info!("configuration: {text}"),
            Err(error) => error!("the configuration stays as it was: {error}"),
        }
        outcome
    }

    fn reload(&mut self) -> Outcome {
        let next = self.read()?;
        let changes = self.loaded.changes(&next);
        let (restart, live): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|key| takes_restart(key));
        let prepared = self.prepare(&next.config)?;
        let next = next.keeping(&self.loaded, &restart);
        self.apply(next, prepared).map_err(|error| error.to_string())?;
        if !restart.is_empty() {
            warn!(keys = restart.join(" "), "these take a restart");
        }
        let said = |keys: &[&str], none: &str| {
            if keys.is_empty() { none.to_owned() } else { keys.join(" ") }
        };
        let mut text = format!("changed: {}", said(&live, "nothing"));
        if !restart.is_empty() {
            text.push_str(&format!("; takes a restart: {}", said(&restart, "")));
        }
        Ok(text)
    }

    fn read(&self) -> Result<Loaded, String> {
        let text = match self.loaded.file() {
            Some(path) => {
                let unread = |error: io::Error| format!("cannot read {path}: {error}");
                let bytes = fs::read(path).map_err(unread)?;
                Some(String::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8"))?)
            }
            None => None,
        };
        self.loaded.with_text(text).map_err(|error| error.to_string())
    }

    /// All that can fail.
    fn prepare(&self, config: &Config) -> Result<Prepared, String> {
        let rules = access::rules(&config.access).map_err(|error| error.to_string())?;
        let tcp = Tcp::bind(config, self.serving.tcp()).map_err(|error| error.to_string())?;
        let log = self.gateway.log.prepare(&config.log).map_err(|error| error.to_string())?;
        let certificates = self.certificates(config)?;
        Ok(Prepared { tcp, certificates, log, rules })
    }

    fn certificates(&self, config: &Config) -> Result<Option<Certificates>, String> {
        match (&self.gateway.certificates, secure::source(config)) {
            (Some(present), Some(source)) => {
                present.replace(source).map_err(|error| format!("tls: {error}"))?;
                Ok(Some(present.clone()))
            }
            _ => secure::certificates(config).map_err(|error| error.to_string()),
        }
    }

    fn apply(&mut self, next: Loaded, prepared: Prepared) -> io::Result<()> {
        let Prepared { tcp, certificates, log, rules } = prepared;
        log.commit();
        let gateway = Gateway {
            config: next.config.clone(),
            in_force: next.in_force.clone(),
            certificates,
            ..Gateway::clone(&self.gateway)
        };
        self.gateway = Rc::new(gateway);
        self.loaded = next;
        self.gateway.registry.set_settings(super::hub_settings(&self.gateway.config));
        self.gateway.gate.replace(rules);
        self.gateway.clients.set_proxies(self.gateway.config.http.trusted_proxies.clone());
        self.gateway.clients.set_limits(super::client_limits(&self.gateway.config));
        self.watches.drain(..).for_each(|watch| watch.cancel());
        self.gateway.clients.set_memory_short(false);
        self.gateway.registry.set_load(Level::Normal);
        self.watches = watch(&self.gateway)?;
        self.serving.renew(&self.gateway, tcp)
    }

    fn reopen(&self) {
        match self.gateway.log.prepare(&self.gateway.config.log) {
            Ok(log) => {
                log.commit();
                info!("the log has been opened anew");
            }
            Err(error) => error!(%error, "the log goes on where it did"),
        }
    }
}

/// What a new configuration needs, ready to be put in force.
struct Prepared {
    tcp: Tcp,
    certificates: Option<Certificates>,
    log: Renewal,
    rules: Rules,
}

enum Told {
    Signal(Signal),
    Api(Option<Request>),
}

/// What measures, where there is something to compare it with.
fn watch(gateway: &Rc<Gateway>) -> io::Result<Vec<JoinHandle<()>>> {
    let watches = [limits::watch_memory(gateway)?, overload::watch(gateway)?];
    Ok(watches.into_iter().flatten().collect())
}

fn takes_restart(key: &str) -> bool {
    RESTART.iter().any(|&one| if one.ends_with('.') { key.starts_with(one) } else { key == one })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Key;

    #[test]
    fn what_takes_a_restart_is_there() {
        for &one in RESTART {
            let is_there = |key: &Key| takes_restart(key.path) && key.path.starts_with(one);
            assert!(crate::config::schema::keys().any(is_there), "{one}");
        }
        assert!(!takes_restart("srt.default_stream"));
    }
}
