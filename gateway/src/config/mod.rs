//! The configuration: defaults, a file, environment variables and `--set`, each laid over the ones before.
//!
//! All of them are TOML, and all of them are checked against one table of keys, [`schema`]. What is wrong is shown with
//! its text, line and column, and with what was expected; nothing starts with half a configuration. After loading,
//! [`Config`] has plain values that need no further check.
//!
//! Loading is a function of texts: this room reads no file and no environment itself.

mod access;
mod check;
mod fault;
mod layer;
mod nearest;
pub mod reference;
pub mod schema;
mod settings;
mod value;

pub use crate::secret::{MASK, Secret};
pub use fault::{ConfigError, Fault};
pub use layer::Origin;
pub use settings::{
    AccessRule, AccessTerms, AccessTokens, AccessUser, Api, CertificateFiles, Config, DefaultMode,
    Hls, HlsSegments, HookFailure, Hooks, Http, Https, Hub, Limits, Log, LogFormat, Overload, Play,
    Publish, ReferenceB, Rtmp, Rtmps, SecondPublisher, SilentPlayer, Srt, Timeouts, Tls,
    TokenAlgorithm, TsStart, UdpInput, WebRtc,
};
pub use value::Kind;

use serde::Deserialize;
use toml::{Table, Value};

use fault::mask_urls;
use layer::{Layer, Leaf};
use schema::Key;

/// The texts that a configuration is made of, besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name and content of the file.
    pub file: Option<(String, String)>,
    /// The environment; what does not begin with `THALWEG_` is passed over.
    pub environment: Vec<(String, String)>,
    /// What was given with `--set`: `key=value`.
    pub arguments: Vec<String>,
}

/// A configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The same key by key, to be shown.
    pub in_force: Vec<InForce>,
}

/// The value of one key, to be shown.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The key.
    pub key: &'static Key,
    /// Its value as TOML; that of a secret is masked.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Makes a configuration of texts.
///
/// # Errors
///
/// All that is wrong with them.
///
/// # Panics
///
/// Never with what a text holds: only when the schema admits a value that the settings cannot hold.
pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
    let mut faults = Vec::new();
    let mut layers = vec![Layer { origin: Origin::Default, text: reference::toml() }];
    layers.extend(sources.file.map(|(name, text)| Layer { origin: Origin::File(name), text }));
    layers.extend(layer::from_environment(sources.environment, &mut faults));
    let arguments = sources.arguments.into_iter();
    layers.extend(arguments.map(|text| Layer { origin: Origin::Argument, text }));

    let leaves = layer::merge(&layers, &mut faults);
    let mut root = Table::new();
    let mut in_force = Vec::new();
    for key in schema::KEYS {
        let Some(leaf) = leaves.get(key.path) else { continue };
        match key.kind.check(&leaf.value) {
            Ok(value) => {
                in_force.push(InForce::new(leaf, value.as_ref()));
                insert(&mut root, key, value);
            }
            Err(wrong) => {
                let what = format!("`{}`: {}", key.path, wrong.what);
                let expected = format!("expected {}", wrong.expected);
                faults.push(leaf.layer.fault(wrong.span, what, Some(expected)));
            }
        }
    }
    if !faults.is_empty() {
        return Err(ConfigError::new(faults));
    }
    let config = Config::deserialize(Value::Table(root));
    let config = config.expect("the schema admits only what the settings can hold");
    check::contradictions(&config, &leaves, &mut faults);
    if faults.is_empty() { Ok(Loaded { config, in_force }) } else { Err(ConfigError::new(faults)) }
}

/// The configuration that is in force when nobody sets anything.
///
/// # Panics
///
/// When the schema's own defaults are wrong.
#[must_use]
pub fn defaults() -> Loaded {
    load(Sources::default()).expect("the defaults are right")
}

fn insert(root: &mut Table, key: &Key, value: Option<Value>) {
    let mut table = root;
    if !key.section().is_empty() {
        let section = table.entry(key.section()).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(section) = section else { unreachable!("sections are made here only") };
        table = section;
    }
    if let Some(value) = value {
        table.insert(key.name().into(), value);
    }
}

impl InForce {
    fn new(leaf: &Leaf<'_>, value: Option<&Value>) -> Self {
        let as_written = || leaf.layer.text.get(leaf.value.span()).unwrap_or_default().to_owned();
        let value = match (leaf.key.kind, value) {
            (Kind::Secret { .. }, Some(_)) => format!("\"{MASK}\""),
            (Kind::Access, Some(value)) => access::masked(value).to_string(),
            (Kind::Urls, Some(_)) => mask_urls(&as_written()),
            (kind, None) if kind.is_text() => "\"\"".into(),
            (Kind::Size { .. }, _) | (_, None) => as_written(),
            (_, Some(value)) => value.to_string(),
        };
        Self { key: leaf.key, value, origin: leaf.layer.origin.clone() }
    }
}

#[cfg(test)]
mod tests;
