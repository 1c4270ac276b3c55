//! A peer of WebRTC that goes no further than it is told: it offers, and makes checks of ICE, good ones and forged ones.

use crate::api::Answer;
use aws_lc_rs::hmac;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};
use str0m::ice::{StunMessage, TransId};

/// What a gateway answered to an offer.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The status of the answer.
    pub status: u16,
    /// The answer, or why there is none.
    pub text: String,
}

/// What a browser offers, but for what is random; and that the gateway begins DTLS.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:passive\r\na=mid:0\r\na=DIRECTION\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Offers to watch or to publish, as the path says: `whep/live/cam`, `whip/live/cam`.
///
/// # Errors
///
/// When the gateway does not answer.
pub fn offer(http: SocketAddr, path: &str) -> io::Result<Offered> {
    let direction = if path.starts_with("whip/") { "sendonly" } else { "recvonly" };
    let offer = OFFER.replace("DIRECTION", direction);
    let len = offer.len();
    let mut connection = TcpStream::connect(http)?;
    connection.set_read_timeout(Some(ANSWER))?;
    write!(
        connection,
        "POST /{path} HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\
         content-type: application/sdp\r\ncontent-length: {len}\r\n\r\n{offer}"
    )?;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes)?;
    let answer = Answer::of(&bytes);
    Ok(Offered { status: answer.status, text: String::from_utf8_lossy(&answer.body).into_owned() })
}

impl Offered {
    /// As [`offer`], for a gateway that must take the offer.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[must_use]
    pub fn taken(http: SocketAddr, path: &str) -> Self {
        let offered = offer(http, path).expect("the gateway answers");
        assert_eq!(offered.status, 201, "{}", offered.text);
        offered
    }

    fn line(&self, name: &str) -> &str {
        let found = self.text.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name} in\n{}", self.text))
    }

    /// A check as a browser makes it.
    #[must_use]
    pub fn check(&self) -> Vec<u8> {
        self.check_with(self.line("a=ice-pwd:"))
    }

    /// A check with everything right but the password.
    #[must_use]
    pub fn forged_check(&self) -> Vec<u8> {
        self.check_with("guessed-guessed-guessed!")
    }

    fn check_with(&self, password: &str) -> Vec<u8> {
        let name = format!("{}:abcd", self.line("a=ice-ufrag:"));
        let priority = 0x6eff_ffff;
        let message = StunMessage::binding_request(&name, TransId::new(), true, 7, priority, true);
        let mut bytes = vec![0; 512];
        let len = message.to_bytes(Some(password.as_bytes()), &mut bytes, sign);
        bytes.truncate(len.expect("there is room"));
        bytes
    }
}

fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    parts.iter().for_each(|part| context.update(part));
    *context.sign().as_ref().first_chunk().expect("SHA-1 has 20 bytes")
}

/// Whether `socket` gets an answer to a check that it sends, before another datagram would have been answered.
///
/// # Panics
///
/// When the socket fails.
#[must_use]
pub fn is_answered(socket: &UdpSocket, gateway: SocketAddr, check: &[u8]) -> bool {
    let patience = Duration::from_millis(500);
    socket.set_read_timeout(Some(patience)).expect("it is not zero");
    socket.send_to(check, gateway).expect("the loopback carries it");
    let mut answer = [0; 512];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut answer) else { return false };
        // RFC 8489 §5: a success, of the same transaction. DTLS may come, too.
        let is_success =
            answer[..len].starts_with(&[1, 1]) && answer.get(8..20) == check.get(8..20);
        if from == gateway && is_success {
            return true;
        }
    }
}
