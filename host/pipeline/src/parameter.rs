//! Values that go with an action: as they were sent, and what they say.

use std::sync::Arc;

/// A parameter of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    Null,
    /// As text. It need not be UTF-8.
    Text(Vec<u8>),
    /// In a binary format: the bytes alone could be read as something else.
    Binary(BinaryValue),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryValue {
    pub bytes: Vec<u8>,
    /// The name of its type, where that is known.
    pub of: Option<Arc<str>>,
    /// The value as text, where its type leaves no doubt about it.
    pub text: Option<String>,
}

impl Parameter {
    /// As they were sent; none for NULL.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Null => None,
            Self::Text(bytes) | Self::Binary(BinaryValue { bytes, .. }) => Some(bytes),
        }
    }

    /// Bytes that it takes besides itself.
    pub fn weight(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(bytes) => bytes.len(),
            Self::Binary(value) => value.bytes.len() + value.text.as_ref().map_or(0, String::len),
        }
    }
}

impl From<Option<&[u8]>> for Parameter {
    /// In text format.
    fn from(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::Null, |bytes| Self::Text(bytes.to_vec()))
    }
}
