//! Which definitions of one flow a masked value can reach: a worklist over what depends on what, so
//! that the work grows with the text and not with its square.

use std::collections::{HashMap, HashSet};

use super::flow::{DefKind, Flow, Masked, NONE, Name, Range, Reach, Top, UNNAMED};
use crate::catalog::Snapshot;

/// The settled taints of one flow.
pub(crate) struct Taints<'f> {
    pub(super) flow: &'f Flow,
    names: Vec<bool>,
    defs: Vec<bool>,
    groups: Vec<bool>,
    /// Tainted columns of relations in reach: only a star brings them in.
    columns: HashSet<String>,
    /// A relation in reach has tainted columns of unknown names.
    all: bool,
    /// All columns of relations in reach.
    of_relations: HashSet<Box<str>>,
    /// Definitions that have lent their parts' names.
    spread: Vec<bool>,
    unnamed: bool,
    pub(super) everything: bool,
    pub(super) any: bool,
    /// What is mentioned where the statement computes, and what that brings.
    pub(super) computing: Vec<(Name, Brings)>,
    /// Steps that settling took.
    pub work: usize,
}

/// What a change can bring about.
enum Step {
    Def(u32),
    Name(Name),
    Group(u32),
    Unnamed,
    /// The parts of a tainted expression without a name lend it theirs.
    Spread(u32),
}

/// Who has to be told when something becomes tainted.
struct Edges {
    /// Definitions that mention a name of more than known relations.
    mentions: HashMap<Name, Vec<u32>>,
    /// Names that a definition mentions.
    mentioned: HashMap<u32, Vec<Name>>,
    children: HashMap<u32, Vec<u32>>,
    members: HashMap<u32, Vec<u32>>,
    /// Names that nothing is seen to give: PostgreSQL makes up such names for expressions.
    made_up: Vec<Name>,
}

/// What a qualifier stands for.
enum Side<'a> {
    /// Known relations: how many of them have tainted columns, the tainted names, and how many of
    /// those relations have a column of a name.
    Tables {
        tainted: usize,
        names: HashSet<&'a str>,
        all: bool,
        there: HashMap<&'a str, usize>,
    },
    /// The row that an INSERT could not insert.
    Excluded(Name),
    Anything,
}

impl<'f> Taints<'f> {
    /// `more` are relations in reach besides those that the flow names.
    pub fn of(flow: &'f Flow, masked: &mut Masked<'_>, more: &[u32], depth: usize) -> Self {
        Self::settled(flow, masked, more, depth, flow.opaque)
    }

    /// As if no code were called that can read anything: what it gives is not tainted.
    pub fn despite_code(flow: &'f Flow, masked: &mut Masked<'_>) -> Self {
        Self::settled(flow, masked, &[], 0, false)
    }

    fn settled(
        flow: &'f Flow,
        masked: &mut Masked<'_>,
        more: &[u32],
        depth: usize,
        opaque: bool,
    ) -> Self {
        let mut taints = Self {
            flow,
            names: vec![false; flow.names.len()],
            defs: vec![false; flow.defs.len()],
            groups: vec![false; flow.groups as usize],
            spread: vec![false; flow.defs.len()],
            columns: HashSet::new(),
            of_relations: HashSet::new(),
            all: false,
            unnamed: false,
            everything: false,
            any: false,
            computing: Vec::new(),
            work: 0,
        };
        if masked.is_empty() {
            return taints;
        }
        if opaque {
            taints.everything = true;
            taints.any = true;
            return taints;
        }
        let mut reached: HashMap<u32, Reach<'_>> = HashMap::new();
        for &oid in flow.relations.iter().chain(more) {
            let reach = masked.reach(oid, depth);
            match &reach {
                Reach::All => taints.all = true,
                Reach::Columns(columns) => {
                    taints
                        .columns
                        .extend(columns.iter().map(|c| (*c).to_owned()));
                }
            }
            reached.insert(oid, reach);
        }
        taints.any = taints.all
            || !taints.columns.is_empty()
            || !flow.brought.is_empty()
            || !flow.unknown.is_empty();
        if taints.any {
            let snapshot = masked.snapshot();
            let oids = flow.relations.iter().chain(more);
            let reach = oids.filter_map(|&oid| snapshot.relation(snapshot.index_of(oid)?));
            let names = reach.flat_map(|r| r.columns.iter().map(|c| c.name.as_ref().into()));
            taints.of_relations = names.collect();
            taints.everything = flow.blind;
            taints.settle(masked.snapshot(), &reached);
        }
        taints
    }

    fn settle(&mut self, snapshot: &Snapshot, reached: &HashMap<u32, Reach<'_>>) {
        let flow = self.flow;
        let mut queue: Vec<Step> = Vec::new();
        for (i, name) in flow.names.iter().enumerate() {
            if self.all || self.columns.contains(&**name) {
                self.name(i as Name, &mut queue);
            }
        }
        for &name in &flow.unknown {
            self.name(name, &mut queue);
        }
        for &def in &flow.brought {
            self.def(def, &mut queue);
        }
        let edges = self.edges(snapshot, reached, &mut queue);
        for def in flow.defs.iter().filter(|d| d.kind == DefKind::Renamed) {
            self.given(def.parent, def.name, def.group, def.unnamed, &mut queue);
        }
        while let Some(step) = queue.pop() {
            self.work += 1;
            if self.everything {
                return;
            }
            self.step(step, &edges, &mut queue);
        }
    }

    fn step(&mut self, step: Step, edges: &Edges, queue: &mut Vec<Step>) {
        let flow = self.flow;
        match step {
            Step::Name(name) => {
                for &def in edges.mentions.get(&name).into_iter().flatten() {
                    self.work += 1;
                    self.def(def, queue);
                }
            }
            Step::Def(index) => {
                let Some(def) = flow.defs.get(index as usize) else {
                    return;
                };
                self.everything |= def.kind == DefKind::Source;
                self.given(def.parent, def.name, def.group, def.unnamed, queue);
                if def.unnamed {
                    self.spread(index, queue);
                }
            }
            Step::Group(group) => {
                for &member in edges.members.get(&group).into_iter().flatten() {
                    self.work += 1;
                    if let Some(def) = flow.defs.get(member as usize) {
                        // The first arm names the columns, and its star does not say how.
                        self.everything |= def.star;
                        self.given(NONE, def.name, NONE, def.unnamed, queue);
                    }
                }
            }
            Step::Unnamed => {
                let made_up = flow.made_up.iter().copied();
                for name in made_up.chain(edges.made_up.iter().copied()) {
                    self.work += 1;
                    self.name(name, queue);
                }
            }
            // `CASE … ELSE name END` is called `name`, whatever else flows into it: a tainted
            // definition without a name taints every name that it mentions, and so do the parts
            // that it consists of.
            Step::Spread(def) => {
                for &name in edges.mentioned.get(&def).into_iter().flatten() {
                    self.work += 1;
                    // A star lends names that nobody sees.
                    self.everything |= name == NONE;
                    self.name(name, queue);
                }
                for &child in edges.children.get(&def).into_iter().flatten() {
                    self.work += 1;
                    let Some(part) = flow.defs.get(child as usize) else {
                        continue;
                    };
                    self.everything |= part.star;
                    self.name(part.name, queue);
                    if part.unnamed {
                        self.spread(child, queue);
                    }
                }
            }
        }
    }

    /// What a tainted definition gives its value to.
    fn given(&mut self, parent: u32, name: Name, group: u32, unnamed: bool, queue: &mut Vec<Step>) {
        self.def(parent, queue);
        self.name(name, queue);
        if set(&mut self.groups, group) {
            queue.push(Step::Group(group));
        }
        if unnamed && !self.unnamed {
            self.unnamed = true;
            queue.push(Step::Unnamed);
        }
    }

    fn def(&mut self, def: u32, queue: &mut Vec<Step>) {
        if set(&mut self.defs, def) {
            queue.push(Step::Def(def));
        }
    }

    fn spread(&mut self, def: u32, queue: &mut Vec<Step>) {
        if set(&mut self.spread, def) {
            queue.push(Step::Spread(def));
        }
    }

    fn name(&mut self, name: Name, queue: &mut Vec<Step>) {
        if set(&mut self.names, name) {
            queue.push(Step::Name(name));
        }
    }

    /// Looks at every mention once: what brings a tainted value whatever else is tainted is queued,
    /// what depends on a name waits for it.
    fn edges(
        &mut self,
        snapshot: &Snapshot,
        reached: &HashMap<u32, Reach<'_>>,
        queue: &mut Vec<Step>,
    ) -> Edges {
        let flow = self.flow;
        let mut edges = Edges {
            mentions: HashMap::new(),
            mentioned: HashMap::new(),
            children: HashMap::new(),
            members: HashMap::new(),
            made_up: self.not_given(),
        };
        for (i, def) in flow.defs.iter().enumerate() {
            if def.parent != NONE {
                edges.children.entry(def.parent).or_default().push(i as u32);
            }
            if def.group != NONE {
                edges.members.entry(def.group).or_default().push(i as u32);
            }
        }
        let mut ranges: HashMap<Name, Vec<Range>> = HashMap::new();
        for &(name, range) in &flow.ranges {
            ranges.entry(name).or_default().push(range);
        }
        let computes = super::compute::defs(flow);
        let mut sides: HashMap<Name, Side<'_>> = HashMap::new();
        let mut known: HashMap<(Name, Name), Brings> = HashMap::new();
        for mention in &flow.mentions {
            self.work += 1;
            let pair = (mention.qualifier, mention.name);
            let brings = *known.entry(pair).or_insert_with(|| {
                let side = sides
                    .entry(mention.qualifier)
                    .or_insert_with(|| side(ranges.get(&mention.qualifier), snapshot, reached));
                let name = flow.names.get(mention.name as usize).map(|n| &**n);
                brings(
                    side,
                    mention.qualifier,
                    mention.name,
                    name,
                    snapshot,
                    &ranges,
                )
            });
            if computes.contains(&mention.def) {
                self.computing.push((mention.name, brings));
            }
            match brings {
                Brings::Nothing => {}
                Brings::Taint => self.def(mention.def, queue),
                Brings::Whatever(name) => {
                    edges.mentions.entry(name).or_default().push(mention.def);
                    if self.is_name(name) {
                        self.def(mention.def, queue);
                    }
                }
            }
            edges
                .mentioned
                .entry(mention.def)
                .or_default()
                .push(mention.name);
        }
        edges
    }

    /// Names in the text that no definition gives and no relation in reach has, and those that could
    /// be made up whatever else they are.
    fn not_given(&self) -> Vec<Name> {
        let flow = self.flow;
        let mut given = vec![false; flow.names.len()];
        for def in &flow.defs {
            set(&mut given, def.name);
        }
        for &(name, _) in &flow.ranges {
            set(&mut given, name);
        }
        for column in &self.of_relations {
            if let Some(name) = flow.name(column) {
                set(&mut given, name);
            }
        }
        let names = flow.names.iter().zip(given).enumerate();
        names
            .filter(|(_, (name, given))| !given || UNNAMED.contains(&&***name))
            .map(|(i, _)| i as Name)
            .collect()
    }

    /// Is field `index` of `count` tainted?
    pub fn field(&self, index: usize, count: usize, name: &str) -> bool {
        if !self.any {
            return false;
        }
        if self.everything {
            return true;
        }
        match &self.flow.top {
            Top::Nothing | Top::Unknown => true,
            Top::Arms(arms) => {
                arms.is_empty()
                    || arms.iter().any(|arm| {
                        // A count that does not fit: not the result that was analysed.
                        arm.len() != count || arm.get(index).is_none_or(|&def| self.is_def(def))
                    })
            }
            Top::Named => {
                let known = self.flow.name(name);
                // A star of RETURNING brings what foreign code has made of the row.
                !self.flow.brought.is_empty()
                    || known.is_some_and(|n| self.is_name(n))
                    || self.all
                    || self.columns.contains(name)
                    // A name that the text does not have is one of a star's, or made up.
                    || (self.unnamed && (UNNAMED.contains(&name)
                        || (known.is_none() && !self.of_relations.contains(name))))
            }
        }
    }

    /// Does a tainted value reach a sink that protects it otherwise?
    pub fn sinks(&self, masked: &Masked<'_>) -> bool {
        if !self.any {
            return false;
        }
        let sinks = self.flow.defs.iter().enumerate();
        let mut tainted = sinks
            .filter(|(i, d)| d.kind == DefKind::Sink && (self.everything || self.is_def(*i as u32)))
            .peekable();
        if tainted.peek().is_none() {
            return false;
        }
        let kept = Kept::of(self, masked);
        self.everything || tainted.any(|(i, _)| !kept.sink(i as u32))
    }

    pub(super) fn is_def(&self, def: u32) -> bool {
        self.defs.get(def as usize).copied().unwrap_or(false)
    }

    pub(super) fn is_name(&self, name: Name) -> bool {
        self.names.get(name as usize).copied().unwrap_or(false)
    }
}

#[derive(Clone, Copy)]
pub(super) enum Brings {
    Nothing,
    Taint,
    /// What the name brings, wherever it is from.
    Whatever(Name),
}

fn side<'a>(
    ranges: Option<&Vec<Range>>,
    snapshot: &'a Snapshot,
    reached: &HashMap<u32, Reach<'a>>,
) -> Side<'a> {
    let Some(ranges) = ranges else {
        return Side::Anything;
    };
    if let [Range::Excluded(name)] = ranges.as_slice() {
        return Side::Excluded(*name);
    }
    let (mut tainted, mut all) = (0, false);
    let (mut names, mut there) = (HashSet::new(), HashMap::new());
    for range in ranges {
        let Range::Relation(oid) = range else {
            return Side::Anything;
        };
        let reach = reached.get(oid);
        match reach {
            Some(Reach::Columns(columns)) => names.extend(columns.iter().copied()),
            Some(Reach::All) | None => all = true,
        }
        if reach.is_none_or(Reach::any) {
            tainted += 1;
            let relation = snapshot.index_of(*oid).and_then(|i| snapshot.relation(i));
            for column in relation.into_iter().flat_map(|r| &r.columns) {
                *there.entry(&*column.name).or_insert(0) += 1;
            }
        }
    }
    Side::Tables {
        tainted,
        names,
        all,
        there,
    }
}

/// What a mention brings; `name` is none for a star.
fn brings(
    side: &Side<'_>,
    qualifier: Name,
    id: Name,
    name: Option<&str>,
    snapshot: &Snapshot,
    ranges: &HashMap<Name, Vec<Range>>,
) -> Brings {
    let when = |tainted: bool| match tainted {
        true => Brings::Taint,
        false => Brings::Nothing,
    };
    match (side, name) {
        (Side::Excluded(private), Some(name)) if !snapshot.takes_row(name) => {
            Brings::Whatever(*private)
        }
        (Side::Excluded(private), None) => Brings::Whatever(*private),
        (Side::Tables { tainted, .. }, None) => when(*tainted > 0),
        (Side::Anything, None) => Brings::Taint,
        (
            Side::Tables {
                tainted,
                names,
                all,
                there,
            },
            Some(name),
        ) => {
            let missing = there.get(name).copied().unwrap_or(0) < *tainted;
            when(*all || names.contains(name) || (missing && snapshot.takes_row(name)))
        }
        (Side::Anything | Side::Excluded(_), Some(name)) => {
            if ranges.contains_key(&id) || (qualifier != NONE && snapshot.takes_row(name)) {
                Brings::Taint
            } else {
                Brings::Whatever(id)
            }
        }
    }
}

/// Sinks whose column has the labels of what flows into it: nothing is stored without the protection
/// that it had.
struct Kept<'a, 'm, 'f> {
    taints: &'a Taints<'f>,
    masked: &'a Masked<'m>,
    /// By sink: qualifier and name of what it mentions.
    mentions: HashMap<u32, Vec<(Name, Name)>>,
    parents: HashSet<u32>,
    /// Names that other things than columns of relations have.
    given: HashSet<Name>,
    excluded: HashSet<Name>,
}

impl<'a, 'm, 'f> Kept<'a, 'm, 'f> {
    fn of(taints: &'a Taints<'f>, masked: &'a Masked<'m>) -> Self {
        let flow = taints.flow;
        let mut mentions: HashMap<u32, Vec<(Name, Name)>> = HashMap::new();
        for m in &flow.mentions {
            let of = mentions.entry(m.def).or_default();
            of.push((m.qualifier, m.name));
        }
        let named = flow.defs.iter().filter(|d| d.kind != DefKind::Sink);
        let ranges = flow.ranges.iter();
        let excluded = ranges.clone().filter_map(|(name, range)| match range {
            Range::Excluded(_) => Some(*name),
            Range::Relation(_) | Range::Derived => None,
        });
        Self {
            taints,
            masked,
            mentions,
            parents: flow.defs.iter().map(|d| d.parent).collect(),
            excluded: excluded.collect(),
            given: named
                .map(|d| d.name)
                .chain(ranges.map(|(name, _)| *name))
                .collect(),
        }
    }

    fn sink(&self, sink: u32) -> bool {
        let flow = self.taints.flow;
        let into = flow.defs.get(sink as usize).and_then(|d| d.into);
        let Some((oid, column)) = into else {
            return false;
        };
        // What comes through a sub-select has no column to be compared with.
        if self.parents.contains(&sink) || flow.brought.contains(&sink) {
            return false;
        }
        let Some(column) = flow.names.get(column as usize) else {
            return false;
        };
        let mentions = self.mentions.get(&sink);
        mentions.into_iter().flatten().all(|&(qualifier, name)| {
            let Some(source) = flow.names.get(name as usize) else {
                return false;
            };
            if self.excluded.contains(&qualifier) {
                // What would have been inserted into the same column.
                return source == column;
            }
            !self.given.contains(&name)
                && !flow.unknown.contains(&name)
                && self.masked.protects(oid, column, &flow.relations, source)
        })
    }
}

/// True when it changed.
fn set(flags: &mut [bool], index: u32) -> bool {
    match flags.get_mut(index as usize) {
        Some(flag) if !*flag => {
            *flag = true;
            true
        }
        _ => false,
    }
}
