//! Where settings come from: the defaults, a file, the environment, the command line, each a piece of TOML; and what
//! they say when each is laid over the ones before.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use super::nearest::nearest;
use super::schema::{Key, LISTS, SECTIONS, keys};

/// Where a setting comes from. Later ones prevail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file of this name.
    File(String),
    /// An environment variable of this name.
    Variable(String),
    /// `--set` on the command line.
    Argument,
}

/// A text with settings.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) text: String,
}

/// The value that a layer gives a key.
#[derive(Debug)]
pub(super) struct Leaf<'t> {
    pub(super) key: &'static Key,
    /// In the order of the layers, so larger ones prevail.
    pub(super) rank: usize,
    pub(super) layer: &'t Layer,
    pub(super) value: Spanned<DeValue<'t>>,
}

/// The values in force, by the paths of their keys.
pub(super) type Leaves<'t> = BTreeMap<&'static str, Leaf<'t>>;

/// Lays the layers over each other, in their order.
pub(super) fn merge<'t>(layers: &'t [Layer], faults: &mut Vec<Fault>) -> Leaves<'t> {
    let mut leaves = Leaves::new();
    for (rank, layer) in layers.iter().enumerate() {
        for (key, value) in layer.read(faults) {
            leaves.insert(key.path, Leaf { key, rank, layer, value });
        }
    }
    leaves
}

/// The variables among `environment` that set keys, as layers.
pub(super) fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    faults: &mut Vec<Fault>,
) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix("THALWEG_") else { continue };
        let layer = Layer { origin: Origin::Variable(name.clone()), text };
        if keys().any(|key| key.variable() == name) {
            layers.push(layer);
        } else if let Some((section, _)) = rest.split_once('_')
            && SECTIONS.iter().any(|known| known.name == section.to_lowercase())
        {
            // Other names that begin like ours may well be somebody else's.
            let names: Vec<String> = keys().map(Key::variable).collect();
            let hint = nearest(&name, names.iter().map(String::as_str)).map(did_you_mean);
            faults.push(layer.fault(0..0, format!("`{name}` sets no key that there is"), hint));
        }
    }
    layers
}

type Setting<'t> = (&'static Key, Spanned<DeValue<'t>>);

impl Layer {
    fn read(&self, faults: &mut Vec<Fault>) -> Vec<Setting<'_>> {
        match &self.origin {
            Origin::Default | Origin::File(_) => self.read_document(faults),
            Origin::Variable(name) => self.read_variable(name, faults).into_iter().collect(),
            Origin::Argument => self.read_argument(faults),
        }
    }

    fn read_document(&self, faults: &mut Vec<Fault>) -> Vec<Setting<'_>> {
        let root = match DeTable::parse(&self.text) {
            Ok(root) => root.into_inner(),
            Err(error) => {
                faults.push(self.syntax(&error, 0));
                return Vec::new();
            }
        };
        let mut settings = Vec::new();
        for (name, value) in root {
            let is_section = SECTIONS.iter().any(|section| section.name == &**name.get_ref());
            if let Some(key) = Key::find(name.get_ref()) {
                settings.push((key, value));
            } else if !is_section {
                let names = SECTIONS.iter().map(|section| section.name);
                let all = names.chain(LISTS.iter().map(Key::name));
                let hint = nearest(name.get_ref(), all).map(did_you_mean);
                let what = format!("there is no section `{}`", name.get_ref());
                faults.push(self.fault(name.span(), what, hint));
            } else {
                self.read_section(name.get_ref(), value, &mut settings, faults);
            }
        }
        settings
    }

    fn read_section<'t>(
        &'t self,
        section: &str,
        value: Spanned<DeValue<'t>>,
        settings: &mut Vec<Setting<'t>>,
        faults: &mut Vec<Fault>,
    ) {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            let what = format!("`{section}` is a section");
            faults.push(self.fault(
                span,
                what,
                Some(format!("write [{section}], and its keys below")),
            ));
            return;
        };
        for (name, value) in table {
            if let Some(key) = Key::find(&format!("{section}.{}", name.get_ref())) {
                settings.push((key, value));
                continue;
            }
            let what = format!("there is no key `{}` in [{section}]", name.get_ref());
            faults.push(self.fault(name.span(), what, Some(hint_for(section, name.get_ref()))));
        }
    }

    fn read_variable(&self, name: &str, faults: &mut Vec<Fault>) -> Option<Setting<'_>> {
        let key = keys().find(|key| key.variable() == name)?;
        if let Some(text) = bare_text(key, &self.text, 0) {
            return Some((key, text));
        }
        match DeValue::parse(&self.text) {
            Ok(value) => Some((key, value)),
            Err(error) => {
                let fault = self.syntax(&error, 0);
                faults.push(fault.hint(format!("expected {}", key.kind)));
                None
            }
        }
    }

    /// Reads `key=value`.
    fn read_argument(&self, faults: &mut Vec<Fault>) -> Vec<Setting<'_>> {
        let Some((path, value)) = self.text.split_once('=') else {
            let hint = "expected `key=value`, such as `srt.latency_ms=20`";
            faults.push(self.fault(
                0..self.text.len(),
                "there is no `=`".into(),
                Some(hint.into()),
            ));
            return Vec::new();
        };
        if let Some(key) = Key::find(path.trim())
            && let Some(text) = bare_text(key, value, path.len() + 1)
        {
            return vec![(key, text)];
        }
        self.read_document(faults)
    }

    pub(super) fn fault(&self, span: Range<usize>, what: String, hint: Option<String>) -> Fault {
        let fault = Fault::new(&self.origin, &self.text, span, what);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    fn syntax(&self, error: &toml::de::Error, offset: usize) -> Fault {
        let span = error.span().unwrap_or(0..self.text.len());
        let span = span.start + offset..span.end + offset;
        self.fault(span, format!("this is not TOML: {}", error.message()), None)
    }
}

/// The value of a key that takes a text, where the text stands without TOML's quotes: a shell has taken them, and it
/// can mean nothing else.
fn bare_text<'t>(key: &Key, text: &'t str, offset: usize) -> Option<Spanned<DeValue<'t>>> {
    let start = offset + (text.len() - text.trim_start().len());
    let text = text.trim();
    let is_bare = key.kind.is_text() && !text.starts_with(['"', '\'']);
    is_bare.then(|| Spanned::new(start..start + text.len(), DeValue::String(text.into())))
}

/// What somebody may have meant who wrote an unknown key.
fn hint_for(section: &str, name: &str) -> String {
    let siblings = || keys().filter(|key| key.section() == section).map(Key::name);
    if let Some(near) = nearest(name, siblings()) {
        return did_you_mean(near);
    }
    match keys().find(|key| key.name() == name) {
        Some(elsewhere) => did_you_mean(elsewhere.path),
        None => format!("expected one of {}", siblings().collect::<Vec<_>>().join(", ")),
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Argument => f.write_str("--set"),
        }
    }
}
