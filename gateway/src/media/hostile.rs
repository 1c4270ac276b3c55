//! What a peer may make of good bytes, for the tests of every parser.

/// Calls `check` with every truncation of `good`, every byte flipped in turn in several ways, and many random changes
/// and random bytes, always the same. An input at which it panics is printed.
pub(super) fn each_mutation(good: &[u8], mut check: impl FnMut(&[u8])) {
    let mut run = |bytes: &[u8]| {
        let _report = Report(bytes);
        check(bytes);
    };
    for end in 0..=good.len() {
        run(&good[..end]);
    }
    for at in 0..good.len() {
        for change in [0xff, 0x80, 0x40, 0x20, 0x10, 8, 4, 2, 1, good[at]] {
            let mut bytes = good.to_vec();
            bytes[at] ^= change;
            run(&bytes);
        }
    }
    let mut random = Random(0x7468_616c_7765_6701);
    for _ in 0..4_000 {
        let mut bytes = good.to_vec();
        for _ in 0..1 + random.below(6) {
            if let Some(byte) = random.pick(&mut bytes) {
                *byte = random.next() as u8;
            }
        }
        bytes.truncate(bytes.len() - random.below(4).min(bytes.len()));
        run(&bytes);
    }
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..random.below(96)).map(|_| random.next() as u8).collect();
        run(&bytes);
    }
}

/// Prints its bytes when dropped in a panic.
struct Report<'a>(&'a [u8]);

impl Drop for Report<'_> {
    #[expect(clippy::print_stderr, reason = "the input that fails a test belongs to its output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the parser failed on {:02x?}", self.0);
        }
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 24
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, bytes: &'a mut [u8]) -> Option<&'a mut u8> {
        let at = self.below(bytes.len());
        bytes.get_mut(at)
    }
}
