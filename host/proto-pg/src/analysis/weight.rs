//! How much memory an analysis takes, about: what is kept for all sessions is bounded by it.

use std::mem::size_of;
use std::sync::Arc;

use pipeline::{Access, Column, Named, Relation, SqlFacts};

use super::resolve::{OutColumn, Output, Source};
use super::shape::{Body, CopyKind, Field, StatementShape};
use super::summary::{Effect, Summary};
use super::{Analysis, Command};

/// What an entry in a map or set costs besides itself, and an `Arc` besides what is in it.
const NODE: usize = 32;

impl Analysis {
    /// In bytes, rather too much than too little: what is shared counts everywhere it is named.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + facts(&self.facts)
            + accesses(&self.accesses)
            + columns(&self.labelled)
            + columns(&self.computed)
            + self.refuse.as_ref().map_or(0, String::len)
            + self.statements.iter().map(shape).sum::<usize>()
            + self.summaries.iter().map(|s| summary(s)).sum::<usize>()
            + self.commands.len() * size_of::<Command>()
    }
}

fn facts(facts: &SqlFacts) -> usize {
    size_of::<SqlFacts>()
        + facts.text.len()
        + facts.runs.iter().map(named).sum::<usize>()
        + relations(&facts.reads)
        + relations(&facts.writes_to)
        + texts(&facts.functions)
}

fn summary(summary: &Summary) -> usize {
    size_of::<Summary>()
        + summary.runs.iter().map(|n| named(n)).sum::<usize>()
        + relations(&summary.reads)
        + relations(&summary.writes_to)
        + texts(&summary.functions)
        + accesses(&summary.accesses)
        + columns(&summary.labelled)
        + columns(&summary.computed)
        + summary.defined.relations.len() * NODE
        + texts(&summary.defined.names)
        + shape(&summary.shape)
        + summary.refuse.as_ref().map_or(0, String::len)
        + summary.effects.iter().map(effect).sum::<usize>()
}

fn effect(effect: &Effect) -> usize {
    size_of::<Effect>()
        + match effect {
            Effect::Path | Effect::Reading | Effect::Ends => 0,
            Effect::Prepares(name, inner, text) => name.len() + text.len() + summary(inner),
            Effect::Declares(name, inner, _) => name.len() + summary(inner),
            Effect::Means(name, prepared) => name.len() + summary(&prepared.summary),
        }
}

fn shape(shape: &StatementShape) -> usize {
    let copied: usize = match &shape.copy {
        Some(CopyKind::Out {
            fields: Some(fields),
            ..
        }) => fields
            .iter()
            .map(|f| size_of::<Field>() + f.name.len())
            .sum(),
        _ => 0,
    };
    let origins = shape.origins.as_ref().map_or(0, |o| o.len());
    size_of::<StatementShape>() + copied + origins * size_of::<u32>() + body(&shape.body)
}

fn body(of: &Body) -> usize {
    size_of::<Body>()
        + match of {
            Body::Nothing | Body::Unknown => 0,
            Body::Rows(rows) => output(rows),
            Body::Plan(sources) => std::mem::size_of_val(&**sources),
            Body::OneOf(bodies) => bodies.iter().map(|b| body(b)).sum::<usize>(),
        }
}

fn output(output: &Output) -> usize {
    let sources = |s: &[Source]| NODE + std::mem::size_of_val(s);
    let column = |c: &OutColumn| {
        let name = c.name.as_ref().map_or(0, |n| n.len());
        size_of::<OutColumn>() + name + sources(&c.sources)
    };
    let listed = output.head.iter().chain(&output.tail);
    listed.map(column).sum::<usize>() + output.rest.as_deref().map_or(0, sources)
}

/// Their names are shared with the catalogue; their labels are sets of their own.
fn columns(columns: impl IntoIterator<Item = impl std::borrow::Borrow<Column>>) -> usize {
    let column =
        |c: &Column| size_of::<Column>() + NODE + c.labels.len() * (NODE + size_of::<Arc<str>>());
    columns.into_iter().map(|c| column(c.borrow())).sum()
}

fn relations<'a>(relations: impl IntoIterator<Item = &'a Relation>) -> usize {
    let relation = |r: &Relation| {
        size_of::<Relation>()
            + NODE
            + r.schema.len()
            + r.name.len()
            + r.labels.len() * (NODE + size_of::<Arc<str>>())
    };
    relations.into_iter().map(relation).sum()
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a Arc<str>>) -> usize {
    let text = |t: &Arc<str>| size_of::<Arc<str>>() + NODE + t.len();
    texts.into_iter().map(text).sum()
}

/// Names in an access are short, and mostly of the catalogue.
fn accesses(accesses: &[Access]) -> usize {
    accesses.len() * (size_of::<Access>() + 4 * NODE)
}

fn named(named: &Named) -> usize {
    let parameters = named.parameters.iter();
    let values = parameters.map(|p| NODE + p.weight());
    size_of::<Named>() + named.name.len() + named.text.len() + values.sum::<usize>()
}
