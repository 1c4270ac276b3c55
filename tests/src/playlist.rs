//! Playlists of HLS as a test reads them, and the rules that they must keep as a stream goes: those of
//! draft-pantos-hls-rfc8216bis-17, whose sections are cited, and of Apple's "HLS Authoring Specification", which asks for
//! parts of 85 % of their target.

use std::collections::BTreeMap;

/// A media playlist.
#[derive(Clone, Debug, Default)]
pub struct Playlist {
    /// As it came.
    pub text: String,
    /// The target duration.
    pub target_s: f64,
    /// What parts may be at most.
    pub part_target_s: Option<f64>,
    /// The number of the first segment.
    pub first_msn: u64,
    /// How many discontinuities have left.
    pub gone_discontinuities: u64,
    /// How many segments at the beginning were left out.
    pub skipped: u64,
    /// The segments; of the last, only parts may be there.
    pub segments: Vec<Segment>,
    /// The part that comes next.
    pub hint: Option<String>,
    /// Nothing more will come.
    pub has_ended: bool,
    control: BTreeMap<String, String>,
}

/// A segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Its number.
    pub msn: u64,
    /// Its address; `None` while it grows.
    pub uri: Option<String>,
    /// How long it is.
    pub duration_s: f64,
    /// It does not continue the one before.
    pub is_discontinuous: bool,
    /// The init segment.
    pub map: Option<String>,
    /// When it was there, as written.
    pub date: Option<String>,
    /// Its parts, as far as they are named.
    pub parts: Vec<Part>,
}

/// A part of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Its address.
    pub uri: String,
    /// How long it is.
    pub duration_s: f64,
    /// Decoding can begin with it.
    pub is_independent: bool,
}

impl Playlist {
    /// Reads a media playlist.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut playlist = Self { text: text.to_owned(), ..Self::default() };
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("#EXTM3U"), "§4.4.1.1: the first line");
        let (mut next, mut map) = (Segment::default(), None);
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-TARGETDURATION" => playlist.target_s = number(value),
                "#EXT-X-MEDIA-SEQUENCE" => playlist.first_msn = number(value) as u64,
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    playlist.gone_discontinuities = number(value) as u64;
                }
                "#EXT-X-PART-INF" => {
                    playlist.part_target_s = Some(number(&attributes(value)["PART-TARGET"]));
                }
                "#EXT-X-SERVER-CONTROL" => playlist.control = attributes(value),
                "#EXT-X-SKIP" => {
                    playlist.skipped = number(&attributes(value)["SKIPPED-SEGMENTS"]) as u64;
                }
                "#EXT-X-MAP" => map = Some(attributes(value)["URI"].clone()),
                "#EXT-X-DISCONTINUITY" => next.is_discontinuous = true,
                "#EXT-X-PROGRAM-DATE-TIME" => next.date = Some(value.to_owned()),
                "#EXT-X-PART" => next.parts.push(Part::parse(value)),
                "#EXTINF" => next.duration_s = number(value.trim_end_matches(',')),
                "#EXT-X-PRELOAD-HINT" => playlist.hint = Some(attributes(value)["URI"].clone()),
                "#EXT-X-ENDLIST" => playlist.has_ended = true,
                _ if line.starts_with('#') => {}
                _ => {
                    next.uri = Some(line.to_owned());
                    playlist.push(std::mem::take(&mut next), map.clone());
                }
            }
        }
        if !next.parts.is_empty() {
            playlist.push(next, map);
        }
        playlist
    }

    fn push(&mut self, mut segment: Segment, map: Option<String>) {
        segment.msn = self.first_msn + self.skipped + self.segments.len() as u64;
        segment.map = map;
        self.segments.push(segment);
    }

    /// The segments that are whole.
    pub fn whole(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.uri.is_some())
    }

    /// What a player asks for next: a segment and a part of it.
    #[must_use]
    pub fn next(&self) -> (u64, usize) {
        match self.segments.last() {
            Some(growing) if growing.uri.is_none() => (growing.msn, growing.parts.len()),
            Some(last) => (last.msn + 1, 0),
            None => (self.first_msn, 0),
        }
    }

    /// Fails if the playlist breaks a rule by itself.
    ///
    /// # Panics
    ///
    /// When it does.
    pub fn check(&self) {
        let text = &self.text;
        assert!(self.target_s >= 1.0, "§4.4.3.1: EXT-X-TARGETDURATION\n{text}");
        for segment in self.whole() {
            let rounded = segment.duration_s.round();
            assert!(rounded <= self.target_s, "§4.4.3.1: a segment is too long\n{text}");
            assert!(segment.date.is_some(), "every segment has a date\n{text}");
        }
        for pair in self.segments.windows(2).filter(|pair| !pair[1].is_discontinuous) {
            let (Some(before), Some(after)) = (&pair[0].date, &pair[1].date) else { continue };
            let distance = (seconds_of_day(after) - seconds_of_day(before)).rem_euclid(86_400.0);
            let error = (distance - pair[0].duration_s).abs();
            assert!(error < 0.1, "§4.4.4.6: dates and durations differ\n{text}");
        }
        if let Some(target_s) = self.part_target_s {
            self.check_parts(target_s);
        }
    }

    /// What holds for Low-Latency HLS.
    fn check_parts(&self, target_s: f64) {
        let text = &self.text;
        let control = |name: &str| self.control.get(name).cloned().unwrap_or_default();
        assert_eq!(control("CAN-BLOCK-RELOAD"), "YES", "§4.4.3.8\n{text}");
        let hold_back = number(&control("PART-HOLD-BACK"));
        assert!(hold_back + 1e-9 >= 3.0 * target_s, "§4.4.3.8: PART-HOLD-BACK\n{text}");
        let skip = number(&control("CAN-SKIP-UNTIL"));
        assert!(skip + 1e-9 >= 6.0 * self.target_s, "§4.4.3.8: CAN-SKIP-UNTIL\n{text}");
        for segment in &self.segments {
            for (at, part) in segment.parts.iter().enumerate() {
                assert!(part.duration_s <= target_s + 1e-9, "§4.4.3.7: PART-TARGET\n{text}");
                let is_last = segment.uri.is_some() && at + 1 == segment.parts.len();
                let share = part.duration_s / target_s;
                assert!(is_last || share >= 0.85, "a part of {share} of its target\n{text}");
            }
            let sum: f64 = segment.parts.iter().map(|part| part.duration_s).sum();
            let differs = (sum - segment.duration_s).abs() > 0.05;
            let is_all = segment.uri.is_some() && !segment.parts.is_empty();
            assert!(!(is_all && differs), "parts of {sum} s in {segment:?}");
        }
        // §6.2.2: the parts of the last three target durations are named.
        let mut until_end = 0.0;
        for segment in self.segments.iter().rev() {
            let has_parts = !segment.parts.is_empty();
            assert!(has_parts || until_end >= 3.0 * self.target_s - 0.01, "§6.2.2\n{text}");
            until_end += segment.duration_s.max(segment.parts.iter().map(|p| p.duration_s).sum());
        }
        if !self.has_ended {
            let hint = self.hint.as_deref().unwrap_or_default();
            let (msn, part) = self.next();
            assert!(hint.contains(&format!("-{msn}.{part}.")), "§4.4.5.3: {hint}\n{text}");
        }
    }

    /// Fails if the playlist does not continue an earlier one (§6.2.1, §6.2.2).
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn check_follows(&self, earlier: &Self) {
        let text = format!("{}\nafter\n{}", self.text, earlier.text);
        assert!(self.first_msn >= earlier.first_msn, "§6.2.2: numbers rise\n{text}");
        assert_eq!(self.target_s, earlier.target_s, "§6.2.1: the target is fixed\n{text}");
        let is_same_part = earlier.part_target_s == self.part_target_s;
        assert!(is_same_part, "§6.2.1: the part target is fixed\n{text}");
        let left = |list: &Self| {
            let gone = earlier.segments.iter().filter(|s| s.msn < list.first_msn);
            gone.filter(|segment| segment.is_discontinuous).count() as u64
        };
        let gone = earlier.gone_discontinuities + left(self);
        assert_eq!(self.gone_discontinuities, gone, "§4.4.3.3\n{text}");
        for segment in &self.segments {
            let Some(known) = earlier.segments.iter().find(|known| known.msn == segment.msn) else {
                continue;
            };
            assert!(known.uri.is_none() || known.uri == segment.uri, "§6.2.2: a name\n{text}");
            assert_eq!(known.date, segment.date, "a date has changed\n{text}");
            let is_prefix = segment.parts.is_empty() || segment.parts.starts_with(&known.parts);
            assert!(is_prefix, "a part has changed\n{text}");
        }
    }
}

impl Part {
    fn parse(value: &str) -> Self {
        let attributes = attributes(value);
        Self {
            uri: attributes["URI"].clone(),
            duration_s: number(&attributes["DURATION"]),
            is_independent: attributes.get("INDEPENDENT").is_some_and(|value| value == "YES"),
        }
    }
}

/// The attributes of a tag (§4.2), without the quotes around texts.
///
/// # Panics
///
/// When it is no list of attributes.
#[must_use]
pub fn attributes(list: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = list;
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a text ends in a quote"),
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        assert!(found.insert(name.to_owned(), value.to_owned()).is_none(), "twice: {name}");
        rest = after.strip_prefix(',').unwrap_or_default();
    }
    found
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("a number: {text}"))
}

/// Of a date in UTC with milliseconds.
fn seconds_of_day(date: &str) -> f64 {
    let time = date.split_once('T').and_then(|(_, time)| time.strip_suffix('Z'));
    let fields = time.expect("ISO 8601 in UTC").split(':').map(number);
    fields.fold(0.0, |sum, field| sum * 60.0 + field)
}
