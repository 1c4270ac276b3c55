//! `raw`: SRS's way to have the configuration read again, and to learn how that went.

use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::unix_ms;
use crate::admin::Admin;
use crate::admin::access::Needs;
use crate::admin::answer::Failure;
use crate::http::{Exchange, StatusCode};
use crate::hub::EventKind;

/// Reads the configuration again and puts in force what is new in it, or tells what is wrong with it. It may suspend.
pub(in crate::admin) type Reload = Rc<dyn Fn() -> Result<String, String>>;

/// How reading the configuration again went.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Reloaded {
    at: SystemTime,
    /// What changed, or what was wrong.
    outcome: Result<String, String>,
}

const RPC: &str = "raw, reload or reload-fetch";

/// To know is for everybody who may see; what changes something is asked again for more.
pub(super) fn raw(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let rpc = exchange.request().target().parameter("rpc").unwrap_or_default().into_owned();
    match &*rpc {
        "raw" => {
            let can_reload = admin.reload.borrow().is_some();
            let raw_api = json!({
                "enabled": true, "allow_reload": can_reload, "allow_query": false, "allow_update": false,
            });
            admin.answer(exchange, json!({ "http_api": { "enabled": true, "raw_api": raw_api } }))
        }
        "reload-fetch" => {
            let last = admin.reloaded.borrow().clone();
            admin.answer(exchange, json!({ "data": shown(last.as_ref()) }))
        }
        "reload" => admin.serve(exchange, Needs::Change, &reload),
        _ => admin.fail(exchange, &Failure::parameter("rpc", RPC)),
    }
}

fn reload(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let Some(reload) = admin.reload.borrow().clone() else {
        let text = "there is no configuration file to be read again";
        return admin.fail(exchange, &Failure::new(StatusCode::CONFLICT, text));
    };
    let outcome = reload();
    admin.note_reload(outcome.clone());
    let last = admin.reloaded.borrow().clone();
    match outcome {
        Ok(_) => admin.answer(exchange, json!({ "data": shown(last.as_ref()) })),
        Err(wrong) => admin.fail(exchange, &Failure::new(StatusCode::CONFLICT, wrong)),
    }
}

impl Admin {
    /// Gives the API the way to have the configuration read again. It may suspend.
    pub fn set_reload(&self, reload: impl Fn() -> Result<String, String> + 'static) {
        *self.reload.borrow_mut() = Some(Rc::new(reload));
    }

    /// The configuration was read again, by whatever was the occasion: what changed, or what was wrong with it.
    pub fn note_reload(&self, outcome: Result<String, String>) {
        let text = match &outcome {
            Ok(text) => text.clone(),
            Err(wrong) => format!("rejected: {wrong}"),
        };
        self.clients.events().note(EventKind::Reload, text);
        *self.reloaded.borrow_mut() = Some(Reloaded { at: SystemTime::now(), outcome });
    }
}

/// As SRS shows it: `err` is 0 when all is well.
fn shown(last: Option<&Reloaded>) -> Value {
    match last {
        None => {
            json!({ "err": 0, "msg": "not read again since the start", "state": 0, "rpc": "", "at_ms": null })
        }
        Some(Reloaded { at, outcome }) => {
            let (err, msg) = match outcome {
                Ok(text) => (0, text),
                Err(wrong) => (1, wrong),
            };
            json!({ "err": err, "msg": msg, "state": 1, "rpc": "reload", "at_ms": unix_ms(*at) })
        }
    }
}
