//! Coroutine locals: whose they are, when they are made and dropped, and who inherits them.

#[expect(dead_code, reason = "no test here needs random numbers or a later instant")]
mod seeds;
mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use seeds::{Log, settle, sleep_ms, under_seeds};
use support::{CountsDrop, Drops, logs, scaled};
use thalweg_runtime::local::AccessError;
use thalweg_runtime::{self as rt, ClockKind, JoinError, Runtime, coroutine_local};

const SEEDS: u64 = 16;

coroutine_local! {
    static NUMBER: Cell<u32> = Cell::new(1);
    static TEXT: RefCell<String> = RefCell::new("initial".to_owned());
    #[inherit]
    static HEIRLOOM: RefCell<Vec<u32>> = RefCell::default();
    /// What a destructor does is put in here.
    static LAST_WILL: RefCell<Option<Will>> = const { RefCell::new(None) };
    static SECOND_WILL: RefCell<Option<Will>> = const { RefCell::new(None) }
}

/// Does something when it is dropped.
struct Will(Option<Box<dyn FnOnce()>>);

impl Will {
    fn new(act: impl FnOnce() + 'static) -> Self {
        Self(Some(Box::new(act)))
    }
}

impl Drop for Will {
    fn drop(&mut self) {
        self.0.take().expect("a value is dropped once")();
    }
}

/// Runs `test` as the root coroutine, first come first served.
fn in_order(test: impl FnOnce() + 'static) {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build();
    let runtime = runtime.expect("a runtime can be built");
    runtime.block_on(test).expect("the test does not deadlock");
}

/// A coroutine that panics; the result is its message as the join tells it.
fn message_of_panic(body: impl FnOnce() + 'static) -> String {
    match rt::spawn(body).join() {
        Err(JoinError::Panicked(panic)) => panic.message().expect("it is text").to_owned(),
        other => panic!("{other:?}"),
    }
}

// Whose a value is.

#[test]
fn every_coroutine_has_its_own_value() {
    under_seeds(SEEDS, |_| {
        let children: Vec<_> = (0..100)
            .map(|n| {
                rt::spawn(move || {
                    assert_eq!(NUMBER.get(), 1);
                    for round in 0..10 {
                        NUMBER.set(n + round);
                        TEXT.with_borrow_mut(|text| *text = n.to_string());
                        rt::yield_now().unwrap();
                        assert_eq!(NUMBER.get(), n + round);
                        assert_eq!(TEXT.with_borrow(String::clone), n.to_string());
                    }
                })
            })
            .collect();
        children.iter().for_each(|child| child.join().unwrap());
        assert_eq!(NUMBER.get(), 1);
    });
}

#[test]
fn a_value_is_made_at_its_first_use_and_once() {
    coroutine_local!(static MADE: u32 = {
        NUMBER.set(NUMBER.get() + 1);
        7
    });
    in_order(|| {
        assert_eq!(NUMBER.get(), 1);
        assert_eq!(MADE.with(|made| *made), 7);
        assert_eq!(MADE.with(|made| *made), 7);
        assert_eq!(NUMBER.get(), 2);
    });
}

#[test]
fn a_value_that_is_set_first_is_not_made() {
    coroutine_local! {
        static CELL: Cell<u32> = panic!("it was made");
        static REF_CELL: RefCell<u32> = panic!("it was made");
    }
    in_order(|| {
        CELL.set(5);
        REF_CELL.set(6);
        assert_eq!((CELL.get(), REF_CELL.with_borrow(|value| *value)), (5, 6));
    });
}

#[test]
fn cells_are_replaced_and_taken_in_place() {
    in_order(|| {
        assert_eq!((NUMBER.replace(2), NUMBER.take(), NUMBER.get()), (1, 2, 0));
        assert_eq!(TEXT.replace("next".to_owned()), "initial");
        TEXT.with_borrow_mut(|text| text.push('!'));
        assert_eq!((TEXT.take().as_str(), TEXT.take().as_str()), ("next!", ""));
        TEXT.set("last".to_owned());
        assert_eq!(TEXT.with_borrow(String::len), 4);
    });
}

#[test]
fn the_next_coroutine_in_a_block_begins_anew() {
    in_order(|| {
        for _ in 0..1000 {
            let child = rt::spawn(|| {
                assert_eq!(NUMBER.replace(9), 1);
                HEIRLOOM.with_borrow_mut(|list| list.push(1));
                HEIRLOOM.with_borrow(Vec::len)
            });
            assert_eq!(child.join().unwrap(), 1);
        }
    });
}

#[test]
fn a_value_stays_while_its_user_suspends_and_the_table_grows() {
    macro_rules! many {
        ($($name:ident)*) => {
            coroutine_local! { $(static $name: Cell<u64> = Cell::new(0);)* }
            fn touch_all() -> u64 {
                $($name.set($name.get() + 1);)*
                0 $(+ $name.get())*
            }
        };
    }
    many!(A B C D E F G H I J K L M N O P Q R S T U V W X Y Z);
    under_seeds(SEEDS, |_| {
        let users: Vec<_> = (0..4)
            .map(|n| {
                rt::spawn(move || {
                    TEXT.set(format!("of {n}"));
                    TEXT.with(|text| {
                        let text = text.borrow();
                        rt::yield_now().unwrap();
                        assert_eq!(touch_all(), 26);
                        sleep_ms(n);
                        assert_eq!(touch_all(), 52);
                        assert_eq!(*text, format!("of {n}"));
                    });
                })
            })
            .collect();
        users.iter().for_each(|user| user.join().unwrap());
    });
}

#[test]
fn an_initialiser_may_use_other_locals_suspend_and_panic() {
    coroutine_local! {
        static OUTER: u32 = {
            sleep_ms(1);
            INNER.with(|inner| inner + 1)
        };
        static INNER: u32 = NUMBER.get() * 10;
        static AT_SECOND: u32 = {
            assert!(NUMBER.replace(2) == 2, "the first time");
            3
        };
    }
    in_order(|| {
        assert_eq!(OUTER.with(|outer| *outer), 11);
        let caught = std::panic::catch_unwind(|| AT_SECOND.with(|_| ()));
        assert!(caught.is_err());
        assert_eq!(AT_SECOND.with(|value| *value), 3);
    });
}

#[test]
fn an_initialiser_that_sets_its_own_local_does_not_replace_that_value() {
    coroutine_local!(static SELF_MADE: Cell<u32> = {
        SELF_MADE.set(1);
        Cell::new(2)
    });
    in_order(|| assert_eq!(SELF_MADE.get(), 1));
}

// Outside of coroutines.

#[test]
fn outside_a_coroutine_there_are_no_locals() {
    assert_eq!(NUMBER.try_with(Cell::get), Err(AccessError::NoCoroutine));
    assert!(std::panic::catch_unwind(|| NUMBER.get()).is_err());
    assert!(std::panic::catch_unwind(|| NUMBER.set(1)).is_err());
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    runtime.block_on(|| NUMBER.set(3)).unwrap();
    assert_eq!(NUMBER.try_with(Cell::get), Err(AccessError::NoCoroutine));
    assert_eq!(runtime.block_on(|| NUMBER.get()).unwrap(), 1);
}

#[test]
fn another_thread_has_none() {
    in_order(|| {
        NUMBER.set(4);
        let there = std::thread::scope(|scope| {
            scope.spawn(|| NUMBER.try_with(Cell::get)).join().expect("it does not panic")
        });
        assert_eq!(there, Err(AccessError::NoCoroutine));
    });
}

// Destructors.

#[test]
fn values_are_dropped_at_the_end_the_last_one_first() {
    struct Logged(Log<u32>, u32);
    impl Drop for Logged {
        fn drop(&mut self) {
            self.0.push(self.1);
        }
    }
    coroutine_local! {
        static FIRST: RefCell<Option<Logged>> = RefCell::default();
        static SECOND: RefCell<Option<Logged>> = RefCell::default();
        static THIRD: RefCell<Option<Logged>> = RefCell::default();
    }
    for panics in [false, true] {
        in_order(move || {
            let log = Log::new();
            let theirs = log.clone();
            let child = rt::spawn(move || {
                let logged = |n| Some(Logged(theirs.clone(), n));
                SECOND.set(logged(2));
                THIRD.set(logged(3));
                FIRST.set(logged(1));
                rt::yield_now().unwrap();
                theirs.push(0);
                assert!(!panics, "on purpose");
            });
            assert_eq!(child.join().is_err(), panics);
            assert_eq!(log.take(), [0, 1, 3, 2]);
        });
    }
}

#[test]
fn values_are_dropped_before_a_join_returns_and_after_what_the_function_owns() {
    coroutine_local!(static HELD: RefCell<Option<CountsDrop>> = RefCell::default());
    under_seeds(SEEDS, |_| {
        let drops = Drops::default();
        let theirs = drops.clone();
        let child = rt::spawn(move || {
            HELD.set(Some(theirs.guard()));
            let _owned = Will::new(move || assert_eq!((theirs.count(), NUMBER.get()), (0, 1)));
            rt::yield_now().unwrap();
        });
        child.join().unwrap();
        assert_eq!(drops.count(), 1);
        let theirs = drops.clone();
        drop(rt::spawn(move || HELD.set(Some(theirs.guard()))));
        settle();
        assert_eq!(drops.count(), 2, "a detached coroutine's values are dropped, too");
    });
}

#[test]
fn a_destructor_may_suspend_and_use_other_locals() {
    under_seeds(SEEDS, |_| {
        let log = Log::new();
        let theirs = log.clone();
        let child = rt::spawn(move || {
            TEXT.set("from the function".to_owned());
            let id = rt::current().unwrap().id();
            LAST_WILL.set(Some(Will::new(move || {
                sleep_ms(5);
                assert_eq!(rt::current().unwrap().id(), id);
                theirs.push(TEXT.with_borrow(String::clone));
                // Never used before: it is made now, and dropped as well.
                theirs.push(NUMBER.get().to_string());
            })));
        });
        sleep_ms(1);
        assert!(!child.is_finished(), "it ends when its destructors have");
        child.join().unwrap();
        assert_eq!(log.take(), ["from the function", "1"]);
    });
}

#[test]
fn a_dropped_local_is_not_made_again() {
    in_order(|| {
        let seen = Rc::new(Cell::new(None));
        let theirs = Rc::clone(&seen);
        let child = rt::spawn(move || {
            LAST_WILL.set(Some(Will::new(move || {
                let own = LAST_WILL.try_with(|_| ());
                theirs.set(Some((own, TEXT.try_with(|_| ()))));
            })));
            // Made later, so dropped before.
            TEXT.set("gone by then".to_owned());
        });
        child.join().unwrap();
        assert_eq!(seen.get(), Some((Err(AccessError::Dropped), Err(AccessError::Dropped))));
    });
}

#[test]
fn destructors_that_make_locals_end() {
    in_order(|| {
        let drops = Drops::default();
        let theirs = drops.clone();
        let child = rt::spawn(move || {
            LAST_WILL.set(Some(Will::new(move || {
                let first = theirs.guard();
                SECOND_WILL.set(Some(Will::new(move || {
                    drop(first);
                    assert!(LAST_WILL.try_with(|_| ()).is_err());
                })));
            })));
        });
        child.join().unwrap();
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn in_a_cancelled_coroutine_a_destructor_is_told_and_may_shield_itself() {
    in_order(|| {
        let log = Log::new();
        let theirs = log.clone();
        let child = rt::spawn(move || {
            LAST_WILL.set(Some(Will::new(move || {
                theirs.push(rt::yield_now());
                theirs.push(rt::shield(Duration::from_secs(1), || {
                    rt::sleep(Duration::from_millis(1))
                }));
            })));
            rt::sleep(Duration::from_secs(1))
        });
        settle();
        child.cancel();
        assert_eq!(child.join().unwrap(), Err(rt::WaitError::Cancelled));
        assert_eq!(log.take(), [Err(rt::WaitError::Cancelled), Ok(())]);
    });
}

#[test]
fn a_destructor_that_panics_makes_the_join_fail_and_the_others_run() {
    in_order(|| {
        let drops = Drops::default();
        let theirs = drops.clone();
        let message = message_of_panic(move || {
            let guard = theirs.guard();
            LAST_WILL.set(Some(Will::new(move || drop(guard))));
            SECOND_WILL.set(Some(Will::new(|| panic!("the second will"))));
        });
        assert_eq!((message.as_str(), drops.count()), ("the second will", 1));
    });
}

#[test]
fn of_several_panics_the_first_is_the_join_error_and_the_others_are_logged() {
    let drops = Drops::default();
    let theirs = drops.clone();
    let logs = logs::capture(|| {
        in_order(move || {
            let message = message_of_panic(|| {
                LAST_WILL.set(Some(Will::new(|| panic!("the will"))));
                panic!("the function");
            });
            assert_eq!(message, "the function");
            let child = rt::spawn(move || {
                LAST_WILL.set(Some(Will::new(|| panic!("the first will"))));
                SECOND_WILL.set(Some(Will::new(|| panic!("the second will"))));
                theirs.guard()
            });
            let error = child.join().map(drop).expect_err("a destructor panicked");
            assert!(error.to_string().contains("the second will"), "{error}");
        });
    });
    assert_eq!(drops.count(), 1, "the value of a coroutine that panicked is dropped");
    let named = |text| logs.iter().filter(|line| line.contains(text)).count();
    assert_eq!((named("the will"), named("the first will"), logs.len()), (1, 1, 2), "{logs:?}");
}

#[test]
fn a_coroutine_cancelled_before_its_first_run_drops_what_it_inherited() {
    coroutine_local!(
        #[inherit]
        static SHARED: RefCell<Option<Rc<CountsDrop>>> = RefCell::default()
    );
    let drops = Drops::default();
    let theirs = drops.clone();
    in_order(move || {
        SHARED.set(Some(Rc::new(theirs.guard())));
        drop(rt::spawn(|| rt::sleep(Duration::from_secs(1))));
        // The runtime ends before the child runs.
    });
    assert_eq!(drops.count(), 1);
}

// Inheritance.

#[test]
fn a_child_gets_a_clone_of_what_its_parent_has_when_it_is_spawned() {
    under_seeds(SEEDS, |_| {
        HEIRLOOM.set(vec![1, 2]);
        NUMBER.set(8);
        let child = rt::spawn(|| {
            assert_eq!(NUMBER.get(), 1, "not inherited");
            HEIRLOOM.with_borrow_mut(|list| list.push(3));
            let grandchild = rt::spawn(|| HEIRLOOM.take());
            (grandchild.join().unwrap(), HEIRLOOM.take())
        });
        HEIRLOOM.with_borrow_mut(|list| list.push(9));
        assert_eq!(child.join().unwrap(), (vec![1, 2, 3], vec![1, 2, 3]));
        assert_eq!(HEIRLOOM.take(), [1, 2, 9]);
    });
}

#[test]
fn a_child_of_a_parent_without_a_value_makes_its_own() {
    in_order(|| {
        NUMBER.set(8);
        let child = rt::spawn(|| {
            HEIRLOOM.with_borrow_mut(|list| list.push(1));
            HEIRLOOM.take()
        });
        assert_eq!(child.join().unwrap(), [1]);
        assert!(HEIRLOOM.with_borrow(Vec::is_empty));
    });
}

#[test]
fn scoped_and_named_children_inherit_and_those_spawned_from_outside_do_not() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    runtime
        .block_on(|| {
            HEIRLOOM.set(vec![5]);
            let mut scoped = Vec::new();
            rt::scope(|s| {
                s.spawn(|| scoped = HEIRLOOM.take());
            });
            let named = rt::Builder::new().name("named").spawn(|| HEIRLOOM.take()).unwrap();
            assert_eq!((scoped, named.join().unwrap()), (vec![5], vec![5]));
        })
        .unwrap();
    let outside = runtime.spawn(|| HEIRLOOM.take()).unwrap();
    runtime.block_on(settle).unwrap();
    assert_eq!(outside.join().unwrap(), Vec::<u32>::new());
}

#[test]
fn a_scope_ends_after_the_destructors_of_its_children() {
    under_seeds(SEEDS, |_| {
        let ended = Rc::new(Cell::new(0));
        rt::scope(|s| {
            for n in 0..3 {
                let ended = Rc::clone(&ended);
                s.spawn(move || {
                    LAST_WILL.set(Some(Will::new(move || {
                        sleep_ms(n);
                        ended.set(ended.get() + 1);
                    })));
                });
            }
        });
        assert_eq!(ended.get(), 3);
        let joined = rt::scope(|s| {
            let child = s.spawn(|| LAST_WILL.set(Some(Will::new(|| panic!("the will")))));
            child.join()
        });
        assert!(matches!(joined, Err(JoinError::Panicked(_))), "{joined:?}");
    });
}

#[test]
fn a_clone_that_panics_or_suspends_leaves_the_parent_as_it_was() {
    struct Awkward(Cell<bool>);
    impl Clone for Awkward {
        fn clone(&self) -> Self {
            rt::yield_now().unwrap();
            NUMBER.set(NUMBER.get() + 1);
            assert!(!self.0.get(), "not now");
            Self(Cell::new(false))
        }
    }
    coroutine_local!(
        #[inherit]
        static AWKWARD: Awkward = Awkward(Cell::new(true))
    );
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    runtime
        .block_on(|| {
            AWKWARD.with(|_| ());
            let caught = std::panic::catch_unwind(|| drop(rt::spawn(|| ())));
            assert!(caught.is_err());
            AWKWARD.with(|awkward| awkward.0.set(false));
            let child = rt::spawn(|| AWKWARD.with(|awkward| awkward.0.get()));
            assert!(!child.join().unwrap());
            assert_eq!(NUMBER.get(), 3);
        })
        .unwrap();
    assert_eq!((runtime.live(), runtime.stats().stacks_in_use), (0, 0));
}

#[test]
fn many_coroutines_with_locals_leave_nothing_behind() {
    coroutine_local!(
        #[inherit]
        static SHARED: RefCell<Option<Rc<CountsDrop>>> = RefCell::default()
    );
    let drops = Drops::default();
    let theirs = drops.clone();
    let count = u32::try_from(scaled(100_000, 1_000)).unwrap();
    in_order(move || {
        let shared = Rc::new(theirs.guard());
        SHARED.set(Some(Rc::clone(&shared)));
        for round in 0..10 {
            let children: Vec<_> = (0..count / 10)
                .map(|n| {
                    rt::spawn(move || {
                        NUMBER.set(n);
                        rt::yield_now().unwrap();
                        assert_eq!(NUMBER.get(), n);
                    })
                })
                .collect();
            assert_eq!(Rc::strong_count(&shared), children.len() + 2, "in round {round}");
            children.iter().for_each(|child| child.join().unwrap());
            assert_eq!(Rc::strong_count(&shared), 2);
        }
        assert_eq!(theirs.count(), 0);
    });
    assert_eq!(drops.count(), 1);
}
