//! Moves both directions, follows every channel, and asks `pipeline::decide`.
