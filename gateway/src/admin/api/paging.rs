//! Parts of lists, and the parameters that say which.

use crate::admin::answer::Failure;
use crate::http::Request;

/// How many entries a list has that does not say how many it wants, and at most. The first is SRS's.
const COUNT_DEFAULT: u32 = 10;
const COUNT_MAX: usize = 1000;

/// Which part of a list is wanted.
pub(in crate::admin) struct Paging {
    start: usize,
    count: usize,
}

impl Paging {
    /// By `start` and `count` of the query. A `count` of 0 is taken for 1, one that is too large for the most there may be.
    pub(in crate::admin) fn of(request: &Request) -> Result<Self, Failure> {
        let start = number(request, "start")?.unwrap_or(0);
        let count = number(request, "count")?.unwrap_or(COUNT_DEFAULT);
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self { start: size(start), count: size(count).clamp(1, COUNT_MAX) })
    }

    /// How many are passed over.
    pub(in crate::admin) const fn start(&self) -> usize {
        self.start
    }

    /// How many are wanted at most.
    pub(in crate::admin) const fn count(&self) -> usize {
        self.count
    }

    pub(in crate::admin) fn cut<'l, T>(&self, list: &'l [T]) -> &'l [T] {
        let rest = list.get(self.start..).unwrap_or_default();
        rest.get(..self.count).unwrap_or(rest)
    }
}

/// A parameter that is a whole number.
pub(super) fn number(request: &Request, name: &str) -> Result<Option<u32>, Failure> {
    let Some(text) = request.target().parameter(name) else { return Ok(None) };
    let wrong = || Failure::parameter(name, "a whole number, 0 to 4294967295");
    text.parse().map(Some).map_err(|_| wrong())
}

/// A parameter that is `true` or `false`.
pub(super) fn truth(request: &Request, name: &str) -> Result<bool, Failure> {
    match request.target().parameter(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Failure::parameter(name, "true or false")),
    }
}
