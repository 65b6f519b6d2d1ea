//! Which paths on the host the names in records are about.

use super::command::Command;
use crate::transfer::{Direction, Path};

/// The directories that records have entered.
pub(super) struct Names {
    direction: Direction,
    /// As the command names them.
    bases: Vec<Path>,
    /// The one base is a directory.
    directory: bool,
    /// What the directory may be, of each that is open.
    stack: Vec<Vec<Path>>,
}

impl Names {
    pub(super) fn new(command: &Command) -> Self {
        Self {
            direction: command.direction,
            bases: command.paths.clone(),
            directory: command.directory,
            stack: Vec::new(),
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.stack.len()
    }

    pub(super) fn enter(&mut self, paths: Vec<Path>) {
        self.stack.push(paths);
    }

    pub(super) fn leave(&mut self) -> Option<()> {
        self.stack.pop().map(|_| ())
    }

    /// What `name` in a record may be. At least one path, and at most two.
    pub(super) fn paths(&self, name: &[u8]) -> Vec<Path> {
        if let Some(directories) = self.stack.last() {
            return directories.iter().map(|at| entry(at, name)).collect();
        }
        match (self.direction, self.bases.first()) {
            (Direction::Write, Some(base)) if self.directory => vec![entry(base, name)],
            (Direction::Write, Some(base)) => vec![base.clone(), entry(base, name)],
            (Direction::Read, _) => vec![self.source(name)],
            (Direction::Write, None) => vec![Path::unknown()],
        }
    }

    /// A file that the host sends: one of those that were asked for, by its last name.
    fn source(&self, name: &[u8]) -> Path {
        let literal = self.bases.iter().find(|base| {
            let own = base.split().map_or(&*base.text, |(_, own)| own);
            base.known && own.as_bytes() == name
        });
        if let Some(path) = literal {
            return path.clone();
        }
        let beside = match self.bases.first().map(Path::split) {
            Some(Some((directory, _))) => entry(&directory, name),
            _ => Path::resolve(name, None),
        };
        Path {
            known: false,
            ..beside
        }
    }
}

fn entry(directory: &Path, name: &[u8]) -> Path {
    match std::str::from_utf8(name) {
        Ok(name) => directory.entry(name),
        Err(_) => Path {
            known: false,
            ..directory.entry(&crate::transfer::printable(name))
        },
    }
}

/// The path that is put down for a file. Which of two it is, only the host knows.
pub(super) fn one(paths: &[Path]) -> Path {
    let first = paths.first().cloned().unwrap_or_else(Path::unknown);
    Path {
        known: first.known && paths.len() == 1,
        ..first
    }
}
