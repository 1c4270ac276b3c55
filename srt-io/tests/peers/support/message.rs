//! Messages that show which one they are, and that nothing happened to them.

use thalweg_badlink::Rng;

/// Seven TS packets, which is what live SRT usually carries.
pub(crate) const BYTES: usize = 1316;

/// The message with this number.
pub(crate) fn encode(number: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(BYTES);
    message.extend(number.to_be_bytes());
    let mut rng = Rng::new(number.into());
    while message.len() < BYTES {
        let bytes = rng.next_u64().to_be_bytes();
        let room = BYTES - message.len();
        message.extend(bytes.iter().take(room));
    }
    message
}

/// The number of a message, if it is as it was made.
pub(crate) fn number(message: &[u8]) -> Option<u32> {
    let number = u32::from_be_bytes(*message.first_chunk()?);
    (message == encode(number)).then_some(number)
}

#[test]
fn a_changed_message_is_recognised() {
    let mut message = encode(7);
    assert_eq!(number(&message), Some(7));
    message[700] ^= 1;
    assert_eq!(number(&message), None);
    assert_eq!(number(&message[..100]), None);
}
