//! Why it cannot be told by reading what a text runs.

use thiserror::Error;

/// Each of these makes a reading one that people have to look at. The text is for them; programs go by `code`.
#[derive(Error, Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Opaque {
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    #[error("it is nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("it has more than {0} commands, words, brackets or here-documents")]
    TooMany(usize),
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it has a NUL byte")]
    Nul,
    #[error("it has a carriage return")]
    CarriageReturn,
    #[error("it is empty")]
    Empty,
    #[error("byte {at}: {what}")]
    Syntax { at: usize, what: &'static str },
    /// Valid in some shell, but nothing that this reader follows.
    #[error("byte {at}: {what} is not followed")]
    Unread { at: usize, what: &'static str },
    #[error("{parser} reads it in another way")]
    Disagreement { parser: &'static str },
    #[error("which command `{0}` is turns out only when it runs")]
    DynamicCommand(String),
    #[error("`{0}` names a command by a pattern")]
    GlobCommand(String),
    #[error("`{program}` runs text that is known only when it runs")]
    Unknown { program: String },
    #[error("`{program}` runs what something else feeds it")]
    Fed { program: String },
    #[error("which file `{0}` is turns out only when the shell opens it")]
    DynamicFile(String),
    #[error("`{0}` is defined in the text and is the name of a command too")]
    Shadowed(String),
    #[error("`{0}` changes what names mean")]
    Redefines(String),
    #[error("`{0}` decides what programs do or which are run")]
    Environment(String),
    #[error("`{program}`: what comes after its option `{option}` cannot be told")]
    Option { program: String, option: String },
    #[error(
        "`{program}` runs other programs by option, and an argument is known only when it runs"
    )]
    DynamicOption { program: String },
    #[error("`{0}` runs other programs in a way that is not followed")]
    Runs(String),
    #[error("`{0}` need not read the text as bash does")]
    OtherShell(String),
    #[error("`{0}` takes lines of the script that it stands in")]
    TakesScript(String),
}

/// Of a name in a reason; the text itself is shown beside it.
const MAX_NAME: usize = 200;

impl Opaque {
    /// With no more of the text in it than people want to read.
    pub(crate) fn shortened(mut self) -> Self {
        let cut = |text: &mut String| {
            if let Some((at, _)) = text.char_indices().nth(MAX_NAME) {
                text.truncate(at);
                text.push('…');
            }
        };
        match &mut self {
            Self::DynamicCommand(text)
            | Self::GlobCommand(text)
            | Self::DynamicFile(text)
            | Self::Unknown { program: text }
            | Self::Fed { program: text }
            | Self::Shadowed(text)
            | Self::Redefines(text)
            | Self::Environment(text)
            | Self::DynamicOption { program: text }
            | Self::Runs(text)
            | Self::OtherShell(text)
            | Self::TakesScript(text) => cut(text),
            Self::Option { program, option } => {
                cut(program);
                cut(option);
            }
            Self::TooLong(_)
            | Self::TooDeep(_)
            | Self::TooMany(_)
            | Self::NotUtf8
            | Self::Nul
            | Self::CarriageReturn
            | Self::Empty
            | Self::Syntax { .. }
            | Self::Unread { .. }
            | Self::Disagreement { .. } => {}
        }
        self
    }

    /// For policies and plugins.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too-long",
            Self::TooDeep(_) => "too-deep",
            Self::TooMany(_) => "too-many",
            Self::NotUtf8 => "not-utf8",
            Self::Nul => "nul",
            Self::CarriageReturn => "carriage-return",
            Self::Empty => "empty",
            Self::Syntax { .. } => "syntax",
            Self::Unread { .. } => "unread",
            Self::Disagreement { .. } => "disagreement",
            Self::DynamicCommand(_) => "dynamic-command",
            Self::GlobCommand(_) => "glob-command",
            Self::DynamicFile(_) => "dynamic-file",
            Self::Unknown { .. } => "unknown-code",
            Self::Fed { .. } => "fed",
            Self::Shadowed(_) => "shadowed",
            Self::Redefines(_) => "redefines",
            Self::Environment(_) => "environment",
            Self::Option { .. } => "option",
            Self::DynamicOption { .. } => "dynamic-option",
            Self::Runs(_) => "runs-others",
            Self::OtherShell(_) => "other-shell",
            Self::TakesScript(_) => "takes-script",
        }
    }
}
