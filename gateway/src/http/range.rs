//! Requests for a part of something (RFC 9110 §14).

use std::ops::Range;

/// Which part is wanted of something that has a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slice {
    /// All of it: no range was asked for, or one that a server may pass over.
    All,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Unsatisfiable,
}

/// Which part of `len` bytes the value of a header `Range` asks for.
///
/// One range of bytes is understood. Several, other units and what is malformed are passed over, as a server may
/// (§14.2).
#[must_use]
pub fn slice(range: &str, len: u64) -> Slice {
    let Some((first, last)) =
        range.strip_prefix("bytes=").and_then(|set| set.trim().split_once('-'))
    else {
        return Slice::All;
    };
    let (first, last) = (number(first), number(last));
    let part = match (first, last) {
        (Number::Is(first), Number::Is(last)) if first > last => return Slice::All,
        (Number::Is(first), Number::Is(last)) => first..len.min(last.saturating_add(1)),
        (Number::Is(first), Number::Missing) => first..len,
        // The last so many.
        (Number::Missing, Number::Is(count)) => len.saturating_sub(count)..len,
        _ => return Slice::All,
    };
    if part.is_empty() { Slice::Unsatisfiable } else { Slice::Part(part) }
}

enum Number {
    Is(u64),
    Missing,
    Malformed,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::Missing;
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Number::Malformed;
    }
    // One that is too large for us is behind the end of everything.
    Number::Is(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_or_all_or_nothing() {
        for (range, expected) in [
            ("bytes=0-0", Slice::Part(0..1)),
            ("bytes=2-5", Slice::Part(2..6)),
            ("bytes=2-", Slice::Part(2..10)),
            ("bytes=2-99", Slice::Part(2..10)),
            ("bytes=-3", Slice::Part(7..10)),
            ("bytes=-99", Slice::Part(0..10)),
            ("bytes=9-99999999999999999999999", Slice::Part(9..10)),
            ("bytes=10-", Slice::Unsatisfiable),
            ("bytes=99999999999999999999999-", Slice::Unsatisfiable),
            ("bytes=-0", Slice::Unsatisfiable),
            ("bytes=5-2", Slice::All),
            ("bytes=-", Slice::All),
            ("bytes=0-1,3-4", Slice::All),
            ("bytes=+1-2", Slice::All),
            ("bytes=a-b", Slice::All),
            ("items=0-1", Slice::All),
            ("", Slice::All),
        ] {
            assert_eq!(slice(range, 10), expected, "{range}");
        }
        assert_eq!(slice("bytes=0-", 0), Slice::Unsatisfiable);
    }
}
