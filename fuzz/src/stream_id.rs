//! SRT stream ids: any bytes, in any dialect.

use thalweg_gateway::key::StreamKey;
use thalweg_srt_io::{StreamId, stream_id::MAX_LEN};

/// What must not be shown, whatever stands around it.
const SECRET: &str = "hunter2-hunter2";

pub(crate) fn run(input: &[u8]) {
    let Ok(id) = StreamId::parse_bytes(input) else { return };
    assert_eq!(id.original().as_bytes(), input);
    let shown = format!("{id} {id:?}");
    assert!(!shown.contains(char::is_control), "a control character is shown");
    if !id.original().contains(SECRET) {
        let secretive = id.clone().with_session(SECRET).with_param("token", SECRET);
        let shown = format!("{secretive} {secretive:?}");
        assert!(!shown.contains(SECRET), "a secret is shown");
    }
    if let Some(resource) = id.resource() {
        check_key(resource);
    }
    let Ok(text) = id.encode() else { return };
    assert!(text.len() <= MAX_LEN);
    // A query in a value is taken apart again, as in what others write, and may be none that is allowed.
    if text.contains('?') {
        return;
    }
    let again = StreamId::parse(&text).expect("what is written is read");
    let parts = |id: &StreamId| {
        let [resource, host, user, session] =
            [id.resource(), id.host(), id.user(), id.session()].map(|part| part.map(str::to_owned));
        (resource, host, user, session, id.mode(), id.stream_type().cloned(), id.params().to_vec())
    };
    // So is a path.
    if !text.contains('/') && !text.ends_with("#feedbackplay") {
        assert_eq!(parts(&again), parts(&id), "{text}");
        assert_eq!(again.encode().as_deref(), Ok(&*text), "writing what was read changes it");
    }
    let host_first = id.with_host_first();
    std::hint::black_box(host_first.to_string());
}

/// A stream key writes itself as it is read.
fn check_key(text: &str) {
    let Ok(key) = text.parse::<StreamKey>() else { return };
    assert!(key.path().len() <= StreamKey::LEN_MAX);
    assert_eq!(format!("{}/{}", key.app(), key.name()), key.path());
    assert_eq!(key.path().parse::<StreamKey>().as_ref(), Ok(&key));
}
