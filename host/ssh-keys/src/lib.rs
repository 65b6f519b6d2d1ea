//! Keys and certificates of SSH: their formats, signatures and what they are good for.
