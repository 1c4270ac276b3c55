//! The configuration: a file, or, after a first byte that is odd, environment and arguments line by line.

use thalweg_gateway::config::{Sources, load};

pub(crate) fn run(input: &[u8]) {
    let Some((&kind, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut sources = Sources::default();
    if kind & 1 == 0 {
        sources.file = Some(("thalweg.toml".to_owned(), text.to_owned()));
    } else {
        for line in text.lines() {
            match line.split_once('=') {
                Some((key, value)) if line.starts_with("THALWEG_") => {
                    sources.environment.push((key.to_owned(), value.to_owned()));
                }
                _ => sources.arguments.push(line.to_owned()),
            }
        }
    }
    match load(sources) {
        Ok(loaded) => {
            std::hint::black_box(format!("{loaded:?}"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
