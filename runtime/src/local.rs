//! Values of which each coroutine has one of its own: [`coroutine_local!`](crate::coroutine_local!)
//! and the keys that it declares.
//!
//! A key is told by its address. A coroutine's values are in a table that is made with the first of
//! them; each is counted, and a call that uses one counts it too. So no call borrows the table: it
//! may grow, and the coroutine may suspend, while a value is in use.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use crate::coroutine::{State, TaskRef};
use crate::join::Panic;
use crate::scheduler::Scheduler;
use crate::wait::Here;

/// Declares [`LocalKey`]s: statics of which every coroutine has a value of its own.
///
/// ```
/// # use std::cell::{Cell, RefCell};
/// # use thalweg_runtime::{self as rt, coroutine_local};
/// coroutine_local! {
///     /// How much this coroutine has sent.
///     static SENT: Cell<u64> = Cell::new(0);
///
///     /// Whom this coroutine and those that it spawns work for.
///     #[inherit]
///     pub static CLIENT: RefCell<String> = RefCell::new("nobody".to_owned());
/// }
/// # rt::run(|| -> std::io::Result<()> {
/// SENT.set(7);
/// CLIENT.set("ann".to_owned());
/// let child = rt::spawn(|| (SENT.get(), CLIENT.with_borrow(String::clone)));
/// assert_eq!(child.join().unwrap(), (0, "ann".to_owned()));
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// A value is made by the expression when the coroutine first uses it. With `#[inherit]`, which
/// needs `T: Clone`, a coroutine that has a value gives a clone of it to each coroutine that it
/// spawns, by [`spawn`](crate::spawn()), [`Builder`](crate::Builder) or a
/// [`scope`](crate::scope()); where the parent has none the child makes its own. The clone is made
/// by the parent, in the call that spawns.
///
/// # Destructors
///
/// The values are dropped when the coroutine's function has returned or panicked, by the coroutine
/// itself, the last one first: their destructors may suspend and use other locals. One that panics
/// makes the coroutine a panicked one, unless it is already; the other values are dropped all the
/// same. The values of a coroutine that the runtime leaves behind at its end are not dropped.
#[macro_export]
macro_rules! coroutine_local {
    // Collects the attributes of one item, and finds `#[inherit]` among them.
    (@item [$($attributes:tt)*] $make:ident #[inherit] $($rest:tt)*) => {
        $crate::coroutine_local!(@item [$($attributes)*] inherited $($rest)*);
    };
    (@item [$($attributes:tt)*] $make:ident #[$($attribute:tt)*] $($rest:tt)*) => {
        $crate::coroutine_local!(@item [$($attributes)* #[$($attribute)*]] $make $($rest)*);
    };
    (@item [$($attributes:tt)*] $make:ident
        $visible:vis static $name:ident: $type:ty = $init:expr; $($rest:tt)*) => {
        $($attributes)*
        $visible static $name: $crate::local::LocalKey<$type> =
            $crate::local::LocalKey::$make(|| $init);
        $crate::coroutine_local!($($rest)*);
    };
    (@item [$($attributes:tt)*] $make:ident
        $visible:vis static $name:ident: $type:ty = $init:expr) => {
        $crate::coroutine_local!(
            @item [$($attributes)*] $make $visible static $name: $type = $init;
        );
    };
    (@item $($unknown:tt)*) => {
        ::core::compile_error!("coroutine_local! takes items `static NAME: Type = value;`");
    };
    () => {};
    ($($items:tt)+) => { $crate::coroutine_local!(@item [] new $($items)+); };
}

/// A static of which every coroutine has a value of its own, declared by
/// [`coroutine_local!`](crate::coroutine_local!).
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    inherit: Option<Inherit>,
}

/// Why a coroutine local cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The caller is not a coroutine of a runtime that runs on this thread.
    NoCoroutine,
    /// The coroutine is ending and has dropped the value.
    Dropped,
}

/// Makes the value for a child from its parent's.
type Inherit = fn(&dyn Any) -> Rc<dyn Any>;

impl<T: 'static> LocalKey<T> {
    /// A key whose values are made by `init`.
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> Self {
        Self { init, inherit: None }
    }

    /// A key whose values go on to children.
    #[doc(hidden)]
    pub const fn inherited(init: fn() -> T) -> Self
    where
        T: Clone,
    {
        Self { init, inherit: Some(inherit::<T>) }
    }

    /// Calls `f` with the running coroutine's value, which is made first if there is none.
    ///
    /// `f` may suspend: the value stays this coroutine's.
    ///
    /// # Panics
    ///
    /// Where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        f(&*expect_access(self.value()))
    }

    /// Calls `f` like [`LocalKey::with`], where there is a value or one can be made.
    ///
    /// # Errors
    ///
    /// [`AccessError::NoCoroutine`], and [`AccessError::Dropped`] in destructors of locals that run
    /// later than that of this one.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        Ok(f(&*self.value()?))
    }

    fn value(&'static self) -> Result<Rc<T>, AccessError> {
        let task = accessible()?;
        match self.find(task)? {
            Some(value) => Ok(value),
            None => self.insert(task, (self.init)()),
        }
    }

    /// Hands `new` to `present` together with the value that is there, or makes it the value.
    #[track_caller]
    fn put<V>(&'static self, new: V, first: fn(V) -> T, present: impl FnOnce(&T, V)) {
        let task = expect_access(accessible());
        match expect_access(self.find(task)) {
            Some(value) => present(&*value, new),
            None => drop(expect_access(self.insert(task, first(new)))),
        }
    }

    fn find(&'static self, task: TaskRef) -> Result<Option<Rc<T>>, AccessError> {
        let Some(locals) = task.locals.take() else { return Ok(None) };
        let found = locals.find(self.address()).map(|entry| entry.value.clone());
        task.locals.set(Some(locals));
        match found {
            None => Ok(None),
            Some(None) => Err(AccessError::Dropped),
            Some(Some(value)) => {
                Ok(Some(value.downcast().expect("the values of one key have its type")))
            }
        }
    }

    #[cold]
    fn insert(&'static self, task: TaskRef, value: T) -> Result<Rc<T>, AccessError> {
        // The initialiser may have used the key; a value that others may know of stays.
        if let Some(present) = self.find(task)? {
            return Ok(present);
        }
        let value = Rc::new(value);
        let mut locals = task.locals.take().unwrap_or_default();
        let kept: Rc<dyn Any> = Rc::<T>::clone(&value);
        let entry = Entry { key: self.address(), value: Some(kept), inherit: self.inherit };
        locals.entries.push(entry);
        task.locals.set(Some(locals));
        Ok(value)
    }

    fn address(&'static self) -> usize {
        ptr::from_ref(self).addr()
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value; when there is none yet, this is the first, and no other is made.
    ///
    /// # Panics
    ///
    /// Where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        self.put(value, Cell::new, Cell::set);
    }

    /// A copy of the value.
    ///
    /// # Panics
    ///
    /// Where [`LocalKey::try_with`] returns an error.
    #[must_use]
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves the default.
    ///
    /// # Panics
    ///
    /// Where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Puts `value` in and returns what was there.
    ///
    /// # Panics
    ///
    /// Where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with the value borrowed, which must not suspend if others may borrow it mutably.
    ///
    /// # Panics
    ///
    /// When the value is borrowed mutably, and where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the value borrowed mutably.
    ///
    /// # Panics
    ///
    /// When the value is borrowed, and where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value; when there is none yet, this is the first, and no other is made.
    ///
    /// # Panics
    ///
    /// When the value is borrowed, and where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        self.put(value, RefCell::new, |cell, value| drop(cell.replace(value)));
    }

    /// Takes the value and leaves the default.
    ///
    /// # Panics
    ///
    /// When the value is borrowed, and where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Puts `value` in and returns what was there.
    ///
    /// # Panics
    ///
    /// When the value is borrowed, and where [`LocalKey::try_with`] returns an error.
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCoroutine => "only a coroutine has coroutine locals, and the caller is not one",
            Self::Dropped => "the coroutine is ending and has dropped this local",
        })
    }
}

impl std::error::Error for AccessError {}

/// The values of one coroutine, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Locals {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The address of the key.
    key: usize,
    /// None once it was dropped.
    value: Option<Rc<dyn Any>>,
    inherit: Option<Inherit>,
}

impl Locals {
    fn find(&self, key: usize) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

fn inherit<T: Clone + 'static>(value: &dyn Any) -> Rc<dyn Any> {
    let value: &T = value.downcast_ref().expect("the values of one key have its type");
    Rc::new(value.clone())
}

/// The running coroutine. One that has ended may still count as that, but has no locals any more.
fn accessible() -> Result<TaskRef, AccessError> {
    let task = Here::running().ok_or(AccessError::NoCoroutine)?.task;
    if task.state.get() == State::Runnable { Ok(task) } else { Err(AccessError::NoCoroutine) }
}

#[track_caller]
fn expect_access<V>(result: Result<V, AccessError>) -> V {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// What a coroutine that the caller spawns on `scheduler` starts with, if there is anything. The
/// values' `clone` is the program's and may do anything, so this comes before all else.
#[inline]
pub(crate) fn inherited(scheduler: &Scheduler) -> Option<Box<Locals>> {
    let here = Here::running().filter(|here| ptr::eq(here.scheduler, scheduler))?;
    let locals = here.task.locals.take()?;
    here.task.locals.set(Some(locals));
    inherited_from(here.task)
}

#[cold]
fn inherited_from(parent: TaskRef) -> Option<Box<Locals>> {
    let locals = parent.locals.take()?;
    let heirlooms: Vec<(usize, Rc<dyn Any>, Inherit)> = locals
        .entries
        .iter()
        .filter_map(|entry| Some((entry.key, entry.value.clone()?, entry.inherit?)))
        .collect();
    parent.locals.set(Some(locals));
    if heirlooms.is_empty() {
        return None;
    }
    let entries = heirlooms.into_iter().map(|(key, value, inherit)| Entry {
        key,
        value: Some(inherit(&*value)),
        inherit: Some(inherit),
    });
    Some(Box::new(Locals { entries: entries.collect() }))
}

/// Drops the locals of `task`, the running coroutine, whose function came to `result`.
#[inline]
pub(crate) fn end<T>(task: TaskRef, result: Result<T, Panic>) -> Result<T, Panic> {
    match task.locals.take() {
        None => result,
        locals => {
            task.locals.set(locals);
            end_with_locals(task, result)
        }
    }
}

#[cold]
fn end_with_locals<T>(task: TaskRef, result: Result<T, Panic>) -> Result<T, Panic> {
    match (result, drop_all(task)) {
        (result, None) => result,
        (Ok(value), Some(panic)) => {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
                log_later(task, &Panic::caught(payload));
            }
            Err(panic)
        }
        (Err(panic), Some(later)) => {
            log_later(task, &later);
            Err(panic)
        }
    }
}

/// Drops the locals of `task`, the last one first, also those that the destructors make; the result
/// is the first panic of these.
fn drop_all(task: TaskRef) -> Option<Panic> {
    let mut first = None;
    while let Some(value) = take_last(task) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            let panic = Panic::caught(payload);
            if first.is_none() {
                first = Some(panic);
            } else {
                log_later(task, &panic);
            }
        }
    }
    drop(task.locals.take());
    first
}

/// Takes the value that was made last, whose key cannot be used from now on.
fn take_last(task: TaskRef) -> Option<Rc<dyn Any>> {
    let mut locals = task.locals.take()?;
    let value = locals.entries.iter_mut().rev().find_map(|entry| entry.value.take());
    task.locals.set(Some(locals));
    value
}

/// Reports a panic for which there is no room in the coroutine's outcome.
fn log_later(task: TaskRef, panic: &Panic) {
    tracing::error!(coroutine = ?task, "the end of a coroutine that panicked before {panic}");
}
