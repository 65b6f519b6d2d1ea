//! The tree of a shell text, as `parse` reads it. Words keep how they were quoted, because that decides what
//! becomes of them.

/// Commands one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<Item>,
}

/// Pipelines that hang together by `&&` and `||`.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) first: Pipeline,
    pub(crate) rest: Vec<(Join, Pipeline)>,
    pub(crate) background: bool,
    /// The line ends behind it.
    pub(crate) ends_line: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    And,
    Or,
}

#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) negated: bool,
    pub(crate) timed: bool,
    pub(crate) stages: Vec<Stage>,
}

/// One command of a pipeline, with what it is redirected to.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) redirects: Vec<Redirect>,
    /// `|&` follows: its errors go into the pipe too.
    pub(crate) errors_too: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Simple(Simple),
    Group(List),
    Subshell(List),
    If {
        arms: Vec<(List, List)>,
        otherwise: Option<List>,
    },
    Loop {
        until: bool,
        test: List,
        body: List,
    },
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: List,
    },
    Case {
        word: Word,
        arms: Vec<Arm>,
    },
    Function {
        name: String,
        body: Box<Stage>,
    },
    /// `[[ … ]]`.
    Test(Vec<TestPiece>),
}

#[derive(Debug, Clone)]
pub(crate) enum TestPiece {
    Word(Word),
    /// `&&`, `||`, `!`, `(`, `)`, `<`, `>`.
    Mark(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) struct Arm {
    pub(crate) patterns: Vec<Word>,
    pub(crate) body: List,
    /// `;;`, `;&` or `;;&`.
    pub(crate) end: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Simple {
    pub(crate) assigns: Vec<Assign>,
    pub(crate) words: Vec<Word>,
}

#[derive(Debug, Clone)]
pub(crate) struct Assign {
    pub(crate) name: String,
    pub(crate) append: bool,
    pub(crate) value: Word,
}

#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    pub(crate) fd: Option<u32>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `<`, `>`, `>>`, `>|`, `<>`.
    File(&'static str, Word),
    /// `<&` and `>&` with a number or `-`.
    Dup(&'static str, String),
    /// `&>` and `&>>`.
    Both {
        append: bool,
        target: Word,
    },
    /// Which of the program's here-documents.
    Here(usize),
    HereString(Word),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct HereDoc {
    /// With leading tabs taken off where `<<-` says so.
    pub(crate) body: String,
    /// Nothing in the body is expanded.
    pub(crate) literal: bool,
    /// Otherwise: what is expanded in it.
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Word {
    pub(crate) parts: Vec<Part>,
    /// As it is written, without line continuations.
    pub(crate) raw: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Lit {
        text: String,
        quoted: bool,
    },
    /// `$x` or `${x…}`, as written; the words in it.
    Param {
        raw: String,
        quoted: bool,
        inner: Vec<Part>,
    },
    Subst {
        sub: Box<Sub>,
        raw: String,
        quoted: bool,
    },
    /// `$(( … ))` of numbers.
    Arith {
        raw: String,
        quoted: bool,
    },
    /// `<( … )` or `>( … )`.
    Process {
        sub: Box<Sub>,
        raw: String,
        write: bool,
    },
}

/// A text of its own within a word.
#[derive(Debug, Clone)]
pub(crate) struct Sub {
    pub(crate) list: List,
}

/// What other parsers have to find too: the words of each simple command, and the names in redirections, as they
/// are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) files: Vec<String>,
}
