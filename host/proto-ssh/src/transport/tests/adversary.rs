//! What somebody on the wire, or a peer that wishes us ill, can try.
