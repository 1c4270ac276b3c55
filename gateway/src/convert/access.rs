//! `security { allow play 10.0.0.0/8; deny publish all; }` as rules of access.

use super::draft::{Draft, quoted};
use super::syntax::Directive;

/// Who may do one thing.
#[derive(Default)]
struct Terms {
    allow: Vec<String>,
    deny: Vec<String>,
    denies_all: bool,
    allows_all: bool,
}

/// Makes one rule for all streams. SRS refuses whoever a `deny` names, and whoever no `allow` names where there is one.
pub(super) fn security(block: &Directive, draft: &mut Draft) {
    if !block.is_enabled(false) {
        return;
    }
    let (mut publish, mut play) = (Terms::default(), Terms::default());
    for child in block.children.iter().filter(|child| child.name != "enabled") {
        let terms = match child.value() {
            "publish" => &mut publish,
            "play" => &mut play,
            _ => {
                draft.missing(child, "it is `allow` or `deny` of `publish` or `play`");
                continue;
            }
        };
        let whom = child.arguments.get(1).map_or("", String::as_str);
        match (child.name.as_str(), whom) {
            ("allow", "all") => terms.allows_all = true,
            ("deny", "all") => terms.denies_all = true,
            ("allow", network) => terms.allow.push(network.to_owned()),
            ("deny", network) => terms.deny.push(network.to_owned()),
            _ => draft.missing(child, "it is `allow` or `deny` of `publish` or `play`"),
        }
    }
    let tables: Vec<String> = [("publish", publish), ("play", play)]
        .iter()
        .filter_map(|(name, terms)| Some(format!("{name} = {}", terms.table()?)))
        .collect();
    if !tables.is_empty() {
        let rule = format!("[{{ streams = [\"**\"], {} }}]", tables.join(", "));
        draft.set("access", rule, block.line);
    }
}

impl Terms {
    /// As TOML; nothing where everybody may.
    fn table(&self) -> Option<String> {
        let list = |name: &str, networks: &[String]| {
            let networks: Vec<String> = networks.iter().map(|network| quoted(network)).collect();
            (!networks.is_empty()).then(|| format!("{name} = [{}]", networks.join(", ")))
        };
        if self.denies_all {
            return Some("false".into());
        }
        let allow = if self.allows_all { None } else { list("allow", &self.allow) };
        let parts: Vec<String> = [allow, list("deny", &self.deny)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(", ")))
    }
}
