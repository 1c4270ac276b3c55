//! The configuration of HLS as its settings.

use super::Gateway;
use crate::{
    config,
    protocol::hls::{Hls, Segments, Settings},
};

/// HLS for this gateway; `None` when it is turned off.
pub(super) fn new(gateway: &Gateway) -> Option<Hls> {
    let hls = &gateway.config.hls;
    let settings = Settings {
        gate: gateway.gate.clone(),
        registry: gateway.registry.clone(),
        clients: gateway.clients.clone(),
        segments: match hls.segments {
            config::HlsSegments::Auto => Segments::Auto,
            config::HlsSegments::Fmp4 => Segments::Fmp4,
            config::HlsSegments::Ts => Segments::Ts,
        },
        target: hls.target,
        part: hls.part,
        segments_kept: hls.segments_kept,
        stream_bytes: usize::try_from(hls.stream_bytes).unwrap_or(usize::MAX),
        is_always: hls.always || hls.directory.is_some(),
        idle: hls.idle,
        wait: gateway.config.play.wait,
        has_sessions: hls.sessions,
        key_segments: hls.encrypt.then_some(hls.key_segments),
        directory: gateway.disks.hls.clone(),
        on_segment: Some(super::hooks::on_segment(&gateway.hooks)),
    };
    hls.enabled.then(|| Hls::new(settings))
}
