//! Why a connection was refused: all of SRT's codes, in words.
//!
//! Codes below 1000 are the protocol's own (`enum SRT_REJECT_REASON` in `srt.h` of libsrt 1.5.1, and 17 of
//! 1.5.2); from 1000 the application's in its predefined sense (`access_control.h`, HTTP's numbers from 1400
//! on); from 2000 the application's in any sense (`docs/features/access-control.md`, "Rejection Codes").
//! They travel in the handshake as 1000 + code (draft-sharabayko-srt-01 §3.2.1.2).

use std::fmt;

/// Why a connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectReason(i32);

macro_rules! reasons {
    ($($name:ident = $code:literal, $symbol:literal, $words:literal;)*) => {
        impl RejectReason {
            $(#[doc = concat!("`", $symbol, "` (", $code, "): ", $words, ".")]
            pub const $name: Self = Self($code);)*
        }

        /// Code, symbol and words of each reason.
        const REASONS: &[(i32, &str, &str)] = &[$(($code, $symbol, $words),)*];
    };
}

reasons! {
    UNKNOWN = 0, "SRT_REJ_UNKNOWN", "no reason is known";
    SYSTEM = 1, "SRT_REJ_SYSTEM", "a system call failed";
    PEER = 2, "SRT_REJ_PEER", "the peer refused without saying why";
    RESOURCE = 3, "SRT_REJ_RESOURCE", "memory or another resource ran out";
    ROGUE = 4, "SRT_REJ_ROGUE", "the handshake cannot be understood";
    BACKLOG = 5, "SRT_REJ_BACKLOG", "too many connections wait to be accepted";
    INTERNAL = 6, "SRT_REJ_IPE", "the SRT library failed internally";
    CLOSE = 7, "SRT_REJ_CLOSE", "the listener is closing";
    VERSION = 8, "SRT_REJ_VERSION", "the peer's version of SRT is too old";
    RENDEZVOUS_COOKIE = 9, "SRT_REJ_RDVCOOKIE", "the cookies of a rendezvous are equal";
    BAD_SECRET = 10, "SRT_REJ_BADSECRET", "the passphrases differ";
    UNSECURE = 11, "SRT_REJ_UNSECURE", "one side has a passphrase, the other has none";
    MESSAGE_API = 12, "SRT_REJ_MESSAGEAPI", "one side sends messages, the other a stream";
    CONGESTION = 13, "SRT_REJ_CONGESTION", "the congestion controls differ";
    FILTER = 14, "SRT_REJ_FILTER", "the packet filters differ";
    GROUP = 15, "SRT_REJ_GROUP", "the bonding settings differ";
    TIMEOUT = 16, "SRT_REJ_TIMEOUT", "no answer came in time";
    CRYPTO = 17, "SRT_REJ_CRYPTO", "the modes of the cipher differ";
    FALLBACK = 1000, "SRT_REJX_FALLBACK", "the application refused without saying why";
    KEY_NOT_SUPPORTED = 1001, "SRT_REJX_KEY_NOTSUP", "a key of the stream id is not supported";
    FILE_PATH = 1002, "SRT_REJX_FILEPATH", "the path of the file is wrong or not found";
    HOST_NOT_FOUND = 1003, "SRT_REJX_HOSTNOTFOUND", "the host of the stream id is not known";
    BAD_REQUEST = 1400, "SRT_REJX_BAD_REQUEST", "the stream id cannot be understood";
    UNAUTHORIZED = 1401, "SRT_REJX_UNAUTHORIZED", "authentication failed";
    OVERLOAD = 1402, "SRT_REJX_OVERLOAD", "the server is overloaded, or credits are used up";
    FORBIDDEN = 1403, "SRT_REJX_FORBIDDEN", "access is denied";
    NOT_FOUND = 1404, "SRT_REJX_NOTFOUND", "the resource is not found";
    BAD_MODE = 1405, "SRT_REJX_BAD_MODE", "the mode is not supported for the resource";
    UNACCEPTABLE = 1406, "SRT_REJX_UNACCEPTABLE", "the parameters cannot be satisfied";
    CONFLICT = 1409, "SRT_REJX_CONFLICT", "the resource is in use";
    NOT_SUPPORTED_MEDIA = 1415, "SRT_REJX_NOTSUP_MEDIA", "the type of media is not supported";
    LOCKED = 1423, "SRT_REJX_LOCKED", "the resource is locked";
    FAILED_DEPENDENCY = 1424, "SRT_REJX_FAILED_DEPEND", "the session that it depends on is broken";
    INTERNAL_SERVER_ERROR = 1500, "SRT_REJX_ISE", "the server failed internally";
    UNIMPLEMENTED = 1501, "SRT_REJX_UNIMPLEMENTED", "the request is not implemented";
    GATEWAY = 1502, "SRT_REJX_GW", "the server behind this one failed";
    DOWN = 1503, "SRT_REJX_DOWN", "the service is down";
    VERSION_NOT_SUPPORTED = 1505, "SRT_REJX_VERSION", "the version of the application is not supported";
    NO_ROOM = 1507, "SRT_REJX_NOROOM", "there is no room to store the data";
}

/// Least code of the application in its predefined sense (`SRT_REJC_PREDEFINED`).
const PREDEFINED: i32 = 1000;
/// Least code of the application in any sense (`SRT_REJC_USERDEFINED`).
const USER_DEFINED: i32 = 2000;

impl RejectReason {
    /// The reason with libsrt's number.
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        Self(code)
    }

    /// The application's own reason, `n` from 0, in a sense that both applications must know; codes end at
    /// what the handshake carries, so `None` for what does not fit.
    #[must_use]
    pub fn user_defined(n: u32) -> Option<Self> {
        let code = i32::try_from(n).ok()?.checked_add(USER_DEFINED)?;
        // The handshake carries 1000 + code in a signed 32-bit field.
        code.checked_add(1000).map(|_| Self(code))
    }

    /// libsrt's number.
    #[must_use]
    pub const fn code(self) -> i32 {
        self.0
    }

    /// libsrt's symbol, for a code that has one.
    #[must_use]
    pub fn symbol(self) -> Option<&'static str> {
        self.row().map(|(_, symbol, _)| *symbol)
    }

    /// Whether an application may give this reason; the rest is the protocol's own.
    #[must_use]
    pub const fn is_application(self) -> bool {
        self.0 >= PREDEFINED
    }

    /// The HTTP status with the same meaning, for codes 1400 to 1599.
    #[must_use]
    pub fn http_status(self) -> Option<u16> {
        u16::try_from(self.0 - PREDEFINED).ok().filter(|status| (400..600).contains(status))
    }

    fn row(self) -> Option<&'static (i32, &'static str, &'static str)> {
        REASONS.iter().find(|(code, _, _)| *code == self.0)
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.row(), self.0) {
            (Some((code, _, words)), _) => write!(f, "{words} ({code})"),
            (None, USER_DEFINED..) => {
                write!(f, "the application's own reason {}", self.0 - USER_DEFINED)
            }
            (None, code) => write!(f, "unknown reason {code}"),
        }
    }
}

impl fmt::Debug for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RejectReason({}, {:?})", self.0, self.symbol().unwrap_or("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_headers() {
        use libsrt_sys as sys;
        let protocol = [
            (sys::SRT_REJ_UNKNOWN, RejectReason::UNKNOWN),
            (sys::SRT_REJ_BADSECRET, RejectReason::BAD_SECRET),
            (sys::SRT_REJ_UNSECURE, RejectReason::UNSECURE),
            (sys::SRT_REJ_TIMEOUT, RejectReason::TIMEOUT),
            (sys::SRT_REJX_FALLBACK, RejectReason::FALLBACK),
            (sys::SRT_REJX_HOSTNOTFOUND, RejectReason::HOST_NOT_FOUND),
            (sys::SRT_REJX_FORBIDDEN, RejectReason::FORBIDDEN),
            (sys::SRT_REJX_CONFLICT, RejectReason::CONFLICT),
            (sys::SRT_REJX_FAILED_DEPEND, RejectReason::FAILED_DEPENDENCY),
            (sys::SRT_REJX_NOROOM, RejectReason::NO_ROOM),
        ];
        for (code, reason) in protocol {
            assert_eq!(i64::from(code), i64::from(reason.code()), "{reason:?}");
        }
        assert!(REASONS.is_sorted_by(|a, b| a.0 < b.0), "each code stands once");
    }

    #[test]
    fn each_range_speaks_for_itself() {
        assert_eq!(RejectReason::FORBIDDEN.to_string(), "access is denied (1403)");
        assert_eq!(RejectReason::FORBIDDEN.http_status(), Some(403));
        assert_eq!(RejectReason::TIMEOUT.http_status(), None);
        assert_eq!(RejectReason::FALLBACK.http_status(), None);
        assert!(RejectReason::FORBIDDEN.is_application() && !RejectReason::PEER.is_application());
        let own = RejectReason::user_defined(7).unwrap();
        assert_eq!(
            (own.code(), own.to_string().as_str()),
            (2007, "the application's own reason 7")
        );
        assert_eq!(RejectReason::user_defined(u32::MAX), None);
        assert_eq!(RejectReason::from_code(-3).to_string(), "unknown reason -3");
    }
}
