//! A live media gateway: one publisher in, any number of players out, one coroutine per connection.

pub mod admin;
pub mod audio;
pub mod auth;
pub mod cli;
pub mod config;
pub mod container;
pub mod convert;
pub mod disk;
pub mod hooks;
pub mod http;
pub mod hub;
pub mod key;
pub mod log;
pub mod media;
pub mod naming;
pub mod protocol;
pub mod record;
pub mod secret;
pub mod server;
pub mod tls;
