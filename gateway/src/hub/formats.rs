//! The containers as formats of the hub.

use super::Format;
use crate::container::{Select, flv::FlvMux, fmp4::Fmp4, ts::TsMux};

impl Format for FlvMux {
    const NAME: &'static str = "flv";

    fn new(select: Select) -> Self {
        Self::new(select)
    }
}

impl Format for TsMux {
    const NAME: &'static str = "ts";

    fn new(select: Select) -> Self {
        Self::new(select)
    }
}

impl Format for Fmp4 {
    const NAME: &'static str = "mp4";

    fn new(select: Select) -> Self {
        Self::new(select)
    }
}
