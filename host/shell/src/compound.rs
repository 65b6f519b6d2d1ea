//! From text to tree: compound commands and functions.

use crate::ast::*;
use crate::parse::{Parsed, Parser, is_meta, is_name};

impl Parser<'_> {
    pub(crate) fn conditional(&mut self) -> Parsed<Node> {
        self.cur.eat("if");
        let mut arms = Vec::new();
        let mut otherwise = None;
        loop {
            let test = self.filled()?;
            self.expect("then")?;
            arms.push((test, self.filled()?));
            self.newlines()?;
            match self.keyword() {
                Some("elif") => {
                    self.cur.eat("elif");
                }
                Some("else") => {
                    self.cur.eat("else");
                    otherwise = Some(self.filled()?);
                    break;
                }
                _ => break,
            }
        }
        self.expect("fi")?;
        Ok(Node::If { arms, otherwise })
    }

    pub(crate) fn body(&mut self) -> Parsed<List> {
        self.expect("do")?;
        let body = self.filled()?;
        self.expect("done")?;
        Ok(body)
    }

    pub(crate) fn for_in(&mut self) -> Parsed<Node> {
        self.cur.eat("for");
        self.blanks();
        if self.cur.sees("((") {
            return self.unread("an arithmetic loop");
        }
        let name = self.cur.eat_while(|c| !is_meta(c)).to_owned();
        if !is_name(&name) {
            return self.syntax("a loop needs the name of a variable");
        }
        self.newlines()?;
        let mut words = None;
        if self
            .cur
            .rest()
            .strip_prefix("in")
            .is_some_and(|r| r.starts_with(is_meta))
        {
            self.cur.eat("in");
            let mut found = Vec::new();
            loop {
                self.blanks();
                match self.cur.peek() {
                    Some(';' | '\n') => break,
                    Some(c) if !is_meta(c) => found.push(self.word()?),
                    _ => return self.syntax("a loop's words end with `;` or a newline"),
                }
            }
            words = Some(found);
        }
        self.blanks();
        if !self.cur.sees(";;") {
            self.cur.eat(";");
        }
        Ok(Node::For {
            name,
            words,
            body: self.body()?,
        })
    }

    pub(crate) fn case(&mut self) -> Parsed<Node> {
        self.cur.eat("case");
        self.blanks();
        let word = self.word()?;
        self.newlines()?;
        if !self
            .cur
            .rest()
            .strip_prefix("in")
            .is_some_and(|r| r.starts_with(is_meta))
        {
            return self.syntax("a `case` needs its `in`");
        }
        self.cur.eat("in");
        let mut arms = Vec::new();
        loop {
            self.newlines()?;
            if self.keyword() == Some("esac") {
                self.cur.eat("esac");
                return Ok(Node::Case { word, arms });
            }
            if self.cur.eat("(") {
                self.blanks();
            }
            let mut patterns = Vec::new();
            loop {
                patterns.push(self.word()?);
                self.blanks();
                if self.cur.eat("|") {
                    self.blanks();
                } else if self.cur.eat(")") {
                    break;
                } else {
                    return self.syntax("a pattern of a `case` is not closed");
                }
            }
            let body = self.descend(|p| p.list())?;
            let end = [";;&", ";;", ";&"].into_iter().find(|e| self.cur.eat(e));
            match end {
                Some(end) => {
                    self.bash |= end != ";;";
                    arms.push(Arm {
                        patterns,
                        body,
                        end,
                    });
                }
                None if self.keyword() == Some("esac") => arms.push(Arm {
                    patterns,
                    body,
                    end: ";;",
                }),
                None => return self.syntax("an arm of a `case` is not closed"),
            }
        }
    }

    pub(crate) fn function(&mut self, name: String) -> Parsed<Node> {
        if !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
            || name.is_empty()
        {
            return self.unread("a function of this name");
        }
        self.bash |= !is_name(&name);
        self.newlines()?;
        if !self.cur.sees("(") && self.keyword() != Some("{") {
            return self.unread("a function whose body is neither in braces nor in parentheses");
        }
        let body = Box::new(self.descend(|p| p.stage())?);
        Ok(Node::Function { name, body })
    }
}
