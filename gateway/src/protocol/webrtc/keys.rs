//! The keys of SRTP, as the DTLS handshake makes them (RFC 5764 §4.2).
//!
//! The stack keeps them to itself. But it takes its DTLS from a provider, so ours stands in between, does nothing by itself
//! and listens.

use std::{cell::Cell, fmt, time::Instant};
use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{
        DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion,
        ProtocolVersion, SrtpProfile,
    },
    from_feature_flags,
};

/// What both sides of one connection derive the keys of their packets from.
pub(super) struct Keys {
    pub(super) profile: SrtpProfile,
    pub(super) ours: Master,
    pub(super) theirs: Master,
}

/// The master key and salt of one direction (RFC 3711 §3.2.1).
pub(super) struct Master {
    pub(super) key: Vec<u8>,
    pub(super) salt: Vec<u8>,
}

thread_local! {
    /// Those of the handshake that ended last, until its peer takes them: at once, before anybody else gets a turn.
    static LATEST: Cell<Option<Keys>> = const { Cell::new(None) };
}

/// Cryptography as str0m has it, with DTLS whose keys can be taken.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider { dtls_provider: &Listening, ..from_feature_flags() }
}

/// The keys of the handshake that the stack has just ended, once.
pub(super) fn take() -> Option<Keys> {
    LATEST.take()
}

impl Keys {
    /// From what the handshake exports: the keys of client and server, then their salts (RFC 5764 §4.2).
    pub(super) fn new(profile: SrtpProfile, material: &[u8], is_client: bool) -> Option<Self> {
        let (key, salt) = lengths(profile)?;
        if material.len() != 2 * (key + salt) {
            return None;
        }
        let (keys, salts) = material.split_at(2 * key);
        let ((a, b), (c, d)) = (keys.split_at(key), salts.split_at(salt));
        let master = |key: &[u8], salt: &[u8]| Master { key: key.to_vec(), salt: salt.to_vec() };
        let (client, server) = (master(a, c), master(b, d));
        let (ours, theirs) = if is_client { (client, server) } else { (server, client) };
        Some(Self { profile, ours, theirs })
    }
}

/// The lengths of a master key and of a master salt (RFC 5764 §4.1.2, RFC 7714 §14.2).
const fn lengths(profile: SrtpProfile) -> Option<(usize, usize)> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some((16, 14)),
        SrtpProfile::AEAD_AES_128_GCM => Some((16, 12)),
        SrtpProfile::AEAD_AES_256_GCM => Some((32, 12)),
        _ => None,
    }
}

#[derive(Debug)]
struct Listening;

#[derive(Debug)]
struct Handshake(Box<dyn DtlsInstance>);

impl DtlsProvider for Listening {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let dtls = from_feature_flags().dtls_provider.new_dtls(certificate, now, version, mtu)?;
        Ok(Box::new(Handshake(dtls)))
    }
}

impl DtlsInstance for Handshake {
    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let is_client = self.0.is_active();
        let output = self.0.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            LATEST.set(Keys::new(*profile, material, is_client));
        }
        output
    }

    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_seals_with_its_own_half() {
        let material: Vec<u8> = (0..56).collect();
        let keys = |is_client| Keys::new(SrtpProfile::AEAD_AES_128_GCM, &material, is_client);
        let (client, server) = (keys(true).unwrap(), keys(false).unwrap());
        assert_eq!(
            (&client.ours.key[..], &client.ours.salt[..]),
            (&material[..16], &material[32..44])
        );
        assert_eq!(
            (&client.ours.key, &client.ours.salt),
            (&server.theirs.key, &server.theirs.salt)
        );
        assert_eq!(
            (&server.ours.key[..], &server.ours.salt[..]),
            (&material[16..32], &material[44..])
        );
    }

    #[test]
    fn material_of_another_length_makes_no_keys() {
        for profile in SrtpProfile::ALL {
            assert!(Keys::new(*profile, &[7; 50], true).is_none());
        }
    }
}
