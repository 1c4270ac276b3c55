//! Configurations of SRS, made into ours.
//!
//! `syntax` reads directives and blocks; `rules` says what each means here; `draft` gathers keys and writes TOML. What is
//! written is read once more by `config`, so that it is a configuration that the gateway takes, and never half of one. What has
//! no equivalent is a [`Note`] with its line.
//!
//! Directives are those of SRS 5 to 7, by its documentation. `include` and variables of the environment are not followed.

mod access;
mod draft;
mod rules;
mod syntax;
mod vhost;

pub use syntax::SyntaxError;

use crate::config::{self, Sources};
use draft::Draft;

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Ours.
    pub toml: String,
    /// What is not in it, in the order of the lines.
    pub notes: Vec<Note>,
}

/// Something about a line of SRS's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line, from 1.
    pub line: usize,
    /// What is to be known of it.
    pub text: String,
}

/// Converts the text of a file.
///
/// # Errors
///
/// When it is no configuration of SRS.
pub fn convert(text: &str) -> Result<Converted, SyntaxError> {
    let directives = syntax::parse(text)?;
    let mut draft = Draft::default();
    rules::file(&directives, &mut draft);
    // A key whose value the gateway would not take is left out and told, one by one.
    loop {
        let toml = draft.toml();
        let file = Some(("gateway.toml".to_owned(), toml.clone()));
        match config::load(Sources { file, ..Sources::default() }) {
            Ok(_) => return Ok(Converted { toml, notes: draft.into_notes() }),
            Err(error) => {
                let fault =
                    error.faults().first().map(|fault| (fault.line(), fault.what().to_owned()));
                let (line, what) = fault.unwrap_or_default();
                draft.drop_line(line, &what);
            }
        }
    }
}

#[cfg(test)]
mod tests;
