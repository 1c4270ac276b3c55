// Watches by WHEP and publishes by WHIP, as any page does that knows RFC 9725 and no more. Tests call `watch()`, `publish()`,
// `leave()` and read `figures()`.
'use strict';

const video = document.querySelector('video');
let peer = null;
let session = null;

// What became of an offer: { status, text, … }.
async function offer(url, { through, only } = {}) {
    await peer.setLocalDescription(await peer.createOffer());
    const headers = { 'content-type': 'application/sdp' };
    const response = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp });
    const text = await response.text();
    if (response.status !== 201) return { status: response.status, text };
    session = { url: new URL(response.headers.get('location'), url), tag: response.headers.get('etag') };
    // A bad network in between: what is sent goes to its port.
    let sdp = through ? text.replace(/(a=candidate:.* (?:udp|tcp) \d+ [\d.]+) \d+ /gi, `$1 ${through} `) : text;
    // A network that lets only this through: the gateway's other addresses are not tried.
    const other = (line) => line.startsWith('a=candidate:') && !line.includes(` ${only} `);
    if (only) sdp = sdp.split('\r\n').filter((line) => !other(line)).join('\r\n');
    await peer.setRemoteDescription({ type: 'answer', sdp });
    return { status: 201, session: session.url.pathname, tag: session.tag };
}

async function watch(url, { through, only, videoOnly } = {}) {
    peer = new RTCPeerConnection();
    peer.addTransceiver('video', { direction: 'recvonly' });
    if (!videoOnly) peer.addTransceiver('audio', { direction: 'recvonly' });
    const media = new MediaStream();
    peer.ontrack = ({ track }) => media.addTrack(track);
    video.srcObject = media;
    return offer(url, { through, only });
}

// Of what codec the pictures are: 'video/H264'.
async function publish(url, codec, { only } = {}) {
    peer = new RTCPeerConnection();
    const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio: true });
    const sender = peer.addTransceiver(media.getVideoTracks()[0], { direction: 'sendonly' });
    peer.addTransceiver(media.getAudioTracks()[0], { direction: 'sendonly' });
    const known = RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => mimeType === codec);
    sender.setCodecPreferences(known);
    return offer(url, { only });
}

async function leave() {
    return (await fetch(session.url, { method: 'DELETE' })).status;
}

async function patch(body, tag) {
    const headers = { 'content-type': 'application/trickle-ice-sdpfrag', ...(tag ? { 'if-match': tag } : {}) };
    const response = await fetch(session.url, { method: 'PATCH', headers, body });
    return { status: response.status, tag: response.headers.get('etag'), text: await response.text() };
}

// A restart of ICE, with the session's own words (RFC 9725 §4.3.3).
async function restart() {
    await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
    const lines = peer.localDescription.sdp.split('\r\n');
    const fragment = lines.filter((line) => /^a=ice-(ufrag|pwd):/.test(line)).slice(0, 2).join('\r\n');
    const answer = await patch(`${fragment}\r\n`, session.tag);
    if (answer.status !== 200) return answer;
    const [, ufrag] = answer.text.match(/a=ice-ufrag:(.*)\r\n/);
    const [, pwd] = answer.text.match(/a=ice-pwd:(.*)\r\n/);
    const sdp = peer.remoteDescription.sdp
        .replace(/a=ice-ufrag:.*\r\n/g, `a=ice-ufrag:${ufrag}\r\n`)
        .replace(/a=ice-pwd:.*\r\n/g, `a=ice-pwd:${pwd}\r\n`);
    await peer.setRemoteDescription({ type: 'answer', sdp });
    return answer;
}

async function figures() {
    const figures = { state: peer.connectionState, size: [video.videoWidth, video.videoHeight] };
    const reports = await peer.getStats();
    for (const report of reports.values()) {
        if (report.type === 'candidate-pair' && report.nominated && report.state === 'succeeded') {
            figures.protocol = reports.get(report.remoteCandidateId)?.protocol;
            figures.address = reports.get(report.remoteCandidateId)?.address;
        }
        if (report.type === 'inbound-rtp' || report.type === 'outbound-rtp') figures[report.kind] = report;
    }
    return figures;
}
