//! proto-pg
