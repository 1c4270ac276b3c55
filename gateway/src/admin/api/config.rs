//! The configuration in force, with secrets masked by whoever made the entries.

use std::io;

use serde::Serialize;

use crate::admin::Admin;
use crate::http::Exchange;

/// The value of one key.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Section and name.
    pub key: &'static str,
    /// As TOML. That of a secret is masked.
    pub value: String,
    /// Where it comes from.
    pub origin: String,
}

#[derive(Serialize)]
struct InForce {
    total: usize,
    config: Vec<Entry>,
}

pub(super) fn in_force(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let config = admin.config.borrow().clone();
    admin.answer(exchange, InForce { total: config.len(), config })
}
