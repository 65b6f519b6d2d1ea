//! Many words looked for at once, a byte at a time (Aho and Corasick): the state says how much of which word
//! has been seen, which no ready-made automaton tells.
//!
//! Invariant: what the words are is overwritten when it is dropped.

use std::collections::VecDeque;

use zeroize::Zeroize;

pub(super) const ROOT: u32 = 0;

/// Two megabytes of secrets and what they look like when they are encoded.
pub(super) const MAX_NODES: usize = 1 << 18;

#[derive(Debug, Default)]
struct Node {
    /// By byte, ascending.
    edges: Vec<(u8, u32)>,
    fail: u32,
    depth: u16,
    /// Part of a secret; the others are of tokens' prefixes.
    secret: bool,
    sticky: bool,
    /// The longest secret that ends here.
    whole: u16,
    /// The longest beginning of a secret that ends here; the longest that is not let go of.
    live: u16,
    stuck: u16,
    /// Forms whose prefix ends here.
    opens: Vec<u8>,
}

/// What a state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said<'a> {
    pub whole: u16,
    pub live: u16,
    pub stuck: u16,
    pub opens: &'a [u8],
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// From the root, by byte.
    first: Vec<u32>,
}

/// There are more states than [`MAX_NODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Trie {
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
            first: vec![ROOT; 256],
        }
    }

    /// A secret; from `sticky` bytes on it is not let go of.
    pub fn secret(&mut self, word: &[u8], sticky: u16) -> Result<(), Full> {
        let end = self.path(word, |node| {
            node.secret = true;
            node.sticky |= node.depth >= sticky;
        })?;
        if let Some(node) = self.nodes.get_mut(end as usize) {
            node.whole = node.depth;
        }
        Ok(())
    }

    /// What a form begins with.
    pub fn prefix(&mut self, word: &[u8], form: u8) -> Result<(), Full> {
        let end = self.path(word, |_| ())?;
        if let Some(node) = self.nodes.get_mut(end as usize) {
            node.opens.push(form);
        }
        Ok(())
    }

    fn path(&mut self, word: &[u8], mut visit: impl FnMut(&mut Node)) -> Result<u32, Full> {
        let mut at = ROOT;
        for (&c, depth) in word.iter().zip(1_u16..) {
            let next = match self.edge(at, c) {
                Some(next) => next,
                None => self.grow(at, c, depth)?,
            };
            if let Some(node) = self.nodes.get_mut(next as usize) {
                visit(node);
            }
            at = next;
        }
        Ok(at)
    }

    fn grow(&mut self, at: u32, c: u8, depth: u16) -> Result<u32, Full> {
        if self.nodes.len() >= MAX_NODES {
            return Err(Full);
        }
        let new = u32::try_from(self.nodes.len()).map_err(|_| Full)?;
        self.nodes.push(Node {
            depth,
            ..Node::default()
        });
        if let Some(node) = self.nodes.get_mut(at as usize) {
            let place = node.edges.partition_point(|(other, _)| *other < c);
            node.edges.insert(place, (c, new));
        }
        Ok(new)
    }

    fn edge(&self, at: u32, c: u8) -> Option<u32> {
        let edges = &self.nodes.get(at as usize)?.edges;
        let place = edges.binary_search_by_key(&c, |(other, _)| *other).ok()?;
        edges.get(place).map(|(_, next)| *next)
    }

    fn nth(&self, at: u32, i: usize) -> Option<(u8, u32)> {
        self.nodes.get(at as usize)?.edges.get(i).copied()
    }

    /// Once all words are in: where a state goes on when its word does not.
    pub fn finish(&mut self) {
        let mut queue = VecDeque::from([ROOT]);
        while let Some(at) = queue.pop_front() {
            let mut i = 0;
            while let Some((c, next)) = self.nth(at, i) {
                i += 1;
                if at == ROOT {
                    if let Some(slot) = self.first.get_mut(usize::from(c)) {
                        *slot = next;
                    }
                    self.settle(next, ROOT);
                } else {
                    let fail = self.nodes.get(at as usize).map_or(ROOT, |node| node.fail);
                    let (to, _) = self.step(fail, c);
                    self.settle(next, to);
                }
                queue.push_back(next);
            }
        }
    }

    /// Takes over what the state that it falls back to says.
    fn settle(&mut self, at: u32, fail: u32) {
        let Some(from) = self.nodes.get(fail as usize) else {
            return;
        };
        let (whole, live, stuck) = (from.whole, from.live, from.stuck);
        let opens = from.opens.clone();
        let Some(node) = self.nodes.get_mut(at as usize) else {
            return;
        };
        node.fail = fail;
        node.whole = node.whole.max(whole);
        node.live = if node.secret { node.depth } else { live };
        node.stuck = if node.sticky { node.depth } else { stuck };
        node.opens.extend(opens);
    }

    /// The next state, and how many steps it took.
    pub fn step(&self, mut at: u32, c: u8) -> (u32, u32) {
        let mut steps = 1;
        while at != ROOT {
            if let Some(next) = self.edge(at, c) {
                return (next, steps);
            }
            at = self.nodes.get(at as usize).map_or(ROOT, |node| node.fail);
            steps += 1;
        }
        let next = self.first.get(usize::from(c)).copied().unwrap_or(ROOT);
        (next, steps)
    }

    pub fn says(&self, at: u32) -> Said<'_> {
        let node = self.nodes.get(at as usize);
        node.map_or(
            Said {
                whole: 0,
                live: 0,
                stuck: 0,
                opens: &[],
            },
            |node| Said {
                whole: node.whole,
                live: node.live,
                stuck: node.stuck,
                opens: &node.opens,
            },
        )
    }
}

impl Drop for Trie {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            for (c, _) in &mut node.edges {
                c.zeroize();
            }
        }
    }
}
