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
    Publish, Record, RecordFormat, RecordPlan, ReferenceB, Rtmp, Rtmps, SecondPublisher,
    SilentPlayer, Srt, Timeouts, Tls, TokenAlgorithm, TsStart, UdpInput, WebRtc,
};
pub use value::Kind;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use toml::{Table, Value};

use fault::mask_urls;
use layer::{Layer, Leaf};
use schema::Key;

/// The texts that a configuration is made of, besides the defaults.
#[derive(Clone, Default)]
pub struct Sources {
    /// Name and content of the file.
    pub file: Option<(String, String)>,
    /// The environment; what does not begin with `THALWEG_` is passed over.
    pub environment: Vec<(String, String)>,
    /// What was given with `--set`: `key=value`.
    pub arguments: Vec<String>,
}

impl fmt::Debug for Sources {
    /// Without the texts, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|(name, _)| name);
        f.debug_struct("Sources").field("file", &file).finish_non_exhaustive()
    }
}

/// A configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Box<Config>,
    /// The same key by key, to be shown.
    pub in_force: Vec<InForce>,
    sources: Sources,
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
    /// Tells the value from others, also where it is masked.
    fingerprint: u64,
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
    let kept = sources.clone();
    let mut faults = Vec::new();
    let mut layers = vec![Layer { origin: Origin::Default, text: reference::toml() }];
    layers.extend(sources.file.map(|(name, text)| Layer { origin: Origin::File(name), text }));
    layers.extend(layer::from_environment(sources.environment, &mut faults));
    let arguments = sources.arguments.into_iter();
    layers.extend(arguments.map(|text| Layer { origin: Origin::Argument, text }));

    let leaves = layer::merge(&layers, &mut faults);
    let mut root = Table::new();
    let mut in_force = Vec::new();
    for key in schema::keys() {
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
    let config = plain(root);
    check::contradictions(&config, &leaves, &mut faults);
    if faults.is_empty() {
        Ok(Loaded { config, in_force, sources: kept })
    } else {
        Err(ConfigError::new(faults))
    }
}

impl Loaded {
    /// The name of the file that it was made of.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.sources.file.as_ref().map(|(name, _)| name.as_str())
    }

    /// The same with another text in the file; environment and arguments stay as they were.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn with_text(&self, text: Option<String>) -> Result<Self, ConfigError> {
        let mut sources = self.sources.clone();
        if let (Some((_, old)), Some(text)) = (&mut sources.file, text) {
            *old = text;
        }
        load(sources)
    }

    /// The same, shown with the values that these keys have in `other`: they are still in force.
    #[must_use]
    pub fn keeping(mut self, other: &Self, keys: &[&str]) -> Self {
        for (own, others) in self.in_force.iter_mut().zip(&other.in_force) {
            if keys.contains(&own.key.path) {
                *own = others.clone();
            }
        }
        self
    }

    /// The keys that have other values in `other`.
    #[must_use]
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.in_force.iter().zip(&other.in_force);
        let changed = pairs.filter(|(one, other)| one.fingerprint != other.fingerprint);
        changed.map(|(one, _)| one.key.path).collect()
    }
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

/// On the heap, since it is large and stacks are not.
fn plain(root: Table) -> Box<Config> {
    let config = Config::deserialize(Value::Table(root)).map(Box::new);
    config.expect("the schema admits only what the settings can hold")
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
        let mut hasher = DefaultHasher::new();
        value.map(Value::to_string).hash(&mut hasher);
        let fingerprint = hasher.finish();
        let as_written = || leaf.layer.text.get(leaf.value.span()).unwrap_or_default().to_owned();
        let value = match (leaf.key.kind, value) {
            (Kind::Secret { .. }, Some(_)) => format!("\"{MASK}\""),
            (Kind::Access, Some(value)) => access::masked(value).to_string(),
            (Kind::Urls, Some(_)) => mask_urls(&as_written()),
            (kind, None) if kind.is_text() => "\"\"".into(),
            (Kind::Size { .. }, _) | (_, None) => as_written(),
            (_, Some(value)) => value.to_string(),
        };
        Self { key: leaf.key, value, origin: leaf.layer.origin.clone(), fingerprint }
    }
}

#[cfg(test)]
mod tests;
