//! The target's side: dials, checks the host's key, proves who we are, and is the only way out.
