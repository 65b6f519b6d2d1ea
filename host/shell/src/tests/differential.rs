//! Against real shells.
