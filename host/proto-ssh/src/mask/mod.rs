//! Hides secrets in text that passes, at the same length, whatever packets and escape sequences it is cut by.
