//! mask-pii
