//! Rules: for which streams what is wanted of who publishes or plays.
//!
//! Of the rules whose pattern fits a stream and that say something about what a peer wants to do, the first decides; where
//! there is none everybody may. A decision takes no time and touches nothing: it is also made on the thread of libsrt that
//! makes connections, so rules are values that threads can share.

use super::{Action, Ask, Refused, User, Verifier, password::is_one_of, signed::Signer};
use crate::{key::Pattern, secret::Secret};
use ipnet::IpNet;
use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// All rules, in their order.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// What holds for some streams.
#[derive(Clone, Debug)]
pub struct Rule {
    /// For which.
    pub streams: Vec<Pattern>,
    /// Who may publish; the rule says nothing about that without.
    pub publish: Option<Terms>,
    /// Who may play; the rule says nothing about that without.
    pub play: Option<Terms>,
}

/// What is wanted of a peer: an address that may, and any one of the credentials, where some are named.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Nobody may, whatever else is said.
    pub is_closed: bool,
    /// From these addresses only, unless there are none.
    pub allow: Vec<IpNet>,
    /// Not from these.
    pub deny: Vec<IpNet>,
    /// These may by name and password.
    pub users: Vec<User>,
    /// Who has a signed address may.
    pub signed: Option<Signer>,
    /// Who has a token may.
    pub tokens: Option<Verifier>,
    /// SRT: the passphrase of the connection, in place of the listener's; empty for none.
    pub passphrase: Option<Secret>,
    /// Whether a token or a signed address ends what it allowed when it expires.
    pub ends_at_expiry: bool,
}

/// A peer may, as far as rules go.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// When it has to end.
    pub until: Option<SystemTime>,
    /// SRT: the passphrase of the connection, where it is not the listener's.
    pub passphrase: Option<Secret>,
}

impl Rules {
    /// These, of which the first that fits decides.
    #[must_use]
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Whether there are any.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the peer may at `now`.
    ///
    /// # Errors
    ///
    /// [`Refused`], if it may not.
    pub fn judge(&self, ask: &Ask, now: SystemTime) -> Result<Admitted, Refused> {
        let fitting = self.0.iter().filter(|rule| rule.streams.iter().any(|p| p.fits(&ask.key)));
        let terms = fitting.filter_map(|rule| match ask.action {
            Action::Publish => rule.publish.as_ref(),
            Action::Play => rule.play.as_ref(),
        });
        let Some(terms) = terms.into_iter().next() else { return Ok(Admitted::default()) };
        terms.judge(ask, now)
    }
}

impl Terms {
    fn judge(&self, ask: &Ask, now: SystemTime) -> Result<Admitted, Refused> {
        if self.is_closed {
            let (key, action) = (&ask.key, ask.action);
            return Err(Refused::Forbidden(format!("nobody may {action} {key}")));
        }
        self.judge_address(ask.peer.ip())?;
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let expires = self.judge_credentials(ask, now_s)?;
        let until = expires.filter(|_| self.ends_at_expiry);
        let until = until.and_then(|until| UNIX_EPOCH.checked_add(Duration::from_secs(until)));
        Ok(Admitted { until, passphrase: self.passphrase.clone() })
    }

    fn judge_address(&self, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        let has = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        if has(&self.deny) || !(self.allow.is_empty() || has(&self.allow)) {
            return Err(Refused::Forbidden(format!("not from the address {address}")));
        }
        Ok(())
    }

    /// Until when what the peer shows is good, in seconds since 1970, where that has an end.
    fn judge_credentials(&self, ask: &Ask, now_s: u64) -> Result<Option<u64>, Refused> {
        if self.users.is_empty() && self.signed.is_none() && self.tokens.is_none() {
            return Ok(None);
        }
        let shown = &ask.credentials;
        let mut refused = Refused::Unauthorized(self.wanted());
        if let (Some(verifier), Some(token)) = (&self.tokens, &shown.token) {
            match verifier.check(token, ask, now_s) {
                Ok(until) => return Ok(Some(until)),
                Err(why) => refused = why,
            }
        }
        if let Some(signer) = self.signed.as_ref().filter(|_| shown.signature.is_some()) {
            match signer.check(ask, now_s) {
                Ok(until) => return Ok(Some(until)),
                Err(why) => refused = why,
            }
        }
        if let Some(password) = shown.password.as_ref().filter(|_| !self.users.is_empty()) {
            let name = shown.user.as_deref().unwrap_or_default();
            if is_one_of(&self.users, name, password) {
                return Ok(None);
            }
            refused = Refused::Unauthorized("user and password do not fit".into());
        }
        Err(refused)
    }

    /// What would do, for who shows nothing.
    fn wanted(&self) -> String {
        let kinds = [
            (!self.users.is_empty(), "user and password"),
            (self.signed.is_some(), "a signed address"),
            (self.tokens.is_some(), "a token"),
        ];
        let kinds = kinds.into_iter().filter(|(is_one, _)| *is_one).map(|(_, kind)| kind);
        format!("this needs {}", kinds.collect::<Vec<_>>().join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn judge(rules: &Rules, action: Action, stream: &str, peer: &str, query: &str) -> String {
        let peer = format!("{peer}:5").parse().unwrap();
        let ask = Ask::new(action, &stream.parse().unwrap(), "test", peer).with_query(query);
        match rules.judge(&ask, UNIX_EPOCH + NOW) {
            Ok(_) => "yes".into(),
            Err(Refused::Unauthorized(why)) => format!("401 {why}"),
            Err(Refused::Forbidden(why)) => format!("403 {why}"),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn rule(streams: &str, publish: Option<Terms>, play: Option<Terms>) -> Rule {
        Rule { streams: vec![streams.parse().unwrap()], publish, play }
    }

    fn closed() -> Terms {
        Terms { is_closed: true, ..Terms::default() }
    }

    #[test]
    fn the_first_rule_that_says_something_decides() {
        let rules = Rules::new(vec![
            rule("live/open", Some(Terms::default()), None),
            rule("live/*", Some(closed()), None),
            rule("*", None, Some(closed())),
        ]);
        for (action, stream, expected) in [
            (Action::Publish, "live/open", "yes"),
            (Action::Publish, "live/cam", "403 nobody may publish live/cam"),
            (Action::Publish, "other/cam", "yes"),
            (Action::Play, "live/open", "403 nobody may play live/open"),
        ] {
            assert_eq!(judge(&rules, action, stream, "192.0.2.1", ""), expected, "{stream}");
        }
        assert_eq!(judge(&Rules::default(), Action::Play, "a/b", "192.0.2.1", ""), "yes");
    }

    #[test]
    fn addresses_are_allowed_and_denied() {
        let networks = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
        let terms = Terms {
            allow: networks(&["10.0.0.0/8", "2001:db8::/32"]),
            deny: networks(&["10.1.0.0/16"]),
            ..Terms::default()
        };
        let rules = Rules::new(vec![rule("*", Some(terms), None)]);
        for (peer, may) in [
            ("10.2.3.4", true),
            ("10.1.3.4", false),
            ("11.0.0.1", false),
            ("[2001:db8::1]", true),
            ("[::ffff:10.2.3.4]", true),
            ("[::ffff:10.1.3.4]", false),
            ("[::1]", false),
        ] {
            let said = judge(&rules, Action::Publish, "live/cam", peer, "");
            assert_eq!(said == "yes", may, "{peer}: {said}");
        }
    }

    #[test]
    fn any_of_the_credentials_will_do_but_the_address_has_to_fit_too() {
        let user = User { name: "me".into(), password: "horse".into() };
        let terms = Terms {
            deny: vec!["10.0.0.0/8".parse().unwrap()],
            users: vec![user],
            signed: Some(Signer::new(&["correct horse battery".into()])),
            ..Terms::default()
        };
        let rules = Rules::new(vec![rule("*", None, Some(terms))]);
        let play = |peer, query| judge(&rules, Action::Play, "live/cam", peer, query);
        assert_eq!(play("192.0.2.1", ""), "401 this needs user and password or a signed address");
        assert_eq!(play("192.0.2.1", "user=me&pass=horse"), "yes");
        assert_eq!(play("192.0.2.1", "user=me&pass=cow"), "401 user and password do not fit");
        assert_eq!(
            play("192.0.2.1", "user=me"),
            "401 this needs user and password or a signed address"
        );
        assert!(play("192.0.2.1", "expires=1&sign=00").starts_with("401 the signature"));
        assert!(play("192.0.2.1", "sign=00&user=me&pass=horse") == "yes");
        assert_eq!(play("10.0.0.1", "user=me&pass=horse"), "403 not from the address 10.0.0.1");
    }
}
