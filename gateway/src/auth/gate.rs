//! The one place that is asked who may publish and who may play.

use super::{
    Action, Admitted, Ask, PlayGrant, PublishGrant, Refused, Rules, Visit, VisitGrant,
    grant::{Allowed, Ends},
};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};
use thalweg_runtime::{WaitError, sync::Cond};

/// Called when what a check has allowed is over. It must not suspend; what takes longer belongs in a coroutine of its own.
pub type AtEnd = Box<dyn FnOnce()>;

/// Says whether a peer may, after the rules have said so. The result is what to call in the end, if anything.
type Check = dyn Fn(&Ask) -> Result<Option<AtEnd>, Refused>;

/// The same of a peer that has named no stream yet.
type VisitCheck = dyn Fn(&Visit) -> Result<Option<AtEnd>, Refused>;

/// Hears that somebody was refused. It must not suspend.
type OnRefused = dyn Fn(&Ask, &Refused);

/// Decides who may publish and who may play. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// Shared with the threads that make SRT's connections.
    rules: RefCell<Arc<Rules>>,
    /// How often the rules were replaced.
    changes: Cell<u64>,
    changed: Cond,
    checks: RefCell<Vec<Rc<Check>>>,
    visit_checks: RefCell<Vec<Rc<VisitCheck>>>,
    /// Hears of everybody who is refused.
    on_refused: RefCell<Option<Rc<OnRefused>>>,
}

impl Gate {
    /// One that lets everybody do everything.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// One with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let gate = Self::default();
        gate.replace(rules);
        gate
    }

    /// Puts other rules in force. Who was let in by the ones before stays.
    pub fn replace(&self, rules: Rules) {
        self.0.rules.replace(Arc::new(rules));
        self.0.changes.set(self.0.changes.get() + 1);
        self.0.changed.broadcast();
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.0.rules.borrow())
    }

    /// Waits until the rules were replaced since the change numbered `seen`; the result is the number of the latest change. They
    /// count from 1.
    ///
    /// # Suspends
    ///
    /// Until then, unless it has happened already.
    ///
    /// # Errors
    ///
    /// When the wait was cancelled, or a deadline passed.
    pub fn wait_changed(&self, seen: u64) -> Result<u64, WaitError> {
        while self.0.changes.get() <= seen {
            self.0.changed.wait()?;
        }
        Ok(self.0.changes.get())
    }

    /// Has `check` asked about everybody whom the rules let in, after the checks that are there already. It may suspend.
    ///
    /// What it returns for who is let in is called when that is over, also when a later check refuses.
    pub fn add_check(&self, check: impl Fn(&Ask) -> Result<Option<AtEnd>, Refused> + 'static) {
        self.0.checks.borrow_mut().push(Rc::new(check));
    }

    /// Has `check` asked about everybody who connects by a protocol that names the stream later. Else as [`Gate::add_check`].
    pub fn add_visit_check(
        &self,
        check: impl Fn(&Visit) -> Result<Option<AtEnd>, Refused> + 'static,
    ) {
        self.0.visit_checks.borrow_mut().push(Rc::new(check));
    }

    /// Whether the peer may stay and say what it wants.
    ///
    /// # Suspends
    ///
    /// As long as the checks do.
    ///
    /// # Errors
    ///
    /// [`Refused`], if it may not.
    pub fn connect(&self, visit: &Visit) -> Result<VisitGrant, Refused> {
        let mut ends = Ends::default();
        let checks = self.0.visit_checks.borrow().clone();
        for check in checks {
            ends.extend(check(visit)?);
        }
        Ok(VisitGrant::new(ends))
    }

    /// Has `listener` told of everybody who is refused. It must not suspend.
    pub fn set_on_refused(&self, listener: impl Fn(&Ask, &Refused) + 'static) {
        *self.0.on_refused.borrow_mut() = Some(Rc::new(listener));
    }

    /// Whether the peer may publish.
    ///
    /// # Suspends
    ///
    /// As long as the checks do.
    ///
    /// # Errors
    ///
    /// [`Refused`], if it may not.
    pub fn publish(&self, ask: &Ask) -> Result<PublishGrant, Refused> {
        debug_assert_eq!(ask.action, Action::Publish, "what is asked for is what is wanted");
        let admitted = self.examine(ask).and_then(|admitted| self.check(ask, &admitted));
        self.told(ask, admitted).map(PublishGrant::new)
    }

    /// Whether the peer may play.
    ///
    /// # Suspends
    ///
    /// As long as the checks do.
    ///
    /// # Errors
    ///
    /// [`Refused`], if it may not.
    pub fn play(&self, ask: &Ask) -> Result<PlayGrant, Refused> {
        debug_assert_eq!(ask.action, Action::Play, "what is asked for is what is wanted");
        let admitted = self.examine(ask).and_then(|admitted| self.check(ask, &admitted));
        self.told(ask, admitted).map(PlayGrant::new)
    }

    /// Like [`Gate::publish`], for what the configuration itself has published: there is nobody who could show
    /// credentials, so no rule is looked at.
    ///
    /// # Suspends
    ///
    /// As long as the checks do.
    ///
    /// # Errors
    ///
    /// [`Refused`], if a check says so.
    pub fn publish_configured(&self, ask: &Ask) -> Result<PublishGrant, Refused> {
        self.check(ask, &Admitted::default()).map(PublishGrant::new)
    }

    /// What the rules alone say, without a grant: for the further requests of a player that has one already, as those of
    /// HLS.
    ///
    /// # Errors
    ///
    /// [`Refused`], if it may not.
    pub fn examine(&self, ask: &Ask) -> Result<Admitted, Refused> {
        self.0.rules.borrow().judge(ask, SystemTime::now())
    }

    /// The same, after who wants to know of refusals has heard of one.
    fn told(&self, ask: &Ask, result: Result<Allowed, Refused>) -> Result<Allowed, Refused> {
        let listener = self.0.on_refused.borrow().clone();
        if let (Err(refused), Some(listener)) = (&result, listener)
            && !matches!(refused, Refused::Wait(_))
        {
            listener(ask, refused);
        }
        result
    }

    fn check(&self, ask: &Ask, admitted: &Admitted) -> Result<Allowed, Refused> {
        let mut allowed = Allowed::new(ask, admitted);
        // No borrow lives while a check suspends.
        let checks = self.0.checks.borrow().clone();
        for check in checks {
            if let Some(at_end) = check(ask)? {
                allowed.push(at_end);
            }
        }
        Ok(allowed)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("rules", &self.0.rules)
            .field("checks", &self.0.checks.borrow().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Rule, Terms};

    fn ask(action: Action) -> Ask {
        Ask::new(action, &"live/cam".parse().unwrap(), "test", "192.0.2.1:5".parse().unwrap())
    }

    #[test]
    fn an_open_gate_lets_everybody_in() {
        let gate = Gate::open();
        assert_eq!(gate.publish(&ask(Action::Publish)).unwrap().key().path(), "live/cam");
        assert_eq!(gate.play(&ask(Action::Play)).unwrap().key().path(), "live/cam");
    }

    #[test]
    fn rules_are_asked_before_checks_and_may_be_replaced() {
        let closed = Terms { is_closed: true, ..Terms::default() };
        let streams = vec!["live/*".parse().unwrap()];
        let rules = Rules::new(vec![Rule { streams, publish: Some(closed), play: None }]);
        let gate = Gate::new(rules);
        gate.add_check(|ask| match ask.action {
            Action::Publish if ask.client != 7 => panic!("the rules refused already"),
            _ => Ok(None),
        });
        assert!(matches!(gate.publish(&ask(Action::Publish)), Err(Refused::Forbidden(_))));
        gate.play(&ask(Action::Play)).unwrap();
        let configured = ask(Action::Publish).of_client(7);
        assert!(gate.publish_configured(&configured).is_ok(), "no rule is looked at");
        gate.replace(Rules::default());
        assert!(gate.publish(&configured).is_ok());
    }

    #[test]
    fn who_allowed_something_hears_when_it_is_over() {
        let gate = Gate::open();
        let over = Rc::new(RefCell::new(Vec::new()));
        for name in ["first", "second"] {
            let over = Rc::clone(&over);
            gate.add_check(move |_| {
                let over = Rc::clone(&over);
                Ok(Some(Box::new(move || over.borrow_mut().push(name))))
            });
        }
        let grant = gate.publish(&ask(Action::Publish)).unwrap();
        assert!(over.borrow().is_empty());
        drop(grant);
        assert_eq!(*over.borrow(), ["second", "first"]);
    }

    #[test]
    fn a_refusal_ends_what_earlier_checks_allowed() {
        let gate = Gate::open();
        let over = Rc::new(Cell::new(0));
        let counted = Rc::clone(&over);
        gate.add_check(move |_| {
            let counted = Rc::clone(&counted);
            Ok(Some(Box::new(move || counted.set(counted.get() + 1))))
        });
        gate.add_check(|ask| Err(Refused::Forbidden(format!("nobody may {}", ask.action))));
        gate.add_check(|_| panic!("nobody is asked after a refusal"));
        let refused = gate.play(&ask(Action::Play)).unwrap_err();
        assert_eq!(refused.to_string(), "nobody may play");
        assert_eq!(over.get(), 1);
    }
}
