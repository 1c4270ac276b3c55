//! Spans: that what a coroutine logs carries its own, all of them and no other's, and that every
//! span is entered as often as it is left.
//!
//! Each event says itself in which spans it is to be. A subscriber written here, to which the
//! runtime's layer is unknown, and one of tracing-subscriber that has the layer both compare.

#[expect(dead_code, reason = "no test here needs all of it")]
mod seeds;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use seeds::{Random, settle, sleep_ms, under_seeds};
use thalweg_runtime::trace::in_span;
use thalweg_runtime::{
    self as rt, Builder, ClockKind, Refused, Runtime, WaitError, coroutine_local,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Span, Subscriber, dispatcher, info_span};

/// What the subscribers of this thread were told.
#[derive(Default)]
struct Seen {
    spans: HashMap<u64, Told>,
    /// The open spans that are entered, the outermost first.
    entered: Vec<u64>,
    /// Events that were in other spans than they said, and calls that make no sense.
    faults: Vec<String>,
    /// Events that the runtime logged, each after the spans that it was in.
    of_runtime: Vec<String>,
    events: usize,
    /// Called when a span is left.
    on_leave: Option<fn()>,
}

struct Told {
    name: &'static str,
    enters: u32,
    leaves: u32,
    references: u32,
    /// The collector whose span it is.
    of: u8,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

impl Seen {
    fn open(&mut self, id: u64, name: &'static str, of: u8) {
        self.spans.insert(id, Told { name, enters: 0, leaves: 0, references: 1, of });
    }

    fn enter(&mut self, id: u64, of: u8) {
        self.entered.push(id);
        match self.spans.get_mut(&id) {
            Some(span) if span.references > 0 && span.of == of => span.enters += 1,
            _ => self.faults.push(format!("{of} enters {id}, which it does not have")),
        }
    }

    fn leave(&mut self, id: u64, of: u8) -> Option<fn()> {
        match self.entered.iter().rposition(|entered| *entered == id) {
            Some(at) => drop(self.entered.remove(at)),
            None => self.faults.push(format!("{id} is left and was not entered")),
        }
        match self.spans.get_mut(&id) {
            Some(span) if span.references > 0 && span.of == of => span.leaves += 1,
            _ => self.faults.push(format!("{of} leaves {id}, which it does not have")),
        }
        self.on_leave
    }

    /// Counts references, which only the collectors of this file do for themselves.
    fn refer(&mut self, id: u64, change: i32) -> bool {
        let Some(span) = self.spans.get_mut(&id).filter(|span| span.references > 0) else {
            self.faults.push(format!("{id} is referred to and was closed"));
            return false;
        };
        span.references = span.references.saturating_add_signed(change);
        span.references == 0
    }

    fn log(&mut self, event: &Event<'_>) {
        let names: Vec<&str> = self.entered.iter().map(|id| self.spans[id].name).collect();
        let mut said = Said::default();
        event.record(&mut said);
        let found = names.join(":");
        self.events += 1;
        match said.expected {
            Some(expected) if expected == found => {}
            Some(expected) => self.faults.push(format!("in {found:?}, not in {expected:?}")),
            None => self.of_runtime.push(format!("{found}: {}", said.message)),
        }
    }
}

#[derive(Default)]
struct Said {
    expected: Option<String>,
    message: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "expected" {
            self.expected = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

/// Logs an event that is to be in the spans `expected`.
fn say(expected: &str) {
    tracing::info!(expected);
}

/// A subscriber that knows nothing of the runtime.
struct Collector(u8);

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        SEEN.with_borrow_mut(|seen| {
            let id = seen.spans.len() as u64 + 1;
            seen.open(id, span.metadata().name(), self.0);
            Id::from_u64(id)
        })
    }

    fn event(&self, event: &Event<'_>) {
        SEEN.with_borrow_mut(|seen| seen.log(event));
    }

    fn enter(&self, id: &Id) {
        SEEN.with_borrow_mut(|seen| seen.enter(id.into_u64(), self.0));
    }

    fn exit(&self, id: &Id) {
        if let Some(call) = SEEN.with_borrow_mut(|seen| seen.leave(id.into_u64(), self.0)) {
            call();
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        SEEN.with_borrow_mut(|seen| seen.refer(id.into_u64(), 1));
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        SEEN.with_borrow_mut(|seen| seen.refer(id.into_u64(), -1))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

/// Runs `test` on a subscriber of its own, and then looks at all that this was told.
fn seeing(dispatch: &Dispatch, test: impl FnOnce()) {
    SEEN.set(Seen::default());
    dispatcher::with_default(dispatch, test);
    let seen = SEEN.take();
    assert!(seen.events > 0 || seen.spans.is_empty(), "nothing was logged");
    assert_eq!(seen.faults, Vec::<String>::new());
    assert!(seen.entered.is_empty(), "a span is still entered");
    for (id, span) in &seen.spans {
        assert_eq!(span.enters, span.leaves, "of span {id}, {:?}", span.name);
        assert_eq!(span.references, 0, "to span {id}, {:?}", span.name);
    }
}

/// Runs `test` where the runtime knows only of spans that it enters itself, and where it knows of
/// all.
fn without_and_with_the_layer(test: impl Fn()) {
    seeing(&Dispatch::new(Collector(0)), &test);
    #[cfg(feature = "tracing-subscriber")]
    seeing(&layered::dispatch(), test);
}

/// How often spans were entered so far, and how many events there were.
fn enters_and_events() -> (u32, usize) {
    SEEN.with_borrow(|seen| (seen.spans.values().map(|span| span.enters).sum(), seen.events))
}

fn events_of_runtime() -> Vec<String> {
    SEEN.with_borrow_mut(|seen| std::mem::take(&mut seen.of_runtime))
}

fn virtual_runtime() -> Runtime {
    Runtime::builder().clock(ClockKind::Virtual).build().expect("a runtime can be built")
}

fn yield_undisturbed() {
    rt::yield_now().expect("a test yields undisturbed");
}

/// Logs, suspends and enters spans at random, `depth` of them at most; `path` is where it starts.
fn wander(random: &mut Random, path: &str, depth: u64) {
    for _ in 0..random.below(4) {
        say(path);
        match random.below(3) {
            0 => yield_undisturbed(),
            1 => sleep_ms(random.below(3)),
            _ if depth > 0 => {
                let path = if path.is_empty() { "inner" } else { &format!("{path}:inner") };
                in_span(info_span!("inner"), || wander(random, path, depth - 1));
            }
            _ => {}
        }
        say(path);
    }
}

#[test]
fn what_a_coroutine_logs_is_in_its_own_spans_and_in_no_others() {
    without_and_with_the_layer(|| {
        under_seeds(64, |seed| {
            say("");
            let in_one = rt::spawn(move || {
                in_span(info_span!("one"), || wander(&mut Random::new(seed), "one", 4));
                say("");
            });
            let in_other = Builder::new().span(info_span!("other"));
            let in_other = in_other.spawn(move || wander(&mut Random::new(!seed), "other", 4));
            let in_none = rt::spawn(move || wander(&mut Random::new(seed ^ 7), "", 2));
            in_one.join().unwrap();
            in_other.unwrap().join().unwrap();
            in_none.join().unwrap();
            say("");
        });
    });
}

#[test]
fn a_span_is_left_while_its_coroutine_waits_and_entered_again_once_for_each_resume() {
    without_and_with_the_layer(|| {
        under_seeds(1, |_| {
            in_span(info_span!("outer"), || {
                in_span(info_span!("inner"), || {
                    let (before, _) = enters_and_events();
                    for _ in 0..10 {
                        rt::yield_now().unwrap();
                    }
                    let (after, _) = enters_and_events();
                    assert_eq!(after - before, 20);
                    say("outer:inner");
                });
            });
        });
    });
}

#[test]
fn a_subscriber_hears_nothing_where_no_span_is_entered() {
    without_and_with_the_layer(|| {
        under_seeds(4, |_| {
            let open = info_span!("open");
            rt::spawn(|| wander_silently(Span::none()));
            rt::spawn(|| wander_silently(Span::none())).join().unwrap();
            assert_eq!(enters_and_events(), (0, 0));
            drop(open);
            SEEN.with_borrow_mut(|seen| seen.spans.clear());
        });
    });
}

fn wander_silently(span: Span) {
    in_span(span, || {
        yield_undisturbed();
        settle();
    });
}

#[test]
fn the_span_of_a_builder_lasts_from_the_beginning_of_a_coroutine_to_its_end() {
    struct Says(&'static str);
    impl Drop for Says {
        fn drop(&mut self) {
            settle();
            say(self.0);
        }
    }
    coroutine_local! {
        static LAST: Says = Says("life");
    }
    without_and_with_the_layer(|| {
        under_seeds(4, |_| {
            let says = Says("");
            let life = || Builder::new().span(info_span!("life"));
            let value = life().spawn(|| {
                LAST.with(|_| settle());
                say("life");
                Says("")
            });
            let detached = life().spawn(move || {
                settle();
                Says("life")
            });
            drop(detached);
            let cancelled = life().spawn(|| say("life")).unwrap();
            cancelled.cancel();
            cancelled.join().unwrap();
            drop(value.unwrap().join());
            drop(life().spawn(|| panic!("on purpose")));
            rt::scope(|s| {
                life().spawn_scoped(s, || wander(&mut Random::new(1), "life", 3)).unwrap();
            });
            settle();
            settle();
            drop(says);
        });
        let events = events_of_runtime();
        assert_eq!(events.len(), 4);
        for event in events {
            assert!(event.starts_with("life: a detached coroutine panicked"), "{event}");
        }
    });
}

#[test]
fn children_are_in_the_spans_that_they_are_given() {
    without_and_with_the_layer(|| {
        under_seeds(16, |seed| {
            let parent = info_span!("parent");
            in_span(parent.clone(), || {
                let child = rt::spawn(move || wander(&mut Random::new(seed), "", 2));
                rt::scope(|s| {
                    s.spawn(|| wander(&mut Random::new(seed), "", 2));
                    let given = parent.clone();
                    s.spawn(|| in_span(given, || wander(&mut Random::new(!seed), "parent", 2)));
                    let builder = Builder::new().span(parent.clone());
                    let body = || wander(&mut Random::new(seed ^ 1), "parent", 2);
                    builder.spawn_scoped(s, body).unwrap();
                    say("parent");
                });
                say("parent");
                child.join().unwrap();
                say("parent");
            });
            say("");
        });
    });
}

#[test]
fn a_panic_leaves_the_spans_that_it_passes() {
    without_and_with_the_layer(|| {
        under_seeds(8, |seed| {
            let other = rt::spawn(move || {
                in_span(info_span!("other"), || wander(&mut Random::new(seed), "other", 3));
            });
            let caught = rt::spawn(|| {
                in_span(info_span!("outer"), || {
                    let result = catch_unwind(|| {
                        in_span(info_span!("inner"), || {
                            settle();
                            panic!("on purpose");
                        });
                    });
                    assert!(result.is_err());
                    say("outer");
                    settle();
                    say("outer");
                });
                say("");
            });
            let through = rt::spawn(|| {
                in_span(info_span!("through"), || {
                    settle();
                    panic!("on purpose");
                });
            });
            caught.join().unwrap();
            assert!(through.join().is_err());
            other.join().unwrap();
            say("");
        });
    });
}

#[test]
fn a_cancelled_coroutine_is_back_in_its_spans() {
    without_and_with_the_layer(|| {
        under_seeds(8, |_| {
            let handle = rt::spawn(|| {
                in_span(info_span!("outer"), || {
                    let parked = in_span(info_span!("inner"), || {
                        let slept = rt::sleep(Duration::from_secs(60));
                        say("outer:inner");
                        slept
                    });
                    assert!(matches!(parked, Err(WaitError::Cancelled)), "{parked:?}");
                    say("outer");
                    assert!(rt::yield_now().is_err());
                    say("outer");
                });
            });
            settle();
            handle.cancel();
            handle.join().unwrap();
            say("");
        });
    });
}

#[test]
fn coroutines_are_not_in_the_spans_of_the_thread_which_are_back_afterwards() {
    without_and_with_the_layer(|| {
        let runtime = virtual_runtime();
        in_span(info_span!("thread"), || {
            let wandered = runtime.block_on(|| {
                let spawned = rt::spawn(|| wander(&mut Random::new(3), "", 2));
                wander(&mut Random::new(5), "", 2);
                spawned.join().unwrap();
            });
            wandered.unwrap();
            say("thread");
            let (before, _) = enters_and_events();
            runtime.block_on(|| (0..5).for_each(|_| settle())).unwrap();
            assert_eq!(enters_and_events().0, before + 1, "not for each turn");
            let handle = runtime.spawn(|| wander(&mut Random::new(3), "", 2)).unwrap();
            while !handle.is_finished() {
                runtime.turn(Some(Duration::from_secs(1))).unwrap();
                say("thread");
            }
            let died = AssertUnwindSafe(|| runtime.block_on(|| panic!("on purpose")));
            assert!(catch_unwind(died).is_err());
            say("thread");
        });
        say("");
    });
}

#[test]
fn a_coroutine_that_is_left_behind_takes_its_spans_along() {
    SEEN.set(Seen::default());
    dispatcher::with_default(&Dispatch::new(Collector(0)), || {
        let builder = Runtime::builder().clock(ClockKind::Virtual);
        let runtime = builder.shutdown_grace(Duration::from_millis(5)).build().unwrap();
        let ended = runtime.block_on(|| {
            rt::spawn(|| {
                in_span(info_span!("stays"), || {
                    loop {
                        let _cancelled = rt::sleep(Duration::from_secs(1));
                    }
                });
            });
            settle();
        });
        ended.unwrap();
        say("");
        virtual_runtime().block_on(|| wander(&mut Random::new(3), "", 2)).unwrap();
    });
    let seen = SEEN.take();
    assert_eq!(seen.faults, Vec::<String>::new());
    assert!(seen.entered.is_empty());
}

#[test]
fn spans_of_another_subscriber_are_left_and_entered_there() {
    let other = Dispatch::new(Collector(1));
    seeing(&Dispatch::new(Collector(0)), || {
        under_seeds(8, move |seed| {
            let foreign = dispatcher::with_default(&other, || info_span!("foreign"));
            let handle = Builder::new().span(foreign.clone()).spawn(move || {
                in_span(info_span!("own"), || wander(&mut Random::new(seed), "foreign:own", 1));
            });
            in_span(info_span!("outer"), || {
                in_span(foreign, || wander(&mut Random::new(!seed), "outer:foreign", 2));
            });
            handle.unwrap().join().unwrap();
        });
    });
}

thread_local! {
    static REFUSED: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn a_subscriber_that_suspends_at_a_switch_is_refused() {
    seeing(&Dispatch::new(Collector(0)), || {
        under_seeds(4, |_| {
            REFUSED.set(0);
            let other = rt::spawn(|| wander_silently(Span::none()));
            in_span(info_span!("span"), || {
                SEEN.with_borrow_mut(|seen| {
                    seen.on_leave = Some(|| {
                        let refused = Err(WaitError::Refused(Refused::Switching));
                        assert_eq!(rt::yield_now(), refused);
                        assert_eq!(rt::sleep(Duration::from_secs(1)), refused);
                        rt::scope(|s| assert!(Builder::new().spawn_scoped(s, || ()).is_err()));
                        REFUSED.set(REFUSED.get() + 1);
                    });
                });
                rt::yield_now().unwrap();
                settle();
                SEEN.with_borrow_mut(|seen| seen.on_leave = None);
            });
            assert_eq!(REFUSED.get(), 2);
            say("");
            rt::yield_now().unwrap();
            other.join().unwrap();
        });
    });
}

#[test]
fn a_subscriber_that_panics_at_a_switch_disturbs_no_wait() {
    seeing(&Dispatch::new(Collector(0)), || {
        under_seeds(4, |_| {
            in_span(info_span!("span"), || {
                SEEN.with_borrow_mut(|seen| seen.on_leave = Some(|| panic!("on purpose")));
                let child = rt::spawn(|| 7);
                let slept = rt::sleep(Duration::from_millis(1));
                let joined = child.join();
                SEEN.with_borrow_mut(|seen| seen.on_leave = None);
                slept.unwrap();
                assert_eq!(joined.unwrap(), 7);
                say("span");
            });
        });
    });
}

#[test]
fn a_dump_with_backtraces_enters_no_span() {
    without_and_with_the_layer(|| {
        under_seeds(1, |_| {
            let child = rt::spawn(|| in_span(info_span!("span"), settle));
            rt::yield_now().unwrap();
            let before = enters_and_events();
            in_span(info_span!("mine"), || {
                let dump = rt::dump_with_backtraces().unwrap();
                assert_eq!(dump.coroutines.len(), 2);
                say("mine");
            });
            assert_eq!(enters_and_events(), (before.0 + 1, before.1 + 1));
            child.join().unwrap();
        });
    });
}

#[cfg(feature = "tracing-subscriber")]
mod layered {
    //! Guards of others, which the runtime's layer tells of.

    use super::*;
    use thalweg_runtime::trace::SpanLayer;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    use tracing_subscriber::registry;
    use tracing_subscriber::registry::LookupSpan;

    /// Tells `SEEN` what it hears, and finds out whether the registry sees the same spans.
    struct Recorder;

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
        fn on_new_span(&self, span: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
            SEEN.with_borrow_mut(|seen| seen.open(id.into_u64(), span.metadata().name(), 0));
        }

        fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
            SEEN.with_borrow_mut(|seen| {
                seen.log(event);
                let current = context.lookup_current().map(|span| span.id().into_u64());
                // The registry passes over a span that was entered further out too.
                let innermost = (1..=seen.entered.len()).rev().find_map(|end| {
                    let (id, outer) = seen.entered[..end].split_last()?;
                    (!outer.contains(id)).then_some(*id)
                });
                if current != innermost {
                    seen.faults.push(format!("the current span is {current:?}"));
                }
            });
        }

        fn on_enter(&self, id: &Id, _: Context<'_, S>) {
            SEEN.with_borrow_mut(|seen| seen.enter(id.into_u64(), 0));
        }

        fn on_exit(&self, id: &Id, _: Context<'_, S>) {
            if let Some(call) = SEEN.with_borrow_mut(|seen| seen.leave(id.into_u64(), 0)) {
                call();
            }
        }

        fn on_close(&self, id: Id, _: Context<'_, S>) {
            SEEN.with_borrow_mut(|seen| {
                let id = id.into_u64();
                // The registry finds a closed span no more, though its guard was forgotten.
                while seen.entered.contains(&id) {
                    seen.leave(id, 0);
                }
                seen.refer(id, -1);
            });
        }
    }

    pub(super) fn dispatch() -> Dispatch {
        Dispatch::new(registry().with(SpanLayer::new()).with(Recorder))
    }

    #[test]
    fn guards_of_others_are_left_and_entered_again() {
        seeing(&dispatch(), || {
            under_seeds(32, |seed| {
                let children: Vec<_> = [("a", "a:inner"), ("b", "b:inner"), ("c", "c:inner")]
                    .into_iter()
                    .zip(0..)
                    .map(|((name, inner), number)| {
                        rt::spawn(move || {
                            let span = match name {
                                "a" => info_span!("a"),
                                "b" => info_span!("b"),
                                _ => info_span!("c"),
                            };
                            let guard = span.enter();
                            wander(&mut Random::new(seed + number), name, 2);
                            let entered = info_span!("inner").entered();
                            wander(&mut Random::new(seed * number), inner, 2);
                            drop(entered);
                            wander(&mut Random::new(seed ^ number), name, 2);
                            drop(guard);
                            say("");
                        })
                    })
                    .collect();
                wander(&mut Random::new(seed), "", 2);
                children.iter().for_each(|child| child.join().unwrap());
            });
        });
    }

    #[test]
    fn guards_may_be_dropped_in_any_order() {
        seeing(&dispatch(), || {
            under_seeds(8, |_| {
                let other = rt::spawn(|| wander(&mut Random::new(9), "", 2));
                let outer = info_span!("outer").entered();
                let middle = info_span!("middle").entered();
                in_span(info_span!("inner"), || {
                    settle();
                    say("outer:middle:inner");
                    let outer = outer.exit();
                    settle();
                    say("middle:inner");
                    let again = outer.enter();
                    settle();
                    say("middle:inner:outer");
                    drop(middle);
                    settle();
                    say("inner:outer");
                    drop(again);
                    settle();
                    say("inner");
                });
                settle();
                say("");
                other.join().unwrap();
            });
        });
    }

    #[test]
    fn a_span_that_is_entered_twice_is_left_twice() {
        seeing(&dispatch(), || {
            under_seeds(4, |_| {
                let span = info_span!("span");
                let first = span.enter();
                let between = info_span!("between").entered();
                in_span(span.clone(), || {
                    settle();
                    say("span:between:span");
                });
                settle();
                say("span:between");
                drop(between);
                settle();
                say("span");
                drop(first);
                settle();
                say("");
            });
        });
    }

    #[test]
    #[expect(clippy::mem_forget, reason = "a forgotten guard must not bind others")]
    fn a_forgotten_guard_ends_with_its_coroutine() {
        seeing(&dispatch(), || {
            under_seeds(16, |_| {
                let forgetful = rt::spawn(|| {
                    let span = info_span!("forgotten");
                    std::mem::forget(span.enter());
                    settle();
                    drop(span);
                    settle();
                    say("forgotten");
                    in_span(info_span!("inner"), || {
                        settle();
                        say("forgotten:inner");
                    });
                    say("forgotten");
                });
                let panics = rt::spawn(|| {
                    let span = info_span!("forgotten");
                    std::mem::forget(span.enter());
                    drop(span);
                    rt::yield_now().unwrap();
                    say("");
                    let span = info_span!("forgotten");
                    std::mem::forget(span.enter());
                    rt::yield_now().unwrap();
                    say("forgotten");
                    panic!("on purpose");
                });
                let other = rt::spawn(|| {
                    for _ in 0..5 {
                        rt::yield_now().unwrap();
                        say("");
                        sleep_ms(1);
                        say("");
                    }
                });
                forgetful.join().unwrap();
                say("");
                assert!(panics.join().is_err());
                say("");
                other.join().unwrap();
                rt::spawn(|| say("")).join().unwrap();
            });
        });
    }

    #[test]
    fn a_panic_drops_guards_in_their_coroutine() {
        seeing(&dispatch(), || {
            under_seeds(8, |_| {
                let other = rt::spawn(|| wander(&mut Random::new(9), "", 2));
                let handle = rt::spawn(|| {
                    let result = catch_unwind(|| {
                        let _entered = info_span!("entered").entered();
                        settle();
                        panic!("on purpose");
                    });
                    assert!(result.is_err());
                    settle();
                    say("");
                });
                handle.join().unwrap();
                other.join().unwrap();
            });
        });
    }

    #[test]
    fn the_current_span_can_be_passed_on() {
        seeing(&dispatch(), || {
            under_seeds(8, |seed| {
                in_span(info_span!("parent"), || {
                    let builder = Builder::new().span(Span::current());
                    let child = builder.spawn(move || {
                        wander(&mut Random::new(seed), "parent", 2);
                    });
                    wander(&mut Random::new(!seed), "parent", 2);
                    child.unwrap().join().unwrap();
                });
            });
        });
    }

    #[test]
    fn guards_of_the_thread_stay_out_of_coroutines() {
        seeing(&dispatch(), || {
            let entered = info_span!("thread").entered();
            let runtime = virtual_runtime();
            runtime.block_on(|| wander(&mut Random::new(3), "", 2)).unwrap();
            say("thread");
            drop(runtime);
            say("thread");
            drop(entered);
            say("");
        });
    }

    #[test]
    fn a_layer_that_was_put_in_later_knows_the_spans_entered_since() {
        use tracing_subscriber::reload;
        let (layer, handle) = reload::Layer::new(None::<SpanLayer>);
        let dispatch = Dispatch::new(registry().with(layer).with(Recorder));
        seeing(&dispatch, || {
            handle.reload(Some(SpanLayer::new())).unwrap();
            under_seeds(8, |seed| {
                let other = rt::spawn(|| wander(&mut Random::new(9), "", 2));
                let entered = info_span!("entered").entered();
                wander(&mut Random::new(seed), "entered", 2);
                drop(entered);
                other.join().unwrap();
            });
        });
    }
}
