//! What is wrong with a configuration, shown where it stands.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::access;
use super::layer::Origin;
use super::schema::{Key, keys};
use super::value::Kind;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    origin: Origin,
    /// The whole text in which it stands, without the secrets in it.
    text: String,
    span: Range<usize>,
    what: String,
    hint: String,
}

/// All that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl Fault {
    pub(super) fn new(origin: &Origin, text: &str, span: Range<usize>, what: String) -> Self {
        let text = match origin {
            Origin::Variable(name) if is_secret_variable(name) => "*".repeat(text.len()),
            _ => mask_secrets(&mask_urls(text)),
        };
        let end = span.end.min(text.len());
        Self {
            origin: origin.clone(),
            text,
            span: span.start.min(end)..end,
            what,
            hint: String::new(),
        }
    }

    pub(super) fn hint(self, hint: String) -> Self {
        Self { hint, ..self }
    }

    /// Where the text comes from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The line in that text, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// The column in that line, from 1, in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        let before = self.before();
        before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1
    }

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What was expected or perhaps meant; may be empty.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.hint
    }

    fn before(&self) -> &str {
        self.text.get(..self.span.start).unwrap_or(&self.text)
    }
}

impl ConfigError {
    /// # Panics
    ///
    /// Without any fault there is no error.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        assert!(!faults.is_empty(), "an error is made of faults");
        faults.sort_by_key(|fault| fault.span.start);
        Self { faults }
    }

    /// What is wrong, in the order in which it stands.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// As [`fmt::Display`], with the colours of a terminal.
    #[must_use]
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let shown: Vec<String> = self.faults.iter().map(|fault| fault.render(renderer)).collect();
        shown.join("\n\n")
    }
}

impl Fault {
    fn render(&self, renderer: &Renderer) -> String {
        let path = match &self.origin {
            Origin::Default => "the defaults".to_owned(),
            Origin::File(name) => name.clone(),
            Origin::Variable(name) => format!("${name}"),
            Origin::Argument => "--set".to_owned(),
        };
        let mark = AnnotationKind::Primary.span(self.span.clone()).label(&*self.hint);
        let snippet = Snippet::source(&*self.text).path(path).annotation(mark);
        let group = Level::ERROR.primary_title(&*self.what).element(snippet);
        renderer.render(&[group])
    }
}

fn is_secret_variable(name: &str) -> bool {
    let is_secret = |kind| matches!(kind, Kind::Secret { .. } | Kind::Access);
    let mut secrets = keys().filter(|key| is_secret(key.kind));
    secrets.any(|key| key.variable() == name)
}

/// Overwrites the users, passwords and queries of URLs, byte for byte.
pub(super) fn mask_urls(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, mark) in text.match_indices("://") {
        let start = at + mark.len();
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(['"', '\'', ' ', '\t', '\r', '\n', ',', ']']).unwrap_or(rest.len());
        let url = rest.get(..end).unwrap_or_default();
        let authority = url.get(..url.find('/').unwrap_or(url.len())).unwrap_or_default();
        let user = 0..authority.rfind('@').unwrap_or(0);
        let query = url.find('?').map_or(end, |mark| mark + 1)..end;
        for range in [user, query] {
            let range = start + range.start..start + range.end;
            bytes.get_mut(range).unwrap_or_default().fill(b'*');
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Overwrites what is assigned to keys that hold secrets, byte for byte, so that places stay what they are.
fn mask_secrets(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let keys = keys().filter(|key| matches!(key.kind, Kind::Secret { .. })).map(Key::name);
    for name in keys.chain(access::SECRETS) {
        for (at, name) in text.match_indices(name) {
            let rest = text.get(at + name.len()..).unwrap_or_default();
            // Also `"passphrase" =`.
            let value = rest.trim_start_matches(['"', '\'', ' ', '\t']);
            let Some(value) = value.strip_prefix('=') else { continue };
            let start = text.len() - value.trim_start_matches([' ', '\t']).len();
            // A text of several lines may hide anything in what follows.
            let has_lines =
                ["\"\"\"", "'''", "["].iter().any(|open| value.trim_start().starts_with(open));
            let len = if has_lines { value.len() } else { value.find('\n').unwrap_or(value.len()) };
            let end = text.len() - value.len() + len;
            for byte in bytes.get_mut(start..end).unwrap_or_default() {
                if *byte != b'\n' {
                    *byte = b'*';
                }
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_are_masked_in_place() {
        for (text, masked) in [
            (
                r#"x = ["http://h/a?t=s", 'https://u:p@h:1/b']"#,
                r#"x = ["http://h/a?***", 'https://***@h:1/b']"#,
            ),
            ("http://h/a@b\nhttp://ü:p@h?a", "http://h/a@b\nhttp://****@h?*"),
            ("no URL", "no URL"),
        ] {
            assert_eq!(mask_urls(text), masked);
            assert_eq!(mask_urls(text).len(), text.len());
        }
    }

    #[test]
    fn secrets_are_masked_in_place() {
        for (text, masked) in [
            ("a = 1\npassphrase = \"söcret\"\nb = 2", "a = 1\npassphrase = *********\nb = 2"),
            ("srt.passphrase=secret", "srt.passphrase=******"),
            ("x = { \"passphrase\" = 's' }", "x = { \"passphrase\" = *****"),
            ("passphrase = '''\nse\ncret'''\nb=1", "passphrase = ***\n**\n*******\n***"),
            ("# a passphrase is secret", "# a passphrase is secret"),
            ("signed = [\n\"x\"]\nb", "signed = *\n****\n*"),
        ] {
            assert_eq!(mask_secrets(text), masked);
            assert_eq!(mask_secrets(text).len(), text.len());
        }
    }
}
