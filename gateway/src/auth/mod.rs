//! Who may publish and who may play: one [`Gate`], asked by every protocol, which answers with a value.
//!
//! A protocol describes what a peer wants in an [`Ask`] and gets a [`PublishGrant`] or a [`PlayGrant`], or a [`Refused`] that it
//! tells the peer in its own words. Nothing else can make a grant, and the hub begins nothing without one; dropping it ends
//! what it allowed.
//!
//! The gate looks at its [`Rules`] first, which takes no time and suspends nowhere: addresses, names and passwords, signed
//! addresses, tokens. Then it asks its checks in turn, which may take
//! as long as they like: web hooks are such checks. What a publisher sends meanwhile waits in the buffers of its socket.

mod ask;
mod gate;
mod grant;
mod jwt;
mod password;
mod refused;
mod rules;
mod signed;

pub use ask::{Action, Ask, Credentials, Visit};
pub use gate::{AtEnd, Gate};
pub use grant::{PlayGrant, PublishGrant, VisitGrant};
pub use jwt::{KeyText, SignedBy, Verifier, VerifierError};
pub use password::User;
pub use refused::Refused;
pub use rules::{Admitted, Rule, Rules, Terms};
pub use signed::Signer;
