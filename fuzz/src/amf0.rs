//! AMF0: values, and the commands of RTMP that are made of them.

use bytes::BytesMut;
use thalweg_gateway::{
    container::flv::amf0::{MAX_DEPTH, MAX_VALUES, Value},
    protocol::rtmp::command::Command,
};

pub(crate) fn run(input: &[u8]) {
    if let Ok(values) = Value::parse_all(input) {
        let (count, depth) = measure(&values);
        assert!(count <= MAX_VALUES, "{count} values");
        // The values at the top are at depth 0.
        assert!(depth <= MAX_DEPTH + 1, "{depth} deep");
        let encoded = encode(&values);
        let again = Value::parse_all(&encoded).expect("what is written is read");
        // Not by value, since no number that is none equals itself.
        assert_eq!(encode(&again), encoded);
    }
    if let Ok(command) = Command::parse(input) {
        let again = Command::parse(&command.encode()).expect("what is written is read");
        assert_eq!(again.encode(), command.encode());
        std::hint::black_box((command.object(), command.argument(0), command.status_code()));
    }
}

fn encode(values: &[Value]) -> BytesMut {
    let mut out = BytesMut::new();
    values.iter().for_each(|value| value.encode(&mut out));
    out
}

/// How many values there are, and how deep they are nested.
fn measure(values: &[Value]) -> (usize, usize) {
    let inner = |value: &Value| match value {
        Value::StrictArray(values) => measure(values),
        _ => value
            .properties()
            .iter()
            .map(|(_, value)| measure(std::slice::from_ref(value)))
            .fold((0, 0), |(count, depth), (more, other)| (count + more, depth.max(other))),
    };
    let (count, depth) = values
        .iter()
        .map(inner)
        .fold((0, 0), |(count, depth), (more, other)| (count + 1 + more, depth.max(other + 1)));
    (count, depth)
}
