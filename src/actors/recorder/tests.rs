//! Tests of the RecorderActor.
