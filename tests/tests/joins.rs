//! Where players begin, and what they get: in the middle of a GOP, without it, with some of the tracks, over the wrap of
//! the clock, and packet for packet.

use std::{collections::BTreeMap, sync::Arc};
use thalweg_tests::{
    gateway::Gateway,
    media::{Seen, seen_in, transport_stream},
    play::{ALL, HTTP, Out, Recorder, record, record_with},
    srt,
    ts::{Packet, by_pid, continuity_errors, packets},
};

const CAM: &str = "live/cam";
const H264_B_AAC: &str =
    "-c:v libx264 -preset veryfast -bf 2 -g 25 -sc_threshold 0 -b:v 300k -c:a aac";
const H264_AAC: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -b:v 300k -c:a aac";

fn gateway() -> Gateway {
    Gateway::start(&["publish.grace_s=0", "play.wait_ms=20000", "srt.latency_ms=500"])
}

/// Publishes so many times as fast as it plays.
fn publish(gateway: &Gateway, clip: &Arc<[u8]>, seconds: u64, speed: u64) -> srt::Publisher {
    let bytes_per_s = speed * clip.len() as u64 / seconds;
    srt::publish(gateway, CAM, Arc::clone(clip), bytes_per_s)
}

#[test]
fn who_joins_in_the_middle_of_a_gop_decodes_from_the_first_frame() {
    let gateway = gateway();
    let clip = transport_stream(6, H264_B_AAC);
    let publisher = publish(&gateway, &clip, 6, 2);
    gateway.wait_for_frames(CAM, 60);
    let players: Vec<_> = ALL.iter().map(|&out| record(&gateway, out, CAM)).collect();
    publisher.finish().expect("nobody else publishes");
    for player in players {
        let recording = player.finish();
        let case = &recording.case;
        let played = recording.probe();
        let video = played.track("video").unwrap_or_else(|| panic!("{case}: no pictures"));
        assert!(video.packets[0].is_key, "{case}: begins with a picture that needs another");
        assert!(video.packets.len() >= 60, "{case}: {} pictures", video.packets.len());
        assert!(played.count("audio") > 0, "{case}: no sound");
        recording.assert_decodes_silently();
    }
}

#[test]
fn who_wants_no_gop_begins_with_the_next_one() {
    let gateway = gateway();
    // A random-access point each second and a half, so that a join is rarely near one.
    let clip = transport_stream(6, &H264_AAC.replace("-g 25", "-g 37 -sc_threshold 0"));
    let publisher = publish(&gateway, &clip, 6, 1);
    gateway.wait_for_frames(CAM, 45);
    let pairs: Vec<_> = HTTP
        .iter()
        .map(|&out| {
            ["?start=gop", "?start=live"].map(|query| record_with(&gateway, out, CAM, query))
        })
        .collect();
    publisher.finish().expect("nobody else publishes");
    for pair in pairs {
        let [gop, live] = pair.map(Recorder::finish);
        let (case, with, without) = (&live.case, gop.probe(), live.probe());
        let video = &without.track("video").unwrap_or_else(|| panic!("{case}: none")).packets;
        assert!(video[0].is_key, "{case}: begins with a picture that needs another");
        let fewer = with.count("video") - video.len();
        assert!((1..=2 * 37).contains(&fewer), "{case}: {fewer} pictures fewer");
        live.assert_decodes_silently();
    }
}

#[test]
fn players_get_only_the_tracks_that_they_ask_for() {
    let gateway = gateway();
    let clip = transport_stream(3, H264_AAC);
    let original = seen_in(&clip, "ts");
    let mut players = Vec::new();
    for &out in HTTP {
        for (query, kind, other) in
            [("?only=audio", "audio", "video"), ("?only=video", "video", "audio")]
        {
            players.push((record_with(&gateway, out, CAM, query), kind, other));
        }
    }
    gateway.wait_for_players(CAM, players.len());
    publish(&gateway, &clip, 3, 3).finish().expect("nobody else publishes");
    for (player, kind, other) in players {
        let recording = player.finish();
        let (case, played) = (&recording.case, recording.probe());
        assert!(played.track(other).is_none(), "{case}: {played:?}");
        assert!(played.count(kind) + 2 >= original.count(kind), "{case}: {played:?}");
        assert!(played.count(kind) <= original.count(kind), "{case}: {played:?}");
        recording.assert_decodes_silently();
    }
}

#[test]
fn the_clock_of_26_hours_wraps_without_anybody_noticing() {
    let gateway = gateway();
    // 2^33 / 90 000 s is 95 443.7 s (ISO/IEC 13818-1:2019 §2.4.3.7); the muxer begins 1.4 s later than it is told.
    let clip = transport_stream(4, &format!("{H264_B_AAC} -output_ts_offset 95440.5"));
    let plain = seen_in(&transport_stream(4, H264_B_AAC), "ts");
    let players: Vec<_> = ALL.iter().map(|&out| (out, record(&gateway, out, CAM))).collect();
    gateway.wait_for_players(CAM, ALL.len());
    publish(&gateway, &clip, 4, 3).finish().expect("nobody else publishes");
    for (out, player) in players {
        let recording = player.finish();
        let (case, played) = (&recording.case, recording.probe());
        assert_eq!(played.count("video"), plain.count("video"), "{case}");
        assert!(played.count("audio") + 2 >= plain.count("audio"), "{case}");
        assert!(played.tracks.iter().all(|track| track.rises()), "{case}: {played:?}");
        assert_same_pace(case, &plain, &played);
        if !out.is_passthrough() {
            recording.assert_decodes_silently();
        }
    }
}

/// From the first picture to the last it takes as long as in the original.
fn assert_same_pace(case: &str, original: &Seen, played: &Seen) {
    let span = |seen: &Seen| {
        let packets = &seen.track("video").expect("there are pictures").packets;
        packets.last().map_or(0.0, |last| last.dts_s) - packets[0].dts_s
    };
    let (was, is) = (span(original), span(played));
    assert!((was - is).abs() < 0.05, "{case}: took {was} s, takes {is} s");
}

#[test]
fn packets_that_no_demuxer_knows_are_passed_on_like_all_others() {
    let gateway = gateway();
    let clip = with_unknown_stream(&transport_stream(4, H264_AAC));
    let players: Vec<_> =
        [Out::Srt, Out::Ts].iter().map(|&out| record(&gateway, out, CAM)).collect();
    gateway.wait_for_players(CAM, players.len());
    publish(&gateway, &clip, 4, 3).finish().expect("nobody else publishes");
    let sent = packets(&clip);
    let sent = by_pid(&sent);
    for player in players {
        let recording = player.finish();
        let got = packets(&recording.bytes);
        let case = &recording.case;
        assert_eq!(continuity_errors(&got), [], "{case}");
        let got = by_pid(&got);
        for (pid, sent) in &sent {
            assert_passed_on(&format!("{case}: PID {pid}"), *pid, sent, &got);
        }
    }
}

/// All packets from the first that a player got on are what was sent, in order and to the last bit.
fn assert_passed_on(
    case: &str,
    pid: u16,
    sent: &[Packet<'_>],
    got: &BTreeMap<u16, Vec<Packet<'_>>>,
) {
    let got = got.get(&pid).map(Vec::as_slice).unwrap_or_default();
    if pid == 0x1fff {
        // Null packets fill a channel of constant rate; there is none any more.
        return;
    }
    assert!(!got.is_empty(), "{case}: nothing came");
    if is_table(pid) {
        // A player's first tables are the last that were seen, numbered for it.
        let payload = |packet: &Packet<'_>| packet.0[4..].to_vec();
        assert!(got.iter().all(|packet| payload(packet) == payload(&sent[0])), "{case}");
        return;
    }
    // What ends the stream may have been the beginning of a unit only.
    let skipped = sent.iter().position(|packet| packet == &got[0]);
    let skipped = skipped.unwrap_or_else(|| panic!("{case}: the first packet was never sent"));
    assert!(sent[..skipped].iter().filter(|packet| packet.begins()).count() <= 2, "{case}");
    assert_eq!(got, &sent[skipped..], "{case}");
}

const fn is_table(pid: u16) -> bool {
    matches!(pid, 0 | 0x11 | 0x1000)
}

/// Adds a packet of private data after every tenth packet, on a PID that the programme map does not name.
fn with_unknown_stream(clip: &[u8]) -> Arc<[u8]> {
    let mut whole = Vec::new();
    for (at, packet) in packets(clip).iter().enumerate() {
        whole.extend_from_slice(packet.0);
        if at % 10 == 9 {
            let count = u8::try_from(at / 10 % 16).expect("less than 16");
            // PID 0x1f0, the beginning of a unit, payload only.
            whole.extend([0x47, 0x41, 0xf0, 0x10 | count]);
            whole.extend([count; 184]);
        }
    }
    whole.into()
}
