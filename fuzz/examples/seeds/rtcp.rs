//! Seeds of RTCP: a compound of each kind that browsers send, and one of all.

use crate::Corpus;

pub(crate) fn all(corpus: &Corpus) {
    let report = packet(201, 1, &[1, 7, 0x4000_0003, 9, 5, 0xabcd_1234, 65_536]);
    let name = packet(202, 1, &[1, 0x0104_6162, 0x6364_0000]);
    let missing = packet(205, 1, &[1, 7, 0xffff_8001, 0x0020_0000]);
    // Three that arrived, one bit each for fourteen, two bits each for seven; the rest are times.
    let arrivals = packet(205, 15, &[1, 0, 0xfffe_0018, 0x0000_0901, 0x2003_a001, 0xd800_0404]);
    let picture = packet(206, 1, &[1, 7]);
    let intra = packet(206, 4, &[1, 0, 7, 0x0500_0000]);
    let sender = packet(200, 1, &[1, 2, 3, 4, 5, 6, 7, 0x4000_0003, 9, 5, 0xabcd_1234, 65_536]);
    let seeds = [
        ("report", &report),
        ("missing", &missing),
        ("arrivals", &arrivals),
        ("picture_loss", &picture),
        ("full_intra_request", &intra),
        ("sender_report", &sender),
    ];
    for (kind, seed) in seeds {
        corpus.put("rtcp", kind, seed);
    }
    corpus.put("rtcp", "all", &[report, name, missing, arrivals, picture, intra].concat());
}

fn packet(kind: u8, format: u8, words: &[u32]) -> Vec<u8> {
    let len = u8::try_from(words.len()).expect("it is short");
    let mut packet = vec![0x80 | format, kind, 0, len];
    packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    packet
}
