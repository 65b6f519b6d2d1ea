//! The schema as data: enumerations, attributes, action groups.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy_core::pst::{
    ActionConstraint, EntityOrSlot, PrincipalConstraint, ResourceConstraint, Template, Var,
};
use serde_json::Value;

/// Common types inside each other; Cedar refuses cycles itself.
const MAX_TYPE_DEPTH: usize = 32;

/// A type, as far as attributes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Record(BTreeMap<String, Shape>),
    Entity(String),
    Other,
}

#[derive(Debug, Clone, Default)]
struct ActionModel {
    /// All groups that it is in.
    groups: BTreeSet<String>,
    principals: Vec<String>,
    resources: Vec<String>,
    context: Option<Shape>,
}

/// What a schema declares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// Type → its attributes, as a record.
    entities: BTreeMap<String, Shape>,
    /// The same types as references, to hand out.
    references: BTreeMap<String, Shape>,
    enums: BTreeMap<String, BTreeSet<String>>,
    actions: BTreeMap<String, ActionModel>,
}

impl Model {
    /// From Cedar's JSON form of a schema, with resolved names.
    pub fn from_json(schema: &Value) -> Self {
        let mut model = Self::default();
        let Some(namespaces) = schema.as_object() else {
            return model;
        };
        let mut common = BTreeMap::new();
        for (namespace, body) in namespaces {
            for (name, ty) in members(body, "commonTypes") {
                common.insert(qualify(namespace, name), ty);
            }
        }
        for (namespace, body) in namespaces {
            for (name, entity) in members(body, "entityTypes") {
                model.entity(qualify(namespace, name), entity, &common);
            }
            for (name, action) in members(body, "actions") {
                let read = ActionModel {
                    groups: parents(action),
                    principals: strings(action, "/appliesTo/principalTypes"),
                    resources: strings(action, "/appliesTo/resourceTypes"),
                    context: action
                        .pointer("/appliesTo/context")
                        .map(|ty| shape(ty, &common, 0)),
                };
                model.actions.insert(name.clone(), read);
            }
        }
        model.close_groups();
        model
    }

    fn entity(&mut self, name: String, entity: &Value, common: &BTreeMap<String, &Value>) {
        if let Some(choices) = entity.get("enum").and_then(Value::as_array) {
            let choices = choices.iter().filter_map(Value::as_str);
            self.enums
                .insert(name.clone(), choices.map(str::to_owned).collect());
        }
        let attributes = entity
            .get("shape")
            .map_or(Shape::Record(BTreeMap::new()), |ty| shape(ty, common, 0));
        self.references
            .insert(name.clone(), Shape::Entity(name.clone()));
        self.entities.insert(name, attributes);
    }

    /// Follows groups of groups to the end. Cedar has refused cycles.
    fn close_groups(&mut self) {
        loop {
            let mut changed = false;
            let snapshot = self.actions.clone();
            for action in self.actions.values_mut() {
                for group in action.groups.clone() {
                    let above = snapshot.get(&group).map(|g| &g.groups);
                    for name in above.into_iter().flatten() {
                        changed |= action.groups.insert(name.clone());
                    }
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// The choices of an enumerated entity type.
    pub fn choices(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.enums.get(name)
    }

    pub fn has_action(&self, name: &str) -> bool {
        self.actions.contains_key(name)
    }

    pub fn is_in_group(&self, action: &str, group: &str) -> bool {
        self.actions
            .get(action)
            .is_some_and(|a| a.groups.contains(group))
    }

    /// Actions that can be asked for.
    pub fn leaves(&self) -> impl Iterator<Item = &str> {
        self.actions
            .iter()
            .filter(|(_, a)| !a.resources.is_empty())
            .map(|(name, _)| name.as_str())
    }

    pub fn applies(&self, action: &str, principal: &str, resource: &str) -> bool {
        self.actions.get(action).is_some_and(|a| {
            a.principals.iter().any(|p| p == principal) && a.resources.iter().any(|r| r == resource)
        })
    }

    /// The actions that a policy's scope lets through.
    pub fn matched_actions(&self, scope: &ActionConstraint) -> Vec<&str> {
        self.leaves()
            .filter(|leaf| match scope {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(uid) => uid.eid == **leaf,
                ActionConstraint::In(uids) => uids
                    .iter()
                    .any(|uid| uid.eid == **leaf || self.is_in_group(leaf, &uid.eid)),
                #[allow(unreachable_patterns)] // The enum may grow; then nothing is let through.
                _ => false,
            })
            .collect()
    }

    /// What a variable can be in the requests that the policy's scope lets through.
    pub fn shapes_of(&self, var: Var, policy: &Template) -> Vec<&Shape> {
        let principal_type = match &policy.principal {
            PrincipalConstraint::Eq(EntityOrSlot::Entity(uid)) => Some(uid.ty.to_string()),
            PrincipalConstraint::Is(ty) | PrincipalConstraint::IsIn(ty, _) => Some(ty.to_string()),
            _ => None,
        };
        let resource_type = match &policy.resource {
            ResourceConstraint::Eq(EntityOrSlot::Entity(uid)) => Some(uid.ty.to_string()),
            ResourceConstraint::Is(ty) | ResourceConstraint::IsIn(ty, _) => Some(ty.to_string()),
            _ => None,
        };
        let fits = |want: &Option<String>, have: &String| want.as_ref().is_none_or(|w| w == have);
        let mut out = Vec::new();
        for action in self.matched_actions(&policy.action) {
            let Some(action) = self.actions.get(action) else {
                continue;
            };
            let names = |types: &'_ [String], want: &Option<String>| -> Vec<String> {
                types.iter().filter(|t| fits(want, t)).cloned().collect()
            };
            let principals = names(&action.principals, &principal_type);
            let resources = names(&action.resources, &resource_type);
            if principals.is_empty() || resources.is_empty() {
                continue;
            }
            match var {
                Var::Principal => out.extend(self.refer(&principals)),
                Var::Resource => out.extend(self.refer(&resources)),
                Var::Context => out.extend(&action.context),
                _ => {}
            }
        }
        out
    }

    fn refer(&self, names: &[String]) -> impl Iterator<Item = &Shape> {
        names.iter().filter_map(|name| self.references.get(name))
    }

    /// The attribute `name` of each shape that declares it.
    pub fn step<'a>(&'a self, shapes: &[&'a Shape], name: &str) -> Vec<&'a Shape> {
        shapes
            .iter()
            .filter_map(|shape| {
                let record = match shape {
                    Shape::Entity(ty) => self.entities.get(ty)?,
                    other => other,
                };
                match record {
                    Shape::Record(attrs) => attrs.get(name),
                    Shape::Entity(_) | Shape::Other => None,
                }
            })
            .collect()
    }
}

fn members<'v>(body: &'v Value, name: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    body.get(name)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn qualify(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}::{name}")
    }
}

fn parents(action: &Value) -> BTreeSet<String> {
    action
        .get("memberOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|parent| parent.get("id").and_then(Value::as_str))
        .map(str::to_owned)
        .collect()
}

fn strings(value: &Value, pointer: &str) -> Vec<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn shape(ty: &Value, common: &BTreeMap<String, &Value>, depth: usize) -> Shape {
    let name = |key: &str| ty.get(key).and_then(Value::as_str).unwrap_or_default();
    if depth > MAX_TYPE_DEPTH {
        return Shape::Other;
    }
    match name("type") {
        "Record" => Shape::Record(
            members(ty, "attributes")
                .map(|(k, v)| (k.clone(), shape(v, common, depth + 1)))
                .collect(),
        ),
        "Entity" => Shape::Entity(name("name").to_owned()),
        "EntityOrCommon" => match common.get(name("name")) {
            Some(ty) => shape(ty, common, depth + 1),
            None => Shape::Entity(name("name").to_owned()),
        },
        other => match common.get(other) {
            Some(ty) => shape(ty, common, depth + 1),
            None => Shape::Other,
        },
    }
}
