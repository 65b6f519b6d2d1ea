//! Two other parsers are asked what they find in a text that this crate has read: brush's and tree-sitter's grammar
//! of bash. Where one of them finds other commands, other words or other files, nobody knows what a shell would do,
//! and the reading is opaque.
//!
//! They see only texts that `parse` has accepted: valid UTF-8 of bounded length and depth. brush's parser recurses
//! and can panic on what it does not expect, so it runs on a stack of its own; a panic there counts as a
//! disagreement. Neither descends into words: what is in a substitution is a text of its own, asked about by itself.

use std::ops::ControlFlow;

use brush_parser::ast as brush;

use crate::ast::Outline;
use crate::parse::Text;
use crate::reason::Opaque;

/// For brush; sixteen levels need a small part of it in a build without optimisation.
const STACK: usize = 16 << 20;

/// tree-sitter reports progress about once in 300 bytes of an ordinary text, and may do so twenty times as often.
const BYTES_PER_STEP: usize = 16;
const MIN_STEPS: usize = 200;

/// Nothing, if all texts are read in the same way by all parsers.
pub(crate) fn disagreement(texts: &[Text]) -> Option<Opaque> {
    std::thread::scope(|scope| {
        let asked = std::thread::Builder::new()
            .name("shell-opinion".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || texts.iter().find_map(differs));
        match asked.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(parser))) => Some(Opaque::Disagreement { parser }),
            Ok(Err(_)) | Err(_) => Some(Opaque::Disagreement {
                parser: "another parser",
            }),
        }
    })
}

fn differs(text: &Text) -> Option<&'static str> {
    let ours = plain(&text.outline);
    if by_brush(&text.text).as_ref() != Some(&ours) {
        return Some("brush");
    }
    let ours = without_braces(&ours);
    if by_tree_sitter(text).map(|o| without_braces(&o)).as_ref() != Some(&ours) {
        return Some("tree-sitter");
    }
    None
}

fn plain(outline: &Outline) -> Outline {
    Outline {
        commands: outline.commands.clone(),
        files: outline.files.clone(),
    }
}

/// tree-sitter does not know braces in words, and loses a dash before a here-document, so it is asked about the text
/// without them.
fn without_braces(outline: &Outline) -> Outline {
    let clean = |s: &String| match s.as_str() {
        "-" => "_".to_owned(),
        s => s.replace(['{', '}'], "_"),
    };
    Outline {
        commands: outline
            .commands
            .iter()
            .map(|c| c.iter().map(clean).collect())
            .collect(),
        files: outline.files.iter().map(clean).collect(),
    }
}

fn raw(text: &str) -> String {
    if text.starts_with("<(") || text.starts_with(">(") {
        "<(".to_owned()
    } else {
        text.replace("\\\n", "")
    }
}

fn is_number(text: &str) -> bool {
    text == "-" || (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()))
}

// ---- brush ----

fn by_brush(text: &str) -> Option<Outline> {
    let options = brush_parser::ParserOptions {
        enable_extended_globbing: false,
        ..Default::default()
    };
    let program = brush_parser::Parser::new(text.as_bytes(), &options)
        .parse_program()
        .ok()?;
    let mut out = Outline::default();
    for list in &program.complete_commands {
        brush_list(list, &mut out);
    }
    Some(out)
}

fn brush_list(list: &brush::CompoundList, out: &mut Outline) {
    for item in &list.0 {
        for (_, pipeline) in item.0.iter() {
            for command in &pipeline.seq {
                brush_command(command, out);
            }
        }
    }
}

fn brush_command(command: &brush::Command, out: &mut Outline) {
    match command {
        brush::Command::Simple(simple) => brush_simple(simple, out),
        brush::Command::Compound(compound, redirects) => {
            brush_compound(compound, out);
            brush_redirects(redirects.as_ref(), out);
        }
        brush::Command::Function(function) => {
            brush_compound(&function.body.0, out);
            brush_redirects(function.body.1.as_ref(), out);
        }
        brush::Command::ExtendedTest(_, redirects) => brush_redirects(redirects.as_ref(), out),
    }
}

fn brush_compound(compound: &brush::CompoundCommand, out: &mut Outline) {
    use brush::CompoundCommand as C;
    match compound {
        C::BraceGroup(group) => brush_list(&group.list, out),
        C::Subshell(sub) => brush_list(&sub.list, out),
        C::ForClause(clause) => brush_list(&clause.body.list, out),
        C::CaseClause(clause) => {
            for case in &clause.cases {
                if let Some(list) = &case.cmd {
                    brush_list(list, out);
                }
            }
        }
        C::IfClause(clause) => {
            brush_list(&clause.condition, out);
            brush_list(&clause.then, out);
            for other in clause.elses.iter().flatten() {
                if let Some(condition) = &other.condition {
                    brush_list(condition, out);
                }
                brush_list(&other.body, out);
            }
        }
        C::WhileClause(clause) | C::UntilClause(clause) => {
            brush_list(&clause.0, out);
            brush_list(&clause.1.list, out);
        }
        // Not accepted by our own parser; a command that it does not have makes them differ.
        C::Arithmetic(_) | C::ArithmeticForClause(_) | C::Coprocess(_) => {
            out.commands.push(Vec::new());
        }
    }
}

fn brush_simple(simple: &brush::SimpleCommand, out: &mut Outline) {
    let mut words = Vec::new();
    let prefix = simple.prefix.iter().flat_map(|p| &p.0);
    let suffix = simple.suffix.iter().flat_map(|s| &s.0);
    for item in prefix {
        brush_item(item, &mut words, out);
    }
    words.extend(simple.word_or_name.iter().map(|w| raw(&w.value)));
    for item in suffix {
        brush_item(item, &mut words, out);
    }
    if !words.is_empty() && words.first().map(String::as_str) != Some("[") {
        out.commands.push(words);
    }
}

fn brush_item(item: &brush::CommandPrefixOrSuffixItem, words: &mut Vec<String>, out: &mut Outline) {
    use brush::CommandPrefixOrSuffixItem as I;
    match item {
        I::IoRedirect(redirect) => brush_redirect(redirect, out),
        I::Word(word) | I::AssignmentWord(_, word) => words.push(raw(&word.value)),
        I::ProcessSubstitution(..) => words.push("<(".to_owned()),
    }
}

fn brush_redirects(list: Option<&brush::RedirectList>, out: &mut Outline) {
    for redirect in list.iter().flat_map(|l| &l.0) {
        brush_redirect(redirect, out);
    }
}

fn brush_redirect(redirect: &brush::IoRedirect, out: &mut Outline) {
    use brush::IoFileRedirectTarget as T;
    match redirect {
        brush::IoRedirect::File(_, _, T::Filename(word) | T::Duplicate(word)) => {
            if !is_number(&word.value) {
                out.files.push(raw(&word.value));
            }
        }
        brush::IoRedirect::File(_, _, T::Fd(_)) | brush::IoRedirect::HereDocument(..) => {}
        brush::IoRedirect::File(_, _, T::ProcessSubstitution(..)) => {
            out.files.push("<(".to_owned());
        }
        brush::IoRedirect::HereString(_, word) | brush::IoRedirect::OutputAndError(word, _) => {
            out.files.push(raw(&word.value));
        }
    }
}

// ---- tree-sitter ----

fn by_tree_sitter(text: &Text) -> Option<Outline> {
    let mut bytes = text.text.clone().into_bytes();
    for (at, byte) in &text.masks {
        *bytes.get_mut(*at)? = *byte;
    }
    let mut parser = tree_sitter::Parser::new();
    parser
        .set_language(&tree_sitter_bash::LANGUAGE.into())
        .ok()?;
    let mut steps = MIN_STEPS.saturating_add(bytes.len() / BYTES_PER_STEP);
    let mut progress = |_: &tree_sitter::ParseState| -> bool {
        steps = steps.saturating_sub(1);
        steps == 0
    };
    let options = tree_sitter::ParseOptions::new().progress_callback(&mut progress);
    let tree = parser.parse_with_options(
        &mut |at, _| bytes.get(at..).unwrap_or_default(),
        None,
        Some(options),
    )?;
    let root = tree.root_node();
    if root.has_error() {
        return None;
    }
    let mut finder = Finder {
        bytes: &bytes,
        out: Outline::default(),
        stack: vec![root],
    };
    while let Some(node) = finder.stack.pop() {
        if finder.visit(node).is_break() {
            return None;
        }
    }
    finder
        .out
        .commands
        .retain(|c| c.first().map(String::as_str) != Some("["));
    Some(finder.out)
}

struct Finder<'a, 't> {
    bytes: &'a [u8],
    out: Outline,
    stack: Vec<tree_sitter::Node<'t>>,
}

impl<'t> Finder<'_, 't> {
    fn text(&self, start: usize, end: usize) -> String {
        let bytes = self.bytes.get(start..end).unwrap_or_default();
        raw(&String::from_utf8_lossy(bytes))
    }

    fn visit(&mut self, node: tree_sitter::Node<'t>) -> ControlFlow<()> {
        match node.kind() {
            "command" | "declaration_command" | "unset_command" | "variable_assignments" => {
                self.command(node)?;
            }
            "variable_assignment" => {
                let text = self.text(node.start_byte(), node.end_byte());
                self.out.commands.push(vec![text]);
            }
            "file_redirect" | "herestring_redirect" => self.redirect(node),
            "heredoc_redirect" => self.heredoc(node),
            // Words, and what has no commands that are not in words.
            "string"
            | "concatenation"
            | "expansion"
            | "simple_expansion"
            | "command_substitution"
            | "process_substitution"
            | "arithmetic_expansion"
            | "raw_string"
            | "ansi_c_string"
            | "heredoc_body"
            | "test_command"
            | "word"
            | "comment" => {}
            _ => self.push(children(node)),
        }
        ControlFlow::Continue(())
    }

    fn push(&mut self, nodes: Vec<tree_sitter::Node<'t>>) {
        self.stack.extend(nodes.into_iter().rev());
    }

    fn command(&mut self, node: tree_sitter::Node<'t>) -> ControlFlow<()> {
        let mut words = Vec::new();
        let mut later = Vec::new();
        for child in children(node) {
            match child.kind() {
                "file_redirect" | "herestring_redirect" | "heredoc_redirect" => later.push(child),
                "subshell" => return ControlFlow::Break(()),
                _ => words.push(child),
            }
        }
        let words = self.joined(&words);
        self.out.commands.push(words);
        self.push(later);
        ControlFlow::Continue(())
    }

    /// Nodes that touch each other are one word.
    fn joined(&self, nodes: &[tree_sitter::Node<'t>]) -> Vec<String> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for node in nodes {
            match spans.last_mut() {
                Some((_, end)) if *end == node.start_byte() => *end = node.end_byte(),
                _ => spans.push((node.start_byte(), node.end_byte())),
            }
        }
        spans.into_iter().map(|(s, e)| self.text(s, e)).collect()
    }

    /// Its grammar gives words behind the name to the redirection; they are the command's.
    fn redirect(&mut self, node: tree_sitter::Node<'t>) {
        let named: Vec<_> = children(node)
            .into_iter()
            .filter(|n| n.is_named() && n.kind() != "file_descriptor")
            .collect();
        let mut words = self.joined(&named).into_iter();
        if let Some(file) = words.next()
            && !is_number(&file)
        {
            self.out.files.push(file);
        }
        if let Some(command) = self.out.commands.last_mut() {
            command.extend(words);
        }
    }

    fn heredoc(&mut self, node: tree_sitter::Node<'t>) {
        let mut words = Vec::new();
        let mut later = Vec::new();
        for child in children(node) {
            match child.kind() {
                "heredoc_start" | "heredoc_body" | "heredoc_end" | "file_descriptor" => {}
                kind if !child.is_named() || kind.starts_with('<') => {}
                "file_redirect" | "herestring_redirect" | "heredoc_redirect" | "pipeline" => {
                    later.push(child);
                }
                "word"
                | "string"
                | "concatenation"
                | "expansion"
                | "simple_expansion"
                | "command_substitution"
                | "raw_string"
                | "ansi_c_string"
                | "number" => {
                    words.push(child);
                }
                _ => later.push(child),
            }
        }
        let words = self.joined(&words);
        if let Some(command) = self.out.commands.last_mut() {
            command.extend(words);
        }
        self.push(later);
    }
}

fn children(node: tree_sitter::Node<'_>) -> Vec<tree_sitter::Node<'_>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).collect()
}
