//! The options and extensions of a certificate: names with data, in the order of their names, each once.

use std::collections::BTreeMap;

use super::CertificateError;
use crate::address::Network;
use crate::public::shown;
use crate::wire::{Put, Reader};

pub(super) const FORCE_COMMAND: &str = "force-command";
pub(super) const SOURCE_ADDRESS: &str = "source-address";
/// More than OpenSSH has, and than anybody needs.
const MAX_OPTIONS: usize = 64;
const MAX_NETWORKS: usize = 64;

/// Names and what they say. Most have nothing to say (a flag) or one text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options(BTreeMap<String, Vec<u8>>);

impl Options {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.0.insert(name.to_owned(), Vec::new());
        self
    }

    #[must_use]
    pub fn text(mut self, name: &str, text: &str) -> Self {
        let mut data = Vec::new();
        data.string(text.as_bytes());
        self.0.insert(name.to_owned(), data);
        self
    }

    #[must_use]
    pub fn sources(self, networks: &[Network]) -> Self {
        let list: Vec<String> = networks.iter().map(Network::to_string).collect();
        self.text(SOURCE_ADDRESS, &list.join(","))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Is it there, and says nothing?
    pub fn has_flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(Vec::is_empty)
    }

    /// The data as it is.
    pub fn data(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Its text, if it is there and says one text and nothing else.
    pub fn get_text(&self, name: &str) -> Option<&str> {
        let mut reader = Reader::new(self.0.get(name)?);
        let text = std::str::from_utf8(reader.string().ok()?).ok()?;
        reader.end().ok()?;
        Some(text)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, CertificateError> {
        let mut reader = Reader::new(bytes);
        let mut options = BTreeMap::new();
        while !reader.is_empty() {
            let name = reader.text()?;
            let data = reader.string()?;
            let last = options
                .last_key_value()
                .map(|(n, _): (&String, &Vec<u8>)| n.as_str());
            // The names of an empty list are all above nothing, an empty name is above nothing at all.
            if name <= last.unwrap_or("") || options.len() >= MAX_OPTIONS {
                return Err(CertificateError::OptionOrder(shown(name.as_bytes())));
            }
            options.insert(name.to_owned(), data.to_vec());
        }
        Ok(Self(options))
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, data) in &self.0 {
            out.string(name.as_bytes()).string(data);
        }
        out
    }

    pub(super) fn force_command(&self) -> Result<Option<String>, CertificateError> {
        if self.data(FORCE_COMMAND).is_none() {
            return Ok(None);
        }
        let command = self
            .get_text(FORCE_COMMAND)
            .filter(|c| !c.is_empty() && !c.contains('\0'));
        let command = command.ok_or(CertificateError::Option(FORCE_COMMAND))?;
        Ok(Some(command.to_owned()))
    }

    pub(super) fn source_address(&self) -> Result<Option<Vec<Network>>, CertificateError> {
        if self.data(SOURCE_ADDRESS).is_none() {
            return Ok(None);
        }
        let unreadable = CertificateError::Option(SOURCE_ADDRESS);
        let Some(list) = self.get_text(SOURCE_ADDRESS) else {
            return Err(unreadable);
        };
        let networks: Result<Vec<Network>, _> = list
            .split(',')
            .take(MAX_NETWORKS + 1)
            .map(str::parse)
            .collect();
        match networks {
            Ok(networks) if networks.len() <= MAX_NETWORKS => Ok(Some(networks)),
            _ => Err(unreadable),
        }
    }
}
