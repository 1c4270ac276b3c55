//! A player: shared chunks out, and what it says meanwhile in.

use super::{
    RtmpMux,
    mux::{ENHANCED, LEGACY, MULTITRACK},
    server::{Request, Status},
    session::{RtmpEnd, Settings, Wire},
};
use crate::{
    auth::PlayGrant,
    container::{Select, flv::Carriage},
    hub::{Batch, Client, Registry, Role, Source, Start, SubscribeError, Subscriber},
    protocol::play::write_batch,
};
use std::{
    cell::Cell,
    io::{Read, Write},
    rc::Rc,
};
use thalweg_runtime::{
    self as rt, WaitError,
    sync::{Event, Mutex},
};
use tracing::info;

/// Plays until the peer stops, which is `Ok`: it may go on with something else.
pub(super) fn run<S>(
    wire: &mut Wire<'_, S>,
    registry: &Registry,
    grant: &PlayGrant,
    settings: &Settings,
) -> Result<(), RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    // The answers so far, since this may take a while.
    wire.flush()?;
    // It counts as a player while it waits, so that the API shows who waits for what.
    wire.client.set_role(Role::Player(grant.key().clone()));
    wire.client.end_at(grant.until());
    let source = match registry.wait_for(grant, rt::now() + settings.wait) {
        Ok(source) => source,
        Err(SubscribeError::Wait(error)) => return Err(RtmpEnd::Wait(error)),
        Err(error) => {
            wire.client.note_refusal(Some(grant.key()), &error, None);
            return Err(wire.refuse(Status::StreamNotFound, &error.to_string()));
        }
    };
    let carriage = wire.abilities().carriage(settings.silent_player);
    let subscriber = subscribe(&source, carriage, settings.start)?;
    wire.client.begin_play(Some(subscriber.lag()));
    info!(stream = %grant.key(), ?carriage, "plays");
    wire.side.play_started();
    rt::timeout(settings.stall, || wire.flush()).map_err(stalled)?;
    let end = write_and_listen(wire, subscriber, settings);
    match &end {
        Ok(()) => wire.side.play_stopped(),
        Err(RtmpEnd::Unpublished) => wire.side.play_unpublished(),
        Err(_) => {}
    }
    end
}

/// Two coroutines: one sends chunks, the other handles what the player says. Either's end is the other's.
fn write_and_listen<S>(
    wire: &mut Wire<'_, S>,
    subscriber: Subscriber,
    settings: &Settings,
) -> Result<(), RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    let (stream, client) = (wire.stream, wire.client);
    // Chunks and answers take turns, each in one piece.
    let turn = Mutex::new(());
    let over = Event::new();
    let (written, heard) = (Cell::new(None), Cell::new(None));
    rt::scope(|s| {
        let writer = s.spawn(|| {
            written.set(Some(write(stream, client, subscriber, &turn, settings)));
            over.set();
        });
        let reader = s.spawn(|| {
            heard.set(Some(listen(wire, &turn, settings)));
            over.set();
        });
        let waited = over.wait();
        writer.cancel();
        reader.cancel();
        waited
    })?;
    // The one that did not end first was cancelled.
    match (heard.take(), written.take()) {
        (Some(Err(RtmpEnd::Wait(WaitError::Cancelled))) | None, Some(end)) => Err(end),
        (Some(heard), _) => heard,
        (None, None) => Err(RtmpEnd::Wait(WaitError::Cancelled)),
    }
}

fn subscribe(source: &Rc<Source>, carriage: Carriage, start: Start) -> Result<Subscriber, RtmpEnd> {
    let select = Select::All;
    Ok(match carriage {
        Carriage::Legacy => source.subscribe::<RtmpMux<LEGACY>>(select, start)?,
        Carriage::Enhanced => source.subscribe::<RtmpMux<ENHANCED>>(select, start)?,
        Carriage::Multitrack => source.subscribe::<RtmpMux<MULTITRACK>>(select, start)?,
    })
}

/// Sends chunks; returns why it stopped.
fn write<S>(
    stream: &S,
    client: &Client,
    mut subscriber: Subscriber,
    turn: &Mutex<()>,
    settings: &Settings,
) -> RtmpEnd
where
    for<'a> &'a S: Read + Write,
{
    let mut batch = Batch::default();
    loop {
        if let Err(end) = subscriber.recv(&mut batch) {
            return end.into();
        }
        client.skips.set(subscriber.skips());
        let written = rt::timeout(settings.stall, || -> Result<_, RtmpEnd> {
            let _turn = turn.lock()?;
            let mut out = stream;
            let head = batch.head.as_deref().unwrap_or_default();
            Ok(write_batch(&mut out, head, &batch.chunks)?)
        });
        match written {
            Ok(count) => client.add_sent(count),
            Err(end) => return stalled(end),
        }
    }
}

/// Handles what the player says until it stops.
fn listen<S>(wire: &mut Wire<'_, S>, turn: &Mutex<()>, settings: &Settings) -> Result<(), RtmpEnd>
where
    for<'a> &'a S: Read + Write,
{
    loop {
        while let Some(request) = wire.next_request()? {
            if request == Request::Stop {
                return Ok(());
            }
        }
        if wire.side.has_output() {
            rt::timeout(settings.stall, || {
                let _turn = turn.lock()?;
                wire.flush()
            })
            .map_err(stalled)?;
        }
        wire.read()?;
    }
}

fn stalled(end: RtmpEnd) -> RtmpEnd {
    end.waiting_for("the player to take what there is")
}
