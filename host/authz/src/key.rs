//! Everything that a decision can depend on, written down as a cache key.
//!
//! Parts that no policy of the bundle reads are left out, so that sessions share decisions.

use std::net::IpAddr;

use pipeline::{Access, Actor, Facts, Question, Resource, SqlFacts, Target};

use crate::cache::Key;
use crate::reads::Reads;

mod ssh;

/// What is common to all accesses of a question.
pub(crate) fn question(key: &mut Key, question: &Question<'_>, reads: Reads) {
    let principal = question.principal;
    key.number(principal.on_behalf_of.len());
    for link in principal.chain() {
        actor(key, link);
    }
    key.text(&principal.issuer);
    if reads.has(Reads::LOGIN) {
        let proof = &principal.proof;
        key.byte(proof.login.map_or(0, |login| login as u8 + 1));
        key.texts(proof.amr.iter().map(|method| &**method));
        optional(key, proof.acr.as_deref());
    }
    if reads.has(Reads::SOURCE) {
        match question.source.to_canonical() {
            IpAddr::V4(ip) => key.raw(&ip.octets()),
            IpAddr::V6(ip) => key.raw(&ip.octets()),
        }
    }
    if reads.has(Reads::SESSION) {
        key.text(question.session);
    }
    if reads.has(Reads::RISK) {
        key.byte(question.risk.score);
        key.texts(question.risk.labels.iter().map(String::as_str));
    }
    match question.facts {
        Some(Facts::Sql(sql)) => {
            key.byte(2);
            if reads.has(Reads::SQL) {
                statement(key, sql, reads);
            }
        }
        Some(Facts::Ssh(of)) => {
            key.byte(3);
            if reads.has(Reads::SSH) {
                ssh::facts(key, of, reads);
            }
        }
        Some(Facts::Connect { .. }) => key.byte(1),
        None => key.byte(0),
    }
}

/// Groups that no policy names are here too: leaving them out costs more than it saves.
fn actor(key: &mut Key, actor: &Actor) {
    key.byte(actor.kind as u8);
    key.text(&actor.subject);
    key.texts(actor.groups.iter().map(|g| &**g));
    key.flag(actor.mfa);
    key.flag(actor.autonomous);
    optional(key, actor.owner.as_deref());
    key.number(actor.attrs.len());
    for (name, value) in &actor.attrs {
        key.text(name);
        key.text(value);
    }
}

fn statement(key: &mut Key, sql: &SqlFacts, reads: Reads) {
    key.byte(sql.kind as u8);
    for flag in [
        sql.has_where,
        sql.has_limit,
        sql.multi_statement,
        sql.touches_catalog,
        sql.writes,
        sql.locks,
        sql.parsed,
        sql.read_only_txn,
    ] {
        key.flag(flag);
    }
    key.flag(sql.limit.is_some());
    // The bits of the number: only equality matters here.
    key.number(sql.limit.unwrap_or_default() as usize);
    if reads.has(Reads::OBJECTS) {
        key.number(sql.reads.len());
        key.number(sql.writes_to.len());
        for relation in sql.reads.iter().chain(&sql.writes_to) {
            key.text(&relation.schema);
            key.text(&relation.name);
        }
        key.texts(sql.functions.iter().map(|f| &**f));
    }
}

/// One access, for the link with this number.
pub(crate) fn access(key: &mut Key, access: &Access, link: usize) {
    key.number(link);
    key.byte(access.action as u8);
    match &access.target {
        Some(of) => target(key, of),
        None => key.byte(0),
    }
    resource(key, &access.resource);
}

fn target(key: &mut Key, target: &Target) {
    key.byte(1);
    key.text(&target.name);
    key.text(&target.env);
    key.text(target.protocol.as_str());
    key.number(target.tags.len());
    for (name, value) in &target.tags {
        key.text(name);
        key.text(value);
    }
}

pub(crate) fn resource(key: &mut Key, resource: &Resource) {
    match resource {
        Resource::PgDatabase { database } => {
            key.byte(0);
            key.text(database);
        }
        Resource::PgSchema { database, schema } => {
            key.byte(1);
            key.text(database);
            key.text(schema);
        }
        Resource::PgTable {
            database,
            schema,
            table,
            known,
            labels,
        } => {
            key.byte(2);
            for name in [database, schema, table] {
                key.text(name);
            }
            key.flag(*known);
            key.texts(labels.iter().map(|l| &**l));
        }
        Resource::PgColumn { database, column } => {
            key.byte(3);
            for name in [database, &column.schema, &column.table, &column.column] {
                key.text(name);
            }
            key.texts(column.labels.iter().map(|l| &**l));
        }
        Resource::PgFunction {
            database,
            schema,
            function,
            known,
            volatile,
            security_definer,
            dangerous,
        } => {
            key.byte(4);
            for name in [database, schema, function] {
                key.text(name);
            }
            for flag in [known, volatile, security_definer, dangerous] {
                key.flag(*flag);
            }
        }
        Resource::PgRole { role } => {
            key.byte(10);
            key.text(role);
        }
        Resource::SshAccount { .. }
        | Resource::SshProgram { .. }
        | Resource::SshFile { .. }
        | Resource::SshEndpoint { .. }
        | Resource::SshVariable { .. }
        | Resource::SshSubsystem { .. } => ssh::resource(key, resource),
        Resource::Target => key.byte(5),
        Resource::Session { id, owner } => {
            key.byte(6);
            key.raw(id.0.as_bytes());
            key.text(owner);
        }
        Resource::Bundle { digest, author } => {
            key.byte(7);
            key.text(digest);
            optional(key, author.as_deref());
        }
        Resource::Plugin { name } => {
            key.byte(8);
            key.text(name);
        }
        Resource::ApprovalRule { rule, requesters } => {
            key.byte(9);
            key.text(rule);
            key.texts(requesters.iter().map(|r| &**r));
        }
    }
}

fn optional(key: &mut Key, text: Option<&str>) {
    key.flag(text.is_some());
    key.text(text.unwrap_or_default());
}

/// The approval rules that count as satisfied.
pub(crate) fn approvals<'a>(key: &mut Key, approvals: impl Iterator<Item = &'a str>) {
    for rule in approvals {
        key.byte(1);
        key.text(rule);
    }
    key.byte(0);
}
