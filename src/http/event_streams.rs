//! How many streams of events a node serves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::refusal;
use super::spec::Load;
use crate::error::Error;
use crate::metrics;

/// How many streams a node serves at once.
pub const MOST_STREAMS: usize = 64;

/// Counts the streams of a node. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct EventStreams(Arc<AtomicUsize>);

/// The place of a stream, until it is dropped.
#[derive(Debug)]
pub struct StreamPlace(EventStreams);

impl EventStreams {
    /// How many streams are open.
    pub fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// 503001 if there are too many streams.
    pub fn enter(&self) -> Result<StreamPlace, Error> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let place = StreamPlace(self.clone());
        if before >= MOST_STREAMS {
            return Err(refusal(Load::View));
        }
        metrics::STREAMS_OPEN.set(before + 1);
        Ok(place)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let before = self.0.0.fetch_sub(1, Ordering::Relaxed);
        metrics::STREAMS_OPEN.set(before.saturating_sub(1));
    }
}
