//! Tests of frames and messages.
