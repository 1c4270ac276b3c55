//! A publisher: messages in, access units to the hub.

use super::{
    server::{Request, Status},
    session::{RtmpEnd, Settings, Wire},
};
use crate::{
    auth::PublishGrant,
    container::flv::FlvDemux,
    hub::{PublishError, Registry, Role, SourceState},
};
use std::io::{Read, Write};
use thalweg_runtime as rt;
use tracing::{info, warn};

/// Publishes until the peer stops, which is `Ok`: it may go on with something else.
pub(super) fn run<S>(
    wire: &mut Wire<'_, S>,
    registry: &Registry,
    grant: &PublishGrant,
    settings: &Settings,
) -> Result<(), RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    let mut publisher = match registry.publish(grant, settings.takes_over) {
        Ok(publisher) => publisher,
        Err(error) => {
            let status = match error {
                PublishError::Busy(_) => Status::BadName,
                PublishError::Closing => Status::Shutdown,
                _ => Status::PublishDenied,
            };
            wire.client.note_refusal(Some(grant.key()), &error, None);
            return Err(wire.refuse(status, &error.to_string()));
        }
    };
    wire.client.set_role(Role::Publisher(grant.key().clone()));
    wire.client.end_at(grant.until());
    info!(stream = %grant.key(), "publishes");
    wire.side.publish_started();
    wire.expect_much();
    let mut demux = FlvDemux::new();
    loop {
        while let Some(request) = wire.next_request()? {
            match request {
                Request::Media(tag) => demux.tag(tag, &mut publisher),
                Request::Stop => {
                    wire.side.publish_stopped();
                    return Ok(());
                }
                // The conversation has no other requests in this phase.
                _ => {}
            }
        }
        while let Some(fault) = demux.take_fault() {
            warn!(%fault, "left out");
        }
        if publisher.source().state() == SourceState::Ended {
            return Err(wire.refuse(Status::Shutdown, "the gateway is shutting down"));
        }
        if !publisher.is_current() {
            wire.side.publish_stopped();
            return Err(RtmpEnd::TakenOver);
        }
        if let Some(limit) = publisher.exceeded_bps() {
            let why =
                format!("more than the {limit} bit/s of limits.bitrate_per_publisher were sent");
            return Err(wire.refuse(Status::PublishDenied, &why));
        }
        let read = rt::timeout(settings.silence, || {
            wire.flush()?;
            wire.read()
        });
        publisher.add_received(read.map_err(|end| end.waiting_for("media"))?);
    }
}
