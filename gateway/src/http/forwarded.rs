//! Who asks, where proxies stand in between: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! Each proxy appends the address that it was asked from. So the list is read from its end, and only as far as proxies that are
//! trusted wrote it: the first address that is none of theirs is the client's, and what stands before it anybody may have
//! written. Where both headers are there one of them may be the client's own invention, so they have to agree. A list that
//! does not tell who asks is an error, never the proxy itself, whom rules may let in.

use http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// The headers of trusted proxies do not tell who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unclear;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses in a list at most: more than any chain of proxies.
const LIST_MAX: usize = 64;

/// Where a request comes from that came to us from `peer`. The port is only known of who asks directly.
pub(super) fn origin(
    headers: &HeaderMap,
    peer: SocketAddr,
    trusted: &[IpNet],
) -> Result<SocketAddr, Unclear> {
    if !is_one_of(trusted, peer.ip()) {
        return Ok(peer);
    }
    let x_forwarded = farthest(list(headers, &X_FORWARDED_FOR, plain)?, trusted);
    let forwarded = farthest(list(headers, &FORWARDED, element)?, trusted);
    match (x_forwarded, forwarded) {
        (None, None) => Ok(peer),
        (Some(one), Some(other)) if one != other => Err(Unclear),
        (Some(ip), _) | (None, Some(ip)) => Ok(SocketAddr::new(ip, 0)),
    }
}

/// Whether an address is in one of the networks.
pub(super) fn is_one_of(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// The last address that is no trusted proxy's; the first one when all are.
fn farthest(list: Vec<IpAddr>, trusted: &[IpNet]) -> Option<IpAddr> {
    let first = list.first().copied();
    list.into_iter().rev().find(|&ip| !is_one_of(trusted, ip)).or(first)
}

/// The addresses of all headers of that name, in their order.
///
/// An element that is none hides who asked the proxy behind it. It is an error wherever it stands, since nobody but an attacker
/// writes one before a proxy does.
fn list(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<IpAddr>,
) -> Result<Vec<IpAddr>, Unclear> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| Unclear)?;
        for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
            if list.len() == LIST_MAX {
                return Err(Unclear);
            }
            list.push(read(element).ok_or(Unclear)?.to_canonical());
        }
    }
    Ok(list)
}

/// An element of `X-Forwarded-For`: an address, from some proxies with a port.
fn plain(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| node(text))
}

/// The `for` of an element of `Forwarded` (RFC 7239 §4). A name that hides the address (§6.3) is none.
fn element(text: &str) -> Option<IpAddr> {
    let mut pairs = text.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    node(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

/// A node of RFC 7239 §6: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
        return address.parse().ok().filter(|_| is_port).map(IpAddr::V6);
    }
    let (address, port) = text.split_once(':').unwrap_or((text, "0"));
    address.parse().ok().filter(|_| is_number(port)).map(IpAddr::V4)
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap()).into()
    }

    fn ask(peer: &str, headers: &[(&'static str, &str)]) -> Result<String, Unclear> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        origin(&map, peer, &trusted()).map(|origin| origin.ip().to_string())
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        for headers in [[("x-forwarded-for", "192.0.2.7")], [("forwarded", "for=192.0.2.7")]] {
            assert_eq!(ask("198.51.100.1", &headers), Ok("198.51.100.1".into()));
        }
        let junk = [("x-forwarded-for", "junk")];
        assert_eq!(ask("198.51.100.1", &junk), Ok("198.51.100.1".into()));
    }

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_the_clients() {
        for (list, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7, 10.0.0.2", "192.0.2.7"),
            ("203.0.113.9, 192.0.2.7,10.0.0.2 , 10.0.0.3", "192.0.2.7"),
            ("127.0.0.1, 192.0.2.7", "192.0.2.7"),
            ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.7:443", "192.0.2.7"),
            ("::ffff:192.0.2.7, ::ffff:10.1.1.1", "192.0.2.7"),
        ] {
            assert_eq!(
                ask("10.0.0.1", &[("x-forwarded-for", list)]),
                Ok(expected.into()),
                "{list}"
            );
        }
        let several = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(ask("::1", &several), Ok("192.0.2.7".into()));
        assert_eq!(ask("10.0.0.1", &[]), Ok("10.0.0.1".into()));
    }

    #[test]
    fn forwarded_is_read_as_its_grammar_says() {
        for (list, expected) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("by=203.0.113.43;for=192.0.2.7;proto=http", "192.0.2.7"),
            ("for=203.0.113.9, for=192.0.2.7;host=x, for=10.0.0.3", "192.0.2.7"),
        ] {
            assert_eq!(ask("10.0.0.1", &[("forwarded", list)]), Ok(expected.into()), "{list}");
        }
    }

    #[test]
    fn what_does_not_tell_who_asks_is_refused() {
        for (name, list) in [
            ("forwarded", "for=unknown"),
            ("forwarded", "for=_hidden"),
            ("forwarded", "by=192.0.2.7"),
            ("forwarded", "for=\"2001:db8::1\""),
            ("x-forwarded-for", "192.0.2.7, junk"),
            ("x-forwarded-for", "junk, 192.0.2.7"),
            ("x-forwarded-for", "[2001:db8::1"),
            ("x-forwarded-for", "192.0.2.7:99999"),
        ] {
            assert_eq!(ask("10.0.0.1", &[(name, list)]), Err(Unclear), "{list}");
        }
        let long = vec!["192.0.2.7"; LIST_MAX + 1].join(",");
        assert_eq!(ask("10.0.0.1", &[("x-forwarded-for", &long)]), Err(Unclear));
    }

    #[test]
    fn a_header_that_the_proxy_passes_on_as_it_came_makes_nobody_another() {
        let both = |x: &str, forwarded: &str| {
            ask("10.0.0.1", &[("x-forwarded-for", x), ("forwarded", forwarded)])
        };
        assert_eq!(both("192.0.2.7", "for=192.0.2.7"), Ok("192.0.2.7".into()));
        assert_eq!(both("192.0.2.7", "for=10.0.0.1"), Err(Unclear));
        assert_eq!(both("127.0.0.1", "for=192.0.2.7"), Err(Unclear));
    }

    proptest! {
        #[test]
        fn whatever_stands_before_it_the_address_that_the_proxy_appends_counts(
            invented in "[0-9a-f.:, ]{0,40}",
        ) {
            let list = format!("{invented}, 192.0.2.7");
            let said = ask("10.0.0.1", &[("x-forwarded-for", &list)]);
            prop_assert!(said == Err(Unclear) || said == Ok("192.0.2.7".into()), "{said:?}");
        }
    }
}
