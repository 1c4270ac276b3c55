//! The tables of `[[access]]`: what keys they may have, the check of each, and what is shown of them.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;
use toml::de::{DeArray, DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::MASK;
use super::nearest::nearest;
use super::value::{Checked, Wrong, describe};
use crate::key::Pattern;

/// A key of a table.
struct Entry {
    name: &'static str,
    shape: Shape,
    doc: &'static str,
}

/// What the value of a key is.
#[derive(Clone, Copy)]
enum Shape {
    Boolean,
    Text,
    Path,
    Networks,
    /// One, or a list of them.
    Patterns,
    /// Of so many bytes; one, or a list of them.
    Secrets(usize),
    /// Of so many bytes.
    Secret(usize, usize),
    /// As `Secret`, or empty.
    SecretOrNone(usize, usize),
    Algorithm,
    /// `true`, `false` or a table.
    Terms,
    Users,
    Tokens,
}

const RULE: &[Entry] = &[
    Entry {
        name: "streams",
        shape: Shape::Patterns,
        doc: "The streams that the rule is for: a name such as `live/cam`, or `live/*` where `*` stands for any \
              text, slashes included; or a list of them. With `@` and a virtual host behind it, only there.",
    },
    Entry {
        name: "publish",
        shape: Shape::Terms,
        doc: "Who may publish them: `true` for everybody, `false` for nobody, or a table with the keys below.",
    },
    Entry { name: "play", shape: Shape::Terms, doc: "Who may play them, likewise." },
];

const TERMS: &[Entry] = &[
    Entry {
        name: "allow",
        shape: Shape::Networks,
        doc: "Only from these networks: a list such as `[\"10.0.0.0/8\", \"::1\"]`.",
    },
    Entry {
        name: "deny",
        shape: Shape::Networks,
        doc: "Not from these networks. It counts before `allow`.",
    },
    Entry {
        name: "users",
        shape: Shape::Users,
        doc: "By name and password: a list such as `[{ name = \"me\", password = \"…\" }]`.",
    },
    Entry {
        name: "signed",
        shape: Shape::Secrets(16),
        doc: "By an address that is signed with this secret, or one of a list: 16 bytes at least.",
    },
    Entry {
        name: "jwt",
        shape: Shape::Tokens,
        doc: "By a token: a table with `algorithm`, `\"HS256\"` with `secret` (32 bytes at least), or `\"RS256\"` or \
              `\"ES256\"` with `key_file` (PEM) or `jwks_file`; and what `issuer` and `audience` have to be, if \
              that is to be checked.",
    },
    Entry {
        name: "passphrase",
        shape: Shape::SecretOrNone(10, 79),
        doc: "SRT: the passphrase for these streams, in place of `srt.passphrase`; `\"\"` for none.",
    },
    Entry {
        name: "end_at_expiry",
        shape: Shape::Boolean,
        doc: "Whether what a token or a signed address allowed ends when that expires. Otherwise it says until when \
              one may begin.",
    },
];

const USER: &[Entry] = &[
    Entry { name: "name", shape: Shape::Text, doc: "" },
    Entry { name: "password", shape: Shape::Secret(1, 1024), doc: "" },
];

const TOKENS: &[Entry] = &[
    Entry { name: "algorithm", shape: Shape::Algorithm, doc: "" },
    Entry { name: "secret", shape: Shape::Secret(32, 1024), doc: "" },
    Entry { name: "key_file", shape: Shape::Path, doc: "" },
    Entry { name: "jwks_file", shape: Shape::Path, doc: "" },
    Entry { name: "issuer", shape: Shape::Text, doc: "" },
    Entry { name: "audience", shape: Shape::Text, doc: "" },
];

/// The keys whose values are not shown.
pub(super) const SECRETS: [&str; 4] = ["password", "secret", "signed", "passphrase"];

/// What is expected of a list of networks.
pub(super) const NETWORKS: &str = r#"a list of networks, such as ["10.0.0.0/8", "::1"]"#;

/// A list of networks, each with the length of its prefix.
pub(super) fn networks(value: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong = |span, what| Wrong { span, what, expected: NETWORKS.into() };
    let DeValue::Array(list) = value.get_ref() else {
        return Err(wrong(value.span(), format!("this is {}", describe(value.get_ref()))));
    };
    let network = |item: &Spanned<DeValue<'_>>| {
        let DeValue::String(text) = item.get_ref() else {
            return Err(wrong(item.span(), format!("this is {}", describe(item.get_ref()))));
        };
        let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse());
        let network = network.map_err(|_| wrong(item.span(), format!("`{text}` is no network")))?;
        if network.trunc() != network {
            let what = format!("`{text}` is an address in the network `{}`", network.trunc());
            return Err(wrong(item.span(), what));
        }
        Ok(Value::String(network.to_string()))
    };
    list.iter().map(network).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

/// The list of rules.
pub(super) fn rules(list: &DeArray<'_>) -> Checked<Value> {
    list.iter().map(rule).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

fn rule(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let checked = table(item, RULE, &["streams"])?;
    if checked.len() == 1 {
        let what = "this rule says nothing about `publish` or `play`".into();
        return Err(Wrong { span: item.span(), what, expected: "one of them, or both".into() });
    }
    Ok(Value::Table(checked))
}

/// A table with some of `entries`, all of `required` among them.
fn table(item: &Spanned<DeValue<'_>>, entries: &[Entry], required: &[&str]) -> Checked<Table> {
    let names = || entries.iter().map(|entry| entry.name);
    let expected = || format!("a table with keys of {}", names().collect::<Vec<_>>().join(", "));
    let wrong = |span, what| Wrong { span, what, expected: expected() };
    let given: &DeTable<'_> = match item.get_ref() {
        DeValue::Table(table) => table,
        other => return Err(wrong(item.span(), format!("this is {}", describe(other)))),
    };
    let mut checked = Table::new();
    for (key, value) in given {
        let name = key.get_ref();
        let Some(entry) = entries.iter().find(|entry| entry.name == &**name) else {
            let near = nearest(name, names()).map(|near| format!("; did you mean `{near}`?"));
            let what = format!("there is no key `{name}` here{}", near.unwrap_or_default());
            return Err(wrong(key.span(), what));
        };
        checked.insert(entry.name.into(), entry.check(value)?);
    }
    match required.iter().find(|&&name| !checked.contains_key(name)) {
        Some(missing) => Err(wrong(item.span(), format!("`{missing}` is missing"))),
        None => Ok(checked),
    }
}

impl Entry {
    fn check(&self, value: &Spanned<DeValue<'_>>) -> Checked<Value> {
        match self.shape {
            Shape::Networks => networks(value),
            Shape::Patterns => list_of(value, |item| self.pattern(item)),
            Shape::Secrets(min) => list_of(value, |item| self.text(item, min, 1024)),
            Shape::Secret(min, max) => self.text(value, min, max),
            Shape::SecretOrNone(min, max) => match value.get_ref() {
                DeValue::String(text) if text.is_empty() => Ok(Value::String(String::new())),
                _ => self.text(value, min, max),
            },
            Shape::Text | Shape::Path => self.text(value, 1, 4096),
            Shape::Boolean => match value.get_ref() {
                DeValue::Boolean(is) => Ok(Value::Boolean(*is)),
                _ => Err(self.wrong(value, "`true` or `false`")),
            },
            Shape::Algorithm => match value.get_ref() {
                DeValue::String(name) if ["HS256", "RS256", "ES256"].contains(&&**name) => {
                    Ok(Value::String(name.to_string()))
                }
                _ => Err(self.wrong(value, r#""HS256", "RS256" or "ES256""#)),
            },
            Shape::Terms => terms(value),
            Shape::Users => match value.get_ref() {
                DeValue::Array(list) => {
                    let user = |item| table(item, USER, &["name", "password"]).map(Value::Table);
                    list.iter().map(user).collect::<Checked<Vec<Value>>>().map(Value::Array)
                }
                _ => Err(self.wrong(value, "a list of tables with `name` and `password`")),
            },
            Shape::Tokens => tokens(value),
        }
    }

    fn pattern(&self, item: &Spanned<DeValue<'_>>) -> Checked<Value> {
        match item.get_ref() {
            DeValue::String(text) if text.parse::<Pattern>().is_ok() => {
                Ok(Value::String(text.to_string()))
            }
            _ => Err(self.wrong(item, "names of streams, such as `live/*`")),
        }
    }

    /// A text of so many bytes. It is never shown, since it may be secret.
    fn text(&self, item: &Spanned<DeValue<'_>>, min: usize, max: usize) -> Checked<Value> {
        match item.get_ref() {
            DeValue::String(text) if (min..=max).contains(&text.len()) => {
                Ok(Value::String(text.to_string()))
            }
            _ => Err(self.wrong(item, &format!("a text of {min} to {max} bytes"))),
        }
    }

    fn wrong(&self, item: &Spanned<DeValue<'_>>, expected: &str) -> Wrong {
        let what = match item.get_ref() {
            DeValue::String(text) => format!("`{}` has {} bytes", self.name, text.len()),
            other => format!("`{}` is {}", self.name, describe(other)),
        };
        Wrong { span: item.span(), what, expected: expected.to_owned() }
    }
}

/// One value, or a list of them that has one at least; it becomes a list.
fn list_of(
    value: &Spanned<DeValue<'_>>,
    check: impl Fn(&Spanned<DeValue<'_>>) -> Checked<Value>,
) -> Checked<Value> {
    match value.get_ref() {
        DeValue::Array(list) if !list.is_empty() => {
            list.iter().map(check).collect::<Checked<Vec<Value>>>().map(Value::Array)
        }
        _ => check(value).map(|one| Value::Array(vec![one])),
    }
}

fn terms(value: &Spanned<DeValue<'_>>) -> Checked<Value> {
    match value.get_ref() {
        DeValue::Boolean(may) => {
            let closed = ("closed".to_owned(), Value::Boolean(true));
            Ok(Value::Table((!may).then_some(closed).into_iter().collect()))
        }
        _ => table(value, TERMS, &[]).map(Value::Table),
    }
}

fn tokens(value: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let checked = table(value, TOKENS, &["algorithm"])?;
    let is_shared = checked.get("algorithm").and_then(Value::as_str) == Some("HS256");
    let has = |name| checked.contains_key(name);
    let files = usize::from(has("key_file")) + usize::from(has("jwks_file"));
    let is_right =
        if is_shared { has("secret") && files == 0 } else { !has("secret") && files == 1 };
    if is_right {
        return Ok(Value::Table(checked));
    }
    let expected = if is_shared { "`secret` alone" } else { "one of `key_file` and `jwks_file`" };
    let what = "these keys do not go with the algorithm".into();
    Err(Wrong { span: value.span(), what, expected: expected.into() })
}

/// The rules as they may be shown.
pub(super) fn masked(value: &Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.iter().map(masked).collect()),
        Value::Table(table) => {
            let entry = |(name, value): (&String, &Value)| {
                let is_secret = SECRETS.contains(&&**name);
                let value = if is_secret { Value::String(MASK.into()) } else { masked(value) };
                (name.clone(), value)
            };
            Value::Table(table.iter().map(entry).collect())
        }
        other => other.clone(),
    }
}

/// Appends what the keys of the tables mean, as Markdown.
pub(super) fn describe_keys(text: &mut String) {
    for (title, entries) in [("A rule has", RULE), ("`publish` and `play` may have", TERMS)] {
        let mut push = |line: String| {
            text.write_str(&line).expect("a text in memory takes everything");
        };
        push(format!("\n{title}\n\n"));
        entries.iter().for_each(|entry| push(format!("* `{}`: {}\n", entry.name, entry.doc)));
    }
    text.push_str(AFTER_KEYS);
}

const AFTER_KEYS: &str = "
Where `users`, `signed` and `jwt` stand together, one of them will do; the address has to fit in any case.

```toml
[[access]]
streams = \"live/*\"
publish = { allow = [\"10.0.0.0/8\"], users = [{ name = \"studio\", password = \"…\" }] }
play = { signed = \"at least 16 bytes of secret\" }

[[access]]
streams = \"*\"
publish = false
```
";

#[cfg(test)]
mod tests {
    use crate::config::{Sources, TokenAlgorithm, load, reference};

    fn file(text: &str) -> Result<crate::config::Loaded, crate::config::ConfigError> {
        load(Sources { file: Some(("gw.toml".into(), text.into())), ..Sources::default() })
    }

    const RULES: &str = r#"
[[access]]
streams = ["live/*", "eu/cam"]
publish = { allow = ["10.0.0.0/8", "::1"], passphrase = "correct horse" }
play.users = [{ name = "me", password = "horse" }]
play.signed = "horse horse horse horse"
play.end_at_expiry = true
play.jwt = { algorithm = "HS256", secret = "horse horse horse horse horse horse", issuer = "us" }

[[access]]
streams = "*"
publish = false
play = true
"#;

    #[test]
    fn rules_are_read() {
        let config = file(RULES).unwrap().config;
        let [first, second] = &config.access[..] else { panic!("{:?}", config.access) };
        assert_eq!(first.streams.len(), 2);
        let (publish, play) = (first.publish.as_ref().unwrap(), first.play.as_ref().unwrap());
        assert_eq!(publish.allow, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert_eq!(publish.passphrase, Some("correct horse".into()));
        assert_eq!((&*play.users[0].name, play.signed.len()), ("me", 1));
        assert!(play.end_at_expiry);
        assert_eq!(play.jwt.as_ref().unwrap().algorithm, TokenAlgorithm::Hs256);
        assert!(second.publish.as_ref().unwrap().closed);
        assert!(!second.play.as_ref().unwrap().closed);
    }

    #[test]
    fn secrets_are_not_shown_by_what_is_in_force() {
        let loaded = file(RULES).unwrap();
        let shown = reference::in_force(&loaded.in_force);
        assert!(shown.contains("live/*") && shown.contains("***"), "{shown}");
        assert!(!shown.contains("horse") && !format!("{loaded:?}").contains("horse"), "{shown}");
    }

    #[test]
    fn wrong_rules_are_named_without_their_secrets() {
        for (text, expected) in [
            ("streams = \"live/*\"", "says nothing about"),
            ("publish = true", "`streams` is missing"),
            ("streams = \"*\"\npublish = 1", "this is a whole number"),
            ("streams = \"\"\npublish = true", "names of streams"),
            ("streams = \"*\"\npublish = { alow = [] }", "did you mean `allow`?"),
            ("streams = \"*\"\npublish = { allow = [\"10.0.0.1/8\"] }", "the network `10.0.0.0/8`"),
            ("streams = \"*\"\npublish = { allow = [\"horses\"] }", "is no network"),
            ("streams = \"*\"\nplay = { signed = \"horse\" }", "`signed` has 5 bytes"),
            ("streams = \"*\"\nplay = { passphrase = \"horse\" }", "a text of 10 to 79 bytes"),
            ("streams = \"*\"\nplay = { users = [{ name = \"me\" }] }", "`password` is missing"),
            ("streams = \"*\"\nplay = { jwt = { secret = \"horse\" } }", "a text of 32"),
            ("streams = \"*\"\nplay = { jwt = { algorithm = \"none\" } }", "\"HS256\", \"RS256\""),
            ("streams = \"*\"\nplay = { jwt = { algorithm = \"HS256\" } }", "`secret` alone"),
            ("streams = \"*\"\nplay = { jwt = { algorithm = \"RS256\" } }", "one of `key_file`"),
        ] {
            let error = file(&format!("[[access]]\n{text}\n")).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("horse\""), "{text}: {error}");
        }
    }
}
