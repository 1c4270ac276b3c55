//! Encrypted connections with srt-live-transmit, and with one who does not know the passphrase.

use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::options::KeyLength;
use thalweg_srt_io::{ConnectError, KeyState, Listener, Options, RejectReason, Socket};

use super::support::exchange::{ROLES, Terms, Way, exchange, meet, transmit};
use super::support::tool::free_addr;
use super::support::{live, run};

const SECRET: &str = "correct-horse-battery";

fn exchange_encrypted(length: KeyLength, bytes: usize) {
    run(move || {
        for role in ROLES {
            let terms = Terms::new(role);
            let params = format!("{}&passphrase={SECRET}&pbkeylen={bytes}", terms.params);
            let options = terms.options.clone().passphrase(SECRET).key_length(length);
            let terms = Terms { options, params, ..terms };
            exchange(Way::FromTool, &terms)?;
            exchange(Way::ToTool, &terms)?;
            let met = meet(Way::FromTool, &terms)?;
            assert_eq!(met.socket.encryption()?.recv, KeyState::Secured);
        }
        Ok(())
    });
}

#[test]
fn aes_128_serves_both_roles_and_directions() {
    exchange_encrypted(KeyLength::Aes128, 16);
}

#[test]
fn aes_192_serves_both_roles_and_directions() {
    exchange_encrypted(KeyLength::Aes192, 24);
}

#[test]
fn aes_256_serves_both_roles_and_directions() {
    exchange_encrypted(KeyLength::Aes256, 32);
}

#[test]
fn a_caller_with_the_wrong_passphrase_is_told_so_and_so_is_the_listener() {
    is_rejected(live().passphrase(SECRET), RejectReason::BAD_SECRET, "BADSECRET");
}

#[test]
fn a_caller_without_a_passphrase_is_told_so_and_so_is_the_listener() {
    is_rejected(live(), RejectReason::UNSECURE, "UNSECURE");
}

/// Calls a tool that has another passphrase; the tool must say `words`.
fn is_rejected(options: Options, expected: RejectReason, words: &'static str) {
    run(move || {
        let addr = free_addr("127.0.0.1")?;
        let url = format!("srt://{addr}?mode=listener&passphrase=0123456789");
        let tool = transmit(Way::ToTool, &url)?;
        match Socket::connect(addr, &options) {
            Err(ConnectError::Rejected { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
        tool.wait_for(words)
    });
}

#[test]
fn a_tool_with_the_wrong_passphrase_is_told_so_and_never_accepted() {
    run(|| {
        let listener = Listener::bind("127.0.0.1:0", &live().passphrase(SECRET))?;
        let url = format!("srt://{}?passphrase=0123456789", listener.local_addr());
        let tool = transmit(Way::FromTool, &url)?;
        tool.wait_for("Incorrect passphrase")?;
        // The library answers such a caller by itself, behind the admission's back, and says so in its log.
        let accepted = listener.accept_until(rt::now() + Duration::from_millis(100));
        assert!(accepted.is_err(), "{accepted:?}");
        Ok(())
    });
}
