//! Where a command of a gated shell stands.

/// Where a command stands when it is asked about, as far as bash itself can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The current directory, from the root on; none: it cannot be told.
    pub directory: Option<String>,
    /// Files that are open there and stand in no text: those of a redirection around several commands.
    pub open: Vec<String>,
}

impl Place {
    /// A relative path, from the root on. Of a home directory nothing is known here.
    pub fn absolute(&self, path: &str) -> Option<String> {
        let directory = self.directory.as_deref()?;
        let relative = !path.is_empty() && !path.starts_with(['/', '~']);
        relative.then(|| format!("{}/{path}", directory.trim_end_matches('/')))
    }
}
