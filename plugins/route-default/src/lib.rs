//! route-default
