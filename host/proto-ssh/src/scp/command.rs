//! The command line that starts the other end: `scp -t` and `scp -f`.

use crate::transfer::{Direction, Path};

/// What `scp` is started for on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// `Write`: `-t`, files go to the host.
    pub direction: Direction,
    /// With `-t` exactly one.
    pub paths: Vec<Path>,
    /// `-r`
    pub recursive: bool,
    /// `-d`: the path has to be a directory.
    pub directory: bool,
}

impl Command {
    /// Reads the words of the command line, quotes removed; the first is the program. `literal`: the shell changes
    /// nothing of them. None: it is not how a client starts scp, and nothing can be said about it.
    pub fn parse(argv: &[impl AsRef<str>], literal: bool) -> Option<Self> {
        let (mut to, mut from, mut recursive, mut directory) = (false, false, false, false);
        let mut words = argv.iter().map(AsRef::as_ref).skip(1).peekable();
        while let Some(options) = words.next_if(|word| word.starts_with('-') && word.len() > 1) {
            if options == "--" {
                break;
            }
            for option in options.chars().skip(1) {
                match option {
                    't' => to = true,
                    'f' => from = true,
                    'r' => recursive = true,
                    'd' => directory = true,
                    'p' | 'v' | 'q' => {}
                    _ => return None,
                }
            }
        }
        let mut paths: Vec<Path> = words
            .map(|word| Path::resolve(word.as_bytes(), None))
            .collect();
        for path in &mut paths {
            path.known &= literal;
        }
        let direction = match (to, from) {
            (true, false) if paths.len() == 1 => Direction::Write,
            (false, true) if !paths.is_empty() => Direction::Read,
            _ => return None,
        };
        Some(Self {
            direction,
            paths,
            recursive,
            directory,
        })
    }
}
