//! Requests that want a reply, in the order in which they were made: replies have no numbers of their own
//! (RFC 4254 sections 4 and 5.4), so ours have to stand where the peer's would.

use std::collections::VecDeque;

/// One request whose reply is outstanding. `F`: what is known of one that the other side answers; `L`: an answer
/// of our own.
#[derive(Debug)]
enum Expected<F, L> {
    Forwarded(F),
    Local(L),
}

#[derive(Debug)]
pub(super) struct Replies<F, L> {
    queue: VecDeque<Expected<F, L>>,
    max: usize,
}

impl<F, L> Replies<F, L> {
    pub fn new(max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            max,
        }
    }

    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.max
    }

    /// The other side will answer it.
    pub fn forwarded(&mut self, what: F) {
        self.queue.push_back(Expected::Forwarded(what));
    }

    /// We answer it, as soon as everything before it is answered.
    pub fn local(&mut self, answer: L) {
        self.queue.push_back(Expected::Local(answer));
    }

    /// The other side answers: which request? `None`: it was asked nothing.
    pub fn answered(&mut self) -> Option<F> {
        match self.queue.pop_front()? {
            Expected::Forwarded(what) => Some(what),
            local @ Expected::Local(_) => {
                // Those in front are always given at once, so this is only an answer to nothing.
                self.queue.push_front(local);
                None
            }
        }
    }

    /// What the other side has not answered yet.
    pub fn outstanding(&self) -> impl Iterator<Item = &F> {
        self.queue.iter().filter_map(|expected| match expected {
            Expected::Forwarded(what) => Some(what),
            Expected::Local(_) => None,
        })
    }

    /// The next answer of our own whose turn it is.
    pub fn due(&mut self) -> Option<L> {
        match self.queue.pop_front()? {
            Expected::Local(answer) => Some(answer),
            forwarded @ Expected::Forwarded(_) => {
                self.queue.push_front(forwarded);
                None
            }
        }
    }

    /// The other side will answer nothing more. What it was asked; where answers of our own stand behind that,
    /// each of those is answered `instead`, so that ours still answer what they are for.
    pub fn give_up(&mut self, instead: impl Fn(&F) -> Option<L>) -> Vec<F> {
        let ours = self.queue.iter().any(|e| matches!(e, Expected::Local(_)));
        let mut forwarded = Vec::new();
        for expected in std::mem::take(&mut self.queue) {
            match expected {
                Expected::Forwarded(what) => {
                    if ours && let Some(answer) = instead(&what) {
                        self.local(answer);
                    }
                    forwarded.push(what);
                }
                local @ Expected::Local(_) => self.queue.push_back(local),
            }
        }
        forwarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_answers_wait_for_those_before_them() {
        let mut replies = Replies::new(8);
        replies.local("a");
        replies.forwarded(1);
        replies.local("b");
        replies.forwarded(2);
        assert_eq!(replies.answered(), None, "an answer of ours is in front");
        assert_eq!(replies.due(), Some("a"));
        assert_eq!(replies.due(), None);
        assert_eq!(replies.answered(), Some(1));
        assert_eq!(replies.due(), Some("b"));
        assert_eq!(replies.answered(), Some(2));
        assert_eq!((replies.answered(), replies.due()), (None, None));
    }
}
