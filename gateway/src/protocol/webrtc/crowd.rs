//! How many there may be of whom nothing is known yet, in all and from one address.
//!
//! Each costs memory before it has shown that it is there at all; those that stay away must not keep out those that come.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
};

/// Those there are.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    from: RefCell<HashMap<IpAddr, usize>>,
    count: Cell<usize>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// From everywhere.
    pub in_all: usize,
    /// From one address of IPv4, or one network of 64 bits of IPv6.
    pub per_ip: usize,
}

/// One of them, for as long as it is.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Rc<Crowd>,
    ip: IpAddr,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There are so many.
    InAll(usize),
    /// There are so many from this address.
    PerIp(usize),
}

impl Crowd {
    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.count.get()
    }

    /// One more, if there is a place.
    pub(super) fn enter(self: &Rc<Self>, ip: IpAddr, most: Most) -> Result<Place, Full> {
        let ip = network(ip);
        if self.count.get() >= most.in_all {
            return Err(Full::InAll(most.in_all));
        }
        let mut from = self.from.borrow_mut();
        if from.get(&ip).is_some_and(|&count| count >= most.per_ip) {
            return Err(Full::PerIp(most.per_ip));
        }
        *from.entry(ip).or_default() += 1;
        self.count.set(self.count.get() + 1);
        Ok(Place { crowd: Rc::clone(self), ip })
    }
}

/// Who has one address of IPv6 has 2^64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.count.set(self.crowd.count.get() - 1);
        let mut from = self.crowd.from.borrow_mut();
        if let Some(count) = from.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                from.remove(&self.ip);
            }
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InAll(most) => write!(f, "{most} others are about to connect"),
            Self::PerIp(most) => write!(f, "{most} others from this address are about to connect"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_places_for_others_when_one_address_has_all_of_its_own() {
        let (crowd, most) = (Rc::new(Crowd::default()), Most { in_all: 3, per_ip: 2 });
        let enter = |ip: &str| crowd.enter(ip.parse().unwrap(), most);
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), Full::PerIp(2));
        let third = enter("2001:db8::1").unwrap();
        assert_eq!(enter("198.51.100.1").unwrap_err(), Full::InAll(3));
        drop(first);
        let _fourth = enter("2001:db8::ffff:1").unwrap();
        drop(third);
        let _fifth = enter("2001:db8::2").unwrap();
        assert_eq!(crowd.from.borrow().len(), 2);
    }
}
