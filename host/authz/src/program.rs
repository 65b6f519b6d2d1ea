//! Compiled policies, indexed by scope, and their evaluation.
//!
//! Cedar's own `is_authorized` looks at every policy. Here only those are looked at whose scope can
//! match: by the kinds of principal, action and resource, then by the entities that the scope
//! names. A policy that is left out would have been false, without an error, so the outcome is the
//! same; a test compares the two on random requests.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy_core::ast::{Context, SlotEnv};
use cedar_policy_core::ast::{
    Entity, EntityUID, EntityUIDEntry, Expr, Literal, Request, ValueKind,
};
use cedar_policy_core::entities::{Entities, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::pst::{
    Effect, EntityOrSlot, PrincipalConstraint, ResourceConstraint, Template,
};
use pipeline::{Action, PrincipalKind};

use crate::build::Built;
use crate::model::Model;
use crate::reads::Reads;
use crate::vocab::{PRINCIPAL_KINDS, ResourceKind, Types, principal_type};

/// A policy, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub id: Arc<str>,
    pub effect: Effect,
    /// The text of `@reason`; empty without one.
    pub reason: Arc<str>,
    pub reads: Reads,
    /// Its scope is all there is to it: a permit, without `when` and `unless`.
    permits_outright: bool,
    /// Its scope names a principal that must be exactly that one, not one in it.
    exact_principal: bool,
    exact_resource: bool,
    /// Scope and conditions in one expression.
    condition: Expr,
}

/// What the policies say about one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evaluated {
    pub permits: Vec<u32>,
    pub forbids: Vec<u32>,
    pub errors: Vec<(u32, String)>,
}

impl Evaluated {
    /// Any error denies, because Cedar would just leave the policy out.
    pub fn is_permit(&self) -> bool {
        self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty()
    }
}

/// One request, built.
pub(crate) struct Asked<'a> {
    pub principal: &'a Built,
    pub action: Action,
    pub resource: &'a Built,
    /// Further entities that conditions may look into.
    pub others: &'a [Arc<Entity>],
}

/// The entity that a scope names, numbered; 0 stands for "any".
type Anchor = u32;
const ANYTHING: Anchor = 0;

/// Policies that can apply to one kind of principal, action and resource, by their anchors.
#[derive(Debug)]
struct Slice {
    principal_type: String,
    resource_type: String,
    by_anchor: HashMap<(Anchor, Anchor), Vec<u32>>,
}

/// All policies of a bundle.
#[derive(Debug)]
pub(crate) struct Program {
    policies: Vec<Compiled>,
    anchors: HashMap<EntityUID, Anchor>,
    slices: HashMap<(PrincipalKind, Action, ResourceKind), Slice>,
    action_ids: Vec<EntityUID>,
    /// The schema's action entities with their groups: without them, `action in` is silently false.
    actions: Entities,
    /// The same, one action each: enough unless a condition looks up an action by name.
    single_actions: Vec<Entities>,
    /// Some condition does.
    names_actions: bool,
    /// Everything that some policy reads.
    pub reads: Reads,
}

/// A store with one action and its groups. Without the action it is the whole store, which is right
/// too, only slower.
fn only(actions: &Entities, id: &EntityUID) -> Entities {
    let found = actions.iter().find(|entity| entity.uid() == id).cloned();
    let single = found.and_then(|entity| {
        Entities::new()
            .add_entities(
                [Arc::new(entity)],
                None::<&cedar_policy_core::validator::CoreSchema<'_>>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .ok()
    });
    single.unwrap_or_else(|| actions.clone())
}

/// A policy on its way into the program.
pub(crate) struct Source {
    pub id: Arc<str>,
    pub tree: Template,
    pub condition: Expr,
}

impl Program {
    pub fn new(sources: Vec<Source>, model: &Model, types: &Types, actions: Entities) -> Self {
        let action_ids: Vec<EntityUID> = Action::ALL
            .iter()
            .map(|a| crate::vocab::uid(&types.action, a.as_str()))
            .collect();
        let mut program = Self {
            policies: Vec::with_capacity(sources.len()),
            anchors: HashMap::new(),
            slices: HashMap::new(),
            single_actions: action_ids.iter().map(|id| only(&actions, id)).collect(),
            names_actions: false,
            action_ids,
            actions,
            reads: Reads::NOTHING,
        };
        for kind in PRINCIPAL_KINDS {
            for action in Action::ALL {
                for resource in ResourceKind::ALL {
                    let principal = principal_type(types, *kind).to_string();
                    let entity = resource.entity_type(types).to_string();
                    if model.applies(action.as_str(), &principal, &entity) {
                        let slice = Slice {
                            principal_type: principal.clone(),
                            resource_type: entity,
                            by_anchor: HashMap::new(),
                        };
                        program.slices.insert((*kind, *action, *resource), slice);
                    }
                }
            }
        }
        for source in sources {
            program.add(source, model);
        }
        program
    }

    fn add(&mut self, source: Source, model: &Model) {
        let Ok(index) = u32::try_from(self.policies.len()) else {
            return;
        };
        let Source {
            id,
            tree,
            condition,
        } = source;
        let (principal_kind, principal) = match &tree.principal {
            PrincipalConstraint::Eq(e) | PrincipalConstraint::In(e) => (None, Some(e)),
            PrincipalConstraint::Is(ty) => (Some(ty.to_string()), None),
            PrincipalConstraint::IsIn(ty, e) => (Some(ty.to_string()), Some(e)),
            _ => (None, None),
        };
        let (resource_kind, resource) = match &tree.resource {
            ResourceConstraint::Eq(e) | ResourceConstraint::In(e) => (None, Some(e)),
            ResourceConstraint::Is(ty) => (Some(ty.to_string()), None),
            ResourceConstraint::IsIn(ty, e) => (Some(ty.to_string()), Some(e)),
            _ => (None, None),
        };
        let anchors = (self.anchor(principal), self.anchor(resource));
        let matched = model.matched_actions(&tree.action);
        for ((_, action, _), slice) in &mut self.slices {
            let fits = |want: &Option<String>, have: &str| want.as_ref().is_none_or(|w| w == have);
            if fits(&principal_kind, &slice.principal_type)
                && fits(&resource_kind, &slice.resource_type)
                && matched.contains(&action.as_str())
            {
                slice.by_anchor.entry(anchors).or_default().push(index);
            }
        }
        self.names_actions |= crate::lint::looks_up_actions(&tree);
        let reads = Reads::of(&tree);
        self.reads = self.reads | reads;
        self.policies.push(Compiled {
            id,
            effect: tree.effect,
            reason: tree
                .annotations
                .get("reason")
                .map_or("", |r| r.as_str())
                .into(),
            reads,
            permits_outright: tree.effect == Effect::Permit && tree.clauses().is_empty(),
            exact_principal: matches!(&tree.principal, PrincipalConstraint::Eq(_)),
            exact_resource: matches!(&tree.resource, ResourceConstraint::Eq(_)),
            condition,
        });
    }

    fn anchor(&mut self, scope: Option<&EntityOrSlot>) -> Anchor {
        match scope {
            Some(EntityOrSlot::Entity(uid)) => {
                let next = u32::try_from(self.anchors.len() + 1).unwrap_or(u32::MAX);
                *self.anchors.entry(uid.clone().into()).or_insert(next)
            }
            Some(EntityOrSlot::Slot(_)) | None => ANYTHING,
        }
    }

    pub fn policy(&self, index: u32) -> Option<&Compiled> {
        self.policies.get(index as usize)
    }

    /// Can this be asked at all, by the schema?
    pub fn applies(&self, kind: PrincipalKind, action: Action, resource: ResourceKind) -> bool {
        self.slices.contains_key(&(kind, action, resource))
    }

    /// The policies whose scope can match, in the bundle's order.
    pub fn candidates(
        &self,
        kind: PrincipalKind,
        resource_kind: ResourceKind,
        asked: &Asked<'_>,
    ) -> Vec<u32> {
        let Some(slice) = self.slices.get(&(kind, asked.action, resource_kind)) else {
            return Vec::new();
        };
        let principals = self.anchors_of(asked.principal);
        let resources = self.anchors_of(asked.resource);
        let mut out = Vec::new();
        for principal in &principals {
            for resource in &resources {
                if let Some(found) = slice.by_anchor.get(&(*principal, *resource)) {
                    out.extend_from_slice(found);
                }
            }
        }
        out.sort_unstable();
        out
    }

    /// Does every request of this kind permit, whatever the resource in the target and the context
    /// are? Only permits without conditions prove it, and nothing else may have a say: a condition
    /// can be an error, which denies.
    pub fn permits_outright(
        &self,
        kind: PrincipalKind,
        action: Action,
        resource: ResourceKind,
        principal: &Built,
        target: &Built,
    ) -> bool {
        let Some(slice) = self.slices.get(&(kind, action, resource)) else {
            return false;
        };
        let principals = self.anchors_of(principal);
        let itself = self.anchors.get(&principal.uid);
        let whole = self.anchors_of(target);
        let mut permitted = false;
        for ((anchor, resource), policies) in &slice.by_anchor {
            if !principals.contains(anchor) {
                continue;
            }
            let mut all = policies.iter().map(|i| self.policy(*i));
            if !all.all(|p| p.is_some_and(|p| p.permits_outright)) {
                return false;
            }
            // `==` a group is nobody, and `==` the target is nothing that is in it.
            let holds = |p: &Compiled| {
                let somebody = !p.exact_principal || itself == Some(anchor);
                somebody && !p.exact_resource
            };
            let mut all = policies.iter().filter_map(|i| self.policy(*i));
            permitted |= whole.contains(resource) && all.any(holds);
        }
        permitted
    }

    fn anchors_of(&self, built: &Built) -> Vec<Anchor> {
        let named = built.ids.iter().filter_map(|id| self.anchors.get(id));
        std::iter::once(ANYTHING).chain(named.copied()).collect()
    }

    /// Everything that these policies read.
    pub fn reads_of(&self, candidates: &[u32]) -> Reads {
        candidates
            .iter()
            .filter_map(|i| self.policy(*i))
            .fold(Reads::NOTHING, |all, p| all | p.reads)
    }

    /// The entities of a request: the action with its groups, and what was built for it.
    pub fn entities(&self, asked: &Asked<'_>) -> Result<Entities, String> {
        let actions = match self.single_actions.get(asked.action as usize) {
            Some(single) if !self.names_actions => single,
            _ => &self.actions,
        };
        let built = asked
            .principal
            .entities
            .iter()
            .chain(&asked.resource.entities)
            .chain(asked.others)
            .cloned();
        // Every entity carries all of its ancestors already.
        actions
            .clone()
            .add_entities(
                built,
                None::<&cedar_policy_core::validator::CoreSchema<'_>>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map_err(|error| error.to_string())
    }

    pub fn request(&self, asked: &Asked<'_>, context: Context) -> Option<Request> {
        let action = self.action_ids.get(asked.action as usize)?;
        Some(Request::new_unchecked(
            EntityUIDEntry::known(asked.principal.uid.clone(), None),
            EntityUIDEntry::known(action.clone(), None),
            EntityUIDEntry::known(asked.resource.uid.clone(), None),
            Some(context),
        ))
    }

    /// Evaluates the candidates, all of them: an error in the last one still counts.
    pub fn evaluate(&self, candidates: &[u32], request: Request, entities: &Entities) -> Evaluated {
        let evaluator = Evaluator::new(request, entities, Extensions::all_available());
        let slots = SlotEnv::new();
        let mut out = Evaluated::default();
        for index in candidates {
            let Some(policy) = self.policy(*index) else {
                continue;
            };
            match evaluator.interpret(&policy.condition, &slots) {
                Ok(value) => match (value.value_kind(), policy.effect) {
                    (ValueKind::Lit(Literal::Bool(false)), _) => {}
                    (ValueKind::Lit(Literal::Bool(true)), Effect::Permit) => {
                        out.permits.push(*index);
                    }
                    (ValueKind::Lit(Literal::Bool(true)), Effect::Forbid) => {
                        out.forbids.push(*index);
                    }
                    _ => out.errors.push((*index, "not a truth value".into())),
                },
                Err(error) => out.errors.push((*index, error.to_string())),
            }
        }
        out
    }
}

impl Program {
    /// Is this condition true for a request that is built like every other?
    pub fn probe(
        &self,
        condition: &Expr,
        builder: &crate::build::Builder,
        actor: &pipeline::Actor,
        access: &pipeline::Access,
    ) -> Result<bool, String> {
        let principal = builder.actor(actor);
        let resource = builder.resource(access).map_err(|e| e.to_string())?;
        let asked = Asked {
            principal: &principal,
            action: access.action,
            resource: &resource,
            others: &[],
        };
        let request = self
            .request(&asked, Context::empty())
            .ok_or("an unknown action")?;
        let entities = self.entities(&asked)?;
        let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
        let value = evaluator
            .interpret(condition, &SlotEnv::new())
            .map_err(|e| e.to_string())?;
        Ok(matches!(
            value.value_kind(),
            ValueKind::Lit(Literal::Bool(true))
        ))
    }
}
