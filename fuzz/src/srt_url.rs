//! `srt://` URLs, as both kinds of tools write them.

use thalweg_srt_io::{SrtUrl, url::Units};

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for units in [Units::Milliseconds, Units::Ffmpeg] {
        let url = match SrtUrl::parse_as(text, units) {
            Ok(url) => url,
            Err(error) => {
                std::hint::black_box(error.to_string());
                continue;
            }
        };
        std::hint::black_box(format!("{url:?} {:?}", url.warnings()));
        let written = url.to_string();
        let again = SrtUrl::parse(&written);
        let again = again.unwrap_or_else(|error| panic!("{written:?} is not read: {error}"));
        assert_eq!(again.to_string(), written);
        assert_eq!(
            (again.host(), again.port(), again.mode(), again.adapter(), again.local_port()),
            (url.host(), url.port(), url.mode(), url.adapter(), url.local_port()),
        );
        assert!(again.options() == url.options(), "{written:?} has other options");
    }
}
