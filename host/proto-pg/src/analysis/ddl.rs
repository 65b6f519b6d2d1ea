//! Statements that change definitions, rights and the server.

use pg_raw_parse::raw::{AlterTableType as At, ConstrType, ObjectType};
use pg_raw_parse::{Node, nodes};
use pipeline::{Action, SqlKind};

use super::found::{Found, Place};
use super::frees;
use super::statement::{Cx, summarize};
use super::stored;
use super::summary::{COPIES, Draft};
use super::tells;
use super::walk::{Out, Walk};
use crate::catalog::Snapshot;

pub(super) const MOVES: &str =
    "this could move or rename labelled columns to where no label protects them";
const OUTSIDE: &str = "files, programs and other servers can give labelled columns away, because no \
                       label protects what is read there";

pub(super) fn draft<'t>(node: Node<'t>, cx: &mut Cx<'_>, depth: usize) -> Draft {
    let mut walk = cx.walk();
    let kind = tables(node, &mut walk)
        .or_else(|| objects(node, &mut walk))
        .or_else(|| code(node, &mut walk))
        .or_else(|| rights(node, &mut walk))
        .or_else(|| server(node, &mut walk));
    match kind {
        Some(kind) => {
            walk.found.writes |= kind != SqlKind::Session;
            walk.found.changes_catalog |= kind == SqlKind::Ddl;
            walk.found.hidden_code |= walk.snapshot.has_event_triggers();
            // REINDEX, CLUSTER and the like without a relation's name.
            walk.found.hidden_code |= kind == SqlKind::Utility && walk.snapshot.hides_code();
            stored::expressions(node, &mut walk);
            let mut draft = cx.done(walk, kind);
            if let Node::CreateSchemaStmt(s) = node {
                for element in s.schema_elts() {
                    let inner = summarize(element, cx, depth + 1);
                    draft.inner.push(std::sync::Arc::new(inner));
                }
            }
            draft
        }
        None => {
            walk.odd("a statement type");
            walk.found.writes = true;
            walk.found.database.insert(Action::PostgresUtility);
            cx.done(walk, SqlKind::Unknown)
        }
    }
}

/// The end of a transaction checks what was deferred, and runs its triggers.
pub(super) fn deferred(found: &mut Found, snapshot: &Snapshot) {
    found.hidden_code |= snapshot.has_deferred_triggers();
    found.checked.extend(snapshot.deferred());
}

/// A new relation in the schema where it would be made.
pub(super) fn creates(walk: &mut Walk<'_, '_>, relation: Option<&nodes::RangeVar>) {
    let Some(relation) = relation else {
        walk.odd("a statement without its relation");
        return;
    };
    walk.found.writes = true;
    walk.found.changes_catalog = true;
    // 't': pg_class.relpersistence of temporary relations.
    let temporary = u8::try_from(relation.relpersistence).is_ok_and(|p| p == b't');
    let schema = match relation.schemaname() {
        None if temporary => "pg_temp".into(),
        schema => walk.schema_of(schema),
    };
    walk.found.schemas.insert((Action::PostgresCreate, schema));
}

fn touches<'t>(walk: &mut Walk<'t, '_>, action: Action, relation: Option<&'t nodes::RangeVar>) {
    let Some(relation) = relation else {
        walk.odd("a statement without its relation");
        return;
    };
    for place in walk.places(relation) {
        if let Place::Known(index) = &place
            && action != Action::PostgresSelect
        {
            tells::part(walk, *index);
        }
        walk.found.tables.insert((action, place));
    }
}

/// CREATE, ALTER and so on of relations.
fn tables<'t>(node: Node<'t>, walk: &mut Walk<'t, '_>) -> Option<SqlKind> {
    match node {
        Node::CreateStmt(s) => create_table(s, walk),
        Node::CreateSeqStmt(s) => creates(walk, s.sequence()),
        Node::AlterSeqStmt(s) => touches(walk, Action::PostgresAlter, s.sequence()),
        Node::ViewStmt(s) => {
            walk.query(s.query(), Out::Sink);
            creates(walk, s.view());
            if s.replace && frees::is_kept(walk, s.view()) {
                touches(walk, Action::PostgresAlter, s.view());
                walk.found.copies = Some(MOVES);
            }
        }
        Node::RefreshMatViewStmt(s) => {
            touches(walk, Action::PostgresAlter, s.relation());
            tells::refreshed(walk, s.relation());
        }
        Node::IndexStmt(s) => {
            touches(walk, Action::PostgresAlter, s.relation());
            let keys = s.index_params().iter().map(Node::IndexElem);
            let elements = keys.chain(s.index_including_params());
            tells::columns(walk, s.relation(), tells::of_elements(elements));
        }
        Node::CreateStatsStmt(s) => {
            for relation in s.relations() {
                touches(walk, Action::PostgresAlter, Some(relation));
            }
        }
        Node::AlterTableStmt(s) => {
            touches(walk, Action::PostgresAlter, s.relation());
            if is_foreign(s, walk) {
                reaches_outside(walk);
            }
            for command in s.cmds() {
                match command {
                    Node::AlterTableCmd(command) => {
                        alter_table(command, walk);
                        tells::altered(walk, s.relation(), command);
                        frees::altered(walk, s.relation(), command);
                    }
                    _ => walk.odd("ALTER TABLE"),
                }
            }
        }
        Node::CreatePolicyStmt(s) => touches(walk, Action::PostgresAlter, s.table()),
        Node::AlterPolicyStmt(s) => touches(walk, Action::PostgresAlter, s.table()),
        Node::RuleStmt(s) => {
            touches(walk, Action::PostgresAlter, s.relation());
            runs_later(walk);
        }
        Node::CreateTrigStmt(s) => {
            touches(walk, Action::PostgresAlter, s.relation());
            runs_later(walk);
        }
        Node::TruncateStmt(s) => {
            for relation in s.relations() {
                match relation {
                    Node::RangeVar(r) => touches(walk, Action::PostgresTruncate, Some(r)),
                    _ => walk.odd("TRUNCATE"),
                }
            }
            return Some(SqlKind::Delete);
        }
        Node::LockStmt(s) => {
            for relation in s.relations() {
                match relation {
                    Node::RangeVar(r) => touches(walk, Action::PostgresSelect, Some(r)),
                    _ => walk.odd("LOCK"),
                }
            }
            walk.found.locks = true;
            return Some(SqlKind::Session);
        }
        _ => return None,
    }
    Some(SqlKind::Ddl)
}

/// Code that will run on other occasions.
fn runs_later(walk: &mut Walk<'_, '_>) {
    walk.found.opaque = true;
    walk.found.copies = Some(COPIES);
}

/// Through files, programs, libraries and other servers the data of this one can be reached as well,
/// and nothing says whose it is.
pub(super) fn reaches_outside(walk: &mut Walk<'_, '_>) {
    walk.found.opaque = true;
    walk.found.copies = Some(OUTSIDE);
}

/// Its options say which table of which server it stands for.
fn is_foreign<'t>(s: &'t nodes::AlterTableStmt, walk: &mut Walk<'t, '_>) -> bool {
    let places = s.relation().map(|r| walk.places(r)).unwrap_or_default();
    let snapshot = walk.snapshot;
    s.objtype == ObjectType::OBJECT_FOREIGN_TABLE
        || places.iter().any(|place| match place {
            Place::Known(index) => snapshot.relation(*index).is_some_and(|r| r.kind == b'f'),
            Place::Unknown { .. } => false,
        })
}

fn create_table<'t>(s: &'t nodes::CreateStmt, walk: &mut Walk<'t, '_>) {
    creates(walk, s.relation());
    for element in s.table_elts() {
        match element {
            Node::ColumnDef(_) | Node::Constraint(_) => {}
            Node::TableLikeClause(like) => {
                touches(walk, Action::PostgresSelect, like.relation());
            }
            _ => walk.odd("CREATE TABLE"),
        }
    }
    for parent in s.inh_relations() {
        match parent {
            Node::RangeVar(parent) => {
                touches(walk, Action::PostgresAlter, Some(parent));
                if s.partbound().is_some() {
                    tells::new_part(walk, parent);
                }
            }
            _ => walk.odd("CREATE TABLE"),
        }
    }
}

fn alter_table<'t>(command: &'t nodes::AlterTableCmd, walk: &mut Walk<'t, '_>) {
    let harmless = match command.subtype {
        At::AT_AddColumn => match command.def() {
            Node::ColumnDef(column) => {
                let generated = |c: Node<'_>| matches!(c, Node::Constraint(c) if c.contype == ConstrType::CONSTR_GENERATED);
                !column.constraints().iter().any(generated)
            }
            _ => false,
        },
        At::AT_ColumnDefault
        | At::AT_DropNotNull
        | At::AT_SetNotNull
        | At::AT_SetStatistics
        | At::AT_SetOptions
        | At::AT_ResetOptions
        | At::AT_SetStorage
        | At::AT_SetCompression
        | At::AT_DropColumn
        | At::AT_AddConstraint
        | At::AT_AlterConstraint
        | At::AT_ValidateConstraint
        | At::AT_DropConstraint
        | At::AT_ClusterOn
        | At::AT_DropCluster
        | At::AT_SetLogged
        | At::AT_SetUnLogged
        | At::AT_SetRelOptions
        | At::AT_ResetRelOptions
        | At::AT_ReplicaIdentity
        | At::AT_EnableRowSecurity
        | At::AT_ForceRowSecurity
        | At::AT_AddIdentity
        | At::AT_SetIdentity
        | At::AT_DropIdentity => true,
        _ => false,
    };
    if !harmless {
        walk.found.copies = Some(MOVES);
    }
}

/// Objects that are not relations, and those that are named by kind.
fn objects<'t>(node: Node<'t>, walk: &mut Walk<'t, '_>) -> Option<SqlKind> {
    match node {
        Node::CreateSchemaStmt(_) => {
            walk.found.database.insert(Action::PostgresCreate);
        }
        Node::DropStmt(s) => {
            for object in s.objects() {
                named(walk, Action::PostgresDrop, s.remove_type, object);
            }
            frees::dropped(walk, s);
        }
        Node::RenameStmt(s) => {
            walk.found.copies = Some(MOVES);
            match s.relation() {
                Some(relation) => touches(walk, Action::PostgresAlter, Some(relation)),
                None if s.rename_type == ObjectType::OBJECT_SCHEMA => {
                    schema(walk, Action::PostgresAlter, s.subname().unwrap_or_default());
                    walk.found.opaque = true;
                }
                None => named(walk, Action::PostgresAlter, s.rename_type, s.object()),
            }
        }
        Node::AlterObjectSchemaStmt(s) => {
            walk.found.copies = Some(MOVES);
            match s.relation() {
                Some(relation) => touches(walk, Action::PostgresAlter, Some(relation)),
                None => named(walk, Action::PostgresAlter, s.object_type, s.object()),
            }
            schema(
                walk,
                Action::PostgresCreate,
                s.newschema().unwrap_or_default(),
            );
        }
        Node::AlterOwnerStmt(s) => match s.relation() {
            Some(relation) => touches(walk, Action::PostgresAlter, Some(relation)),
            None => named(walk, Action::PostgresAlter, s.object_type, s.object()),
        },
        Node::CommentStmt(s) => named(walk, Action::PostgresAlter, s.objtype, s.object()),
        Node::SecLabelStmt(s) => named(walk, Action::PostgresAlter, s.objtype, s.object()),
        Node::CreateCastStmt(_)
        | Node::CreateOpClassStmt(_)
        | Node::CreateOpFamilyStmt(_)
        | Node::AlterOpFamilyStmt(_)
        | Node::AlterOperatorStmt(_)
        | Node::AlterStatsStmt(_)
        | Node::AlterCollationStmt(_)
        | Node::AlterTSDictionaryStmt(_)
        | Node::AlterTSConfigurationStmt(_)
        | Node::CreateConversionStmt(_)
        | Node::CreateTransformStmt(_)
        | Node::AlterObjectDependsStmt(_) => {
            walk.found.database.insert(Action::PostgresUtility);
        }
        _ => return None,
    }
    Some(SqlKind::Ddl)
}

/// Functions and types.
fn code<'t>(node: Node<'t>, walk: &mut Walk<'t, '_>) -> Option<SqlKind> {
    match node {
        Node::CreateFunctionStmt(s) => {
            created(walk, s.funcname());
            runs_later(walk);
        }
        Node::AlterFunctionStmt(s) => {
            if let Some(function) = s.func() {
                created(walk, function.objname());
            }
            runs_later(walk);
        }
        Node::DefineStmt(s) => {
            let names: Vec<&str> = s.defnames().iter().filter_map(|n| n.sval()).collect();
            creates_named(walk, &names);
        }
        Node::CompositeTypeStmt(s) => creates(walk, s.typevar()),
        Node::CreateEnumStmt(s) => {
            let names: Vec<&str> = s.type_name().iter().filter_map(|n| n.sval()).collect();
            creates_named(walk, &names);
        }
        Node::CreateRangeStmt(s) => {
            let names: Vec<&str> = s.type_name().iter().filter_map(|n| n.sval()).collect();
            creates_named(walk, &names);
        }
        Node::CreateDomainStmt(s) => {
            let names: Vec<&str> = s.domainname().iter().filter_map(|n| n.sval()).collect();
            creates_named(walk, &names);
        }
        Node::AlterEnumStmt(s) => {
            let names: Vec<&str> = s.type_name().iter().filter_map(|n| n.sval()).collect();
            named_parts(walk, Action::PostgresAlter, &names);
        }
        Node::AlterDomainStmt(s) => {
            created(walk, s.type_name());
            tells::domain(walk, s);
        }
        Node::AlterTypeStmt(s) => created(walk, s.type_name()),
        _ => return None,
    }
    Some(SqlKind::Ddl)
}

fn rights<'t>(node: Node<'t>, walk: &mut Walk<'t, '_>) -> Option<SqlKind> {
    match node {
        Node::GrantStmt(_)
        | Node::GrantRoleStmt(_)
        | Node::AlterDefaultPrivilegesStmt(_)
        | Node::CreateRoleStmt(_)
        | Node::AlterRoleStmt(_)
        | Node::AlterRoleSetStmt(_)
        | Node::DropRoleStmt(_)
        | Node::DropOwnedStmt(_)
        | Node::ReassignOwnedStmt(_) => {
            if let Node::DropOwnedStmt(_) = node {
                frees::keys(walk);
            }
            walk.found.database.insert(Action::PostgresUtility);
            walk.found.changes_catalog = true;
            Some(SqlKind::Dcl)
        }
        _ => None,
    }
}

fn server<'t>(node: Node<'t>, walk: &mut Walk<'t, '_>) -> Option<SqlKind> {
    match node {
        Node::VacuumStmt(s) => {
            tells::vacuumed(walk, s);
            for relation in s.rels() {
                if let Some(relation) = relation.relation() {
                    for place in walk.places(relation) {
                        walk.found.tables.insert((Action::PostgresUtility, place));
                    }
                }
            }
        }
        Node::ClusterStmt(s) => {
            match s.relation() {
                Some(relation) => touches(walk, Action::PostgresUtility, Some(relation)),
                None => walk.found.opaque = true,
            }
            // The next SELECT shows the order.
            tells::columns(walk, s.relation(), None);
        }
        Node::ReindexStmt(_)
        | Node::CheckPointStmt(_)
        | Node::ListenStmt(_)
        | Node::NotifyStmt(_)
        | Node::CreatedbStmt(_)
        | Node::AlterDatabaseStmt(_)
        | Node::AlterDatabaseSetStmt(_)
        | Node::AlterDatabaseRefreshCollStmt(_)
        | Node::DropdbStmt(_)
        | Node::CreateTableSpaceStmt(_)
        | Node::DropTableSpaceStmt(_)
        | Node::AlterTableSpaceOptionsStmt(_)
        | Node::DropUserMappingStmt(_) => {}
        Node::LoadStmt(_)
        | Node::AlterSystemStmt(_)
        | Node::CreateExtensionStmt(_)
        | Node::AlterExtensionStmt(_)
        | Node::AlterExtensionContentsStmt(_)
        | Node::CreateFdwStmt(_)
        | Node::AlterFdwStmt(_)
        | Node::CreateForeignServerStmt(_)
        | Node::AlterForeignServerStmt(_)
        | Node::CreateUserMappingStmt(_)
        | Node::AlterUserMappingStmt(_)
        | Node::ImportForeignSchemaStmt(_)
        | Node::CreatePLangStmt(_)
        | Node::CreateAmStmt(_) => reaches_outside(walk),
        Node::CreateEventTrigStmt(_)
        | Node::AlterEventTrigStmt(_)
        | Node::CreatePublicationStmt(_)
        | Node::AlterPublicationStmt(_)
        | Node::CreateSubscriptionStmt(_)
        | Node::AlterSubscriptionStmt(_)
        | Node::DropSubscriptionStmt(_)
        | Node::AlterTableMoveAllStmt(_) => runs_later(walk),
        _ => return None,
    }
    walk.found.database.insert(Action::PostgresUtility);
    walk.found.changes_catalog = true;
    Some(SqlKind::Utility)
}

fn schema(walk: &mut Walk<'_, '_>, action: Action, name: &str) {
    walk.found.schemas.insert((action, name.into()));
}

/// An object that is given by its kind and name.
fn named<'t>(walk: &mut Walk<'t, '_>, action: Action, kind: ObjectType::Type, object: Node<'t>) {
    let parts: Vec<&str> = match object {
        Node::NodeList(list) => list.iter().filter_map(Node::as_str).collect(),
        Node::String(s) => s.sval().into_iter().collect(),
        Node::TypeName(t) => t.names().iter().filter_map(|n| n.sval()).collect(),
        Node::ObjectWithArgs(o) => o.objname().iter().filter_map(Node::as_str).collect(),
        _ => Vec::new(),
    };
    match kind {
        ObjectType::OBJECT_TABLE
        | ObjectType::OBJECT_VIEW
        | ObjectType::OBJECT_MATVIEW
        | ObjectType::OBJECT_SEQUENCE
        | ObjectType::OBJECT_FOREIGN_TABLE => relation_named(walk, action, &parts),
        // The last part names the column, trigger, rule, policy or constraint.
        ObjectType::OBJECT_COLUMN
        | ObjectType::OBJECT_TRIGGER
        | ObjectType::OBJECT_RULE
        | ObjectType::OBJECT_POLICY
        | ObjectType::OBJECT_TABCONSTRAINT => {
            let relation = parts.split_last().map(|(_, rest)| rest).unwrap_or_default();
            relation_named(walk, Action::PostgresAlter, relation);
        }
        ObjectType::OBJECT_SCHEMA => match parts.as_slice() {
            [name] => schema(walk, action, name),
            _ => walk.odd("a schema's name"),
        },
        ObjectType::OBJECT_INDEX
        | ObjectType::OBJECT_FUNCTION
        | ObjectType::OBJECT_PROCEDURE
        | ObjectType::OBJECT_ROUTINE
        | ObjectType::OBJECT_AGGREGATE
        | ObjectType::OBJECT_TYPE
        | ObjectType::OBJECT_DOMAIN
        | ObjectType::OBJECT_COLLATION
        | ObjectType::OBJECT_STATISTIC_EXT => named_parts(walk, action, &parts),
        _ => {
            walk.found.database.insert(Action::PostgresUtility);
        }
    }
}

fn relation_named(walk: &mut Walk<'_, '_>, action: Action, parts: &[&str]) {
    let (schema, name) = match parts {
        [name] => (None, *name),
        [schema, name] | [_, schema, name] => (Some(*schema), *name),
        _ => {
            walk.odd("a relation's name");
            return;
        }
    };
    let found = walk.snapshot.find_relations(schema, name, walk.path);
    if found.is_empty() {
        walk.found.unknown_names = true;
        let schema = walk.schema_of(schema);
        let place = Place::Unknown {
            schema,
            name: name.into(),
        };
        walk.found.tables.insert((action, place));
    }
    for index in found {
        if action == Action::PostgresDrop {
            tells::part(walk, index);
        }
        walk.found.tables.insert((action, Place::Known(index)));
    }
}

fn named_parts(walk: &mut Walk<'_, '_>, action: Action, parts: &[&str]) {
    let given = match parts {
        [schema, _] | [_, schema, _] => Some(*schema),
        _ => None,
    };
    let name = walk.schema_of(given);
    walk.found.schemas.insert((action, name));
}

fn created(walk: &mut Walk<'_, '_>, name: &pg_raw_parse::list::NodeList) {
    let parts: Vec<&str> = name.iter().filter_map(Node::as_str).collect();
    creates_named(walk, &parts);
}

fn creates_named(walk: &mut Walk<'_, '_>, parts: &[&str]) {
    named_parts(walk, Action::PostgresCreate, parts);
}
