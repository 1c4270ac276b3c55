//! What files are called: templates of paths.
//!
//! Pure text, so that the check of a configuration and what uses it later agree. Nothing here looks at a file system.

mod template;

pub use template::{Template, TemplateError, Values};
