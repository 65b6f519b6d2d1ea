//! The pipeline's hooks over the active set of plugins.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline::mask::{MaskAction, MaskBatch, MaskColumn, MaskEdits, MaskPlan};
use pipeline::ports::{Hooks, MaskFailed};
use pipeline::{ApprovalRule, Facts, Risk, Route, SessionInfo};

use crate::admission::Loaded;
use crate::batch::{Selected, Values};
use crate::bindings::mask::OnlyMaskPre;
use crate::bindings::mask::exports::weir::plugin::mask as wit_mask;
use crate::bindings::route::OnlyRoutePre;
use crate::bindings::route::exports::weir::plugin::route as wit_route;
use crate::bindings::{classify::OnlyClassifyPre, types};
use crate::call::until;
use crate::events::Hook;
use crate::fault::Fault;
use crate::limits::COLUMNS;
use crate::plugins::{Plugins, Set};
use crate::state::CallState;
use crate::{check, convert};

/// Goes with a plan, so that its batches reach the very plugins that asked for them.
struct PlanToken {
    inspectors: Vec<Inspector>,
}

struct Inspector {
    plugin: Arc<Loaded>,
    state: Vec<u8>,
    /// By column: does it inspect it?
    columns: Vec<bool>,
}

#[async_trait]
impl Hooks for Plugins {
    async fn classify(&self, session: &SessionInfo, facts: &Facts) -> Arc<Risk> {
        let set = self.set.load_full();
        if let Some(known) = set.risks.get(session.id, facts) {
            return known;
        }
        let (risk, pure) = self.classify_anew(&set, session, facts).await;
        let risk = Arc::new(risk);
        if pure {
            set.risks.put(session.id, facts, &risk);
        }
        risk
    }

    async fn route(
        &self,
        session: &SessionInfo,
        facts: &Facts,
        rule: &ApprovalRule,
        risk: &Risk,
    ) -> Route {
        let set = self.set.load_full();
        let fallback = || {
            let who = &session.principal.actor.subject;
            let title = format!("{}: {who} on {}", rule.name, session.target.name);
            Route::from_rule(rule, title)
        };
        if set.plugins.iter().all(|p| p.route.is_none()) {
            return fallback();
        }
        let about = convert::session(session);
        let op = convert::operation(facts);
        let (wit_rule, wit_risk) = (convert::rule(rule), convert::risk(risk));
        for plugin in &set.plugins {
            let Some(pre) = &plugin.route else { continue };
            let asked = self.ask_router(plugin, pre, &about, &op, &wit_rule, &wit_risk);
            let answer = asked.await.and_then(|routing| {
                routing
                    .map(|routing| check::route(routing, rule))
                    .transpose()
            });
            match answer {
                Ok(Some(route)) => return route,
                Ok(None) => {}
                Err(fault) => {
                    self.failed(plugin, Hook::Route, &fault, session.id);
                    return fallback();
                }
            }
        }
        fallback()
    }

    async fn mask_plan(&self, session: &SessionInfo, columns: &[MaskColumn]) -> MaskPlan {
        let set = self.set.load_full();
        if !set.missing.is_empty() {
            for name in &set.missing {
                self.absent(name, Hook::MaskPlan, session.id);
            }
            return MaskPlan::redact_all(columns.len());
        }
        if set.plugins.iter().all(|p| p.mask.is_none()) {
            return MaskPlan::pass(columns.len());
        }
        if columns.len() > COLUMNS {
            tracing::warn!(
                columns = columns.len(),
                "too many columns for maskers: all redacted"
            );
            return MaskPlan::redact_all(columns.len());
        }
        let key = (session.id, columns.to_vec());
        if let Some(plan) = set.plans.lock().get(&key) {
            return plan.clone();
        }
        match self.plan(&set, session, columns).await {
            Some(plan) => {
                set.remember(key, plan.clone());
                plan
            }
            None => MaskPlan::redact_all(columns.len()),
        }
    }

    async fn mask_batch(
        &self,
        session: &SessionInfo,
        plan: &MaskPlan,
        batch: MaskBatch,
    ) -> Result<MaskEdits, MaskFailed> {
        let failed = |plugin: &str, fault: &Fault| MaskFailed {
            plugin: plugin.to_owned(),
            message: fault.to_string(),
        };
        let token: Option<&dyn Any> = plan.token.as_deref().map(|t| t as _);
        let Some(token) = token.and_then(|t| t.downcast_ref::<PlanToken>()) else {
            let fault = Fault::Host("no masker planned to inspect these values".into());
            return Err(failed("(none)", &fault));
        };
        let mut values = Values::new(batch).map_err(|fault| failed("(none)", &fault))?;
        if !token.covers(&values, plan.actions.len()) {
            let fault = Fault::Host("no masker planned to inspect some of these values".into());
            return Err(failed("(none)", &fault));
        }
        for inspector in &token.inspectors {
            let plugin = &inspector.plugin;
            let result = self.inspect_batch(inspector, &mut values).await;
            if let Err(fault) = result {
                self.failed(plugin, Hook::MaskBatch, &fault, session.id);
                return Err(failed(&plugin.info.name, &fault));
            }
        }
        values.finish().map_err(|fault| failed("(all)", &fault))
    }
}

impl PlanToken {
    /// Is every value inspected by somebody?
    fn covers(&self, values: &Values, columns: usize) -> bool {
        let union: Vec<bool> = (0..columns)
            .map(|i| {
                let inspects = |one: &Inspector| one.columns.get(i).copied().unwrap_or(false);
                self.inspectors.iter().any(inspects)
            })
            .collect();
        values.all_in(&union)
    }
}

impl Plugins {
    /// Also says whether the same question has the same answer for as long as this set is active.
    async fn classify_anew(&self, set: &Set, session: &SessionInfo, facts: &Facts) -> (Risk, bool) {
        let mut risk = Risk {
            set: set.kept.clone(),
            ..Risk::default()
        };
        let mut pure = set.missing.is_empty();
        for name in &set.missing {
            self.absent(name, Hook::Classify, session.id);
            let text = format!("the required plugin {name} is not loaded");
            // It is missing from this set, whenever that is asked.
            risk.join(Risk {
                fleeting: false,
                ..Risk::plugin_failed(None, &text)
            });
        }
        // The others say of themselves that they know nothing of it.
        let protocol = facts.protocol();
        let asked = || set.plugins.iter().filter(|p| p.classifies(protocol));
        if asked().next().is_none() {
            return (risk, pure);
        }
        let about = convert::session(session);
        let op = convert::operation(facts);
        for plugin in asked() {
            let Some(pre) = &plugin.classify else {
                continue;
            };
            match self.ask_classifier(plugin, pre, &about, &op).await {
                Ok((answer, by_itself)) => {
                    risk.join(answer);
                    risk.fleeting |= !by_itself;
                    pure &= by_itself;
                }
                Err(fault) => {
                    self.failed(plugin, Hook::Classify, &fault, session.id);
                    let text = format!("the plugin {} failed: {fault}", plugin.info.name);
                    risk.join(Risk::plugin_failed(Some(plugin.reference.clone()), &text));
                    pure = false;
                }
            }
        }
        (risk, pure)
    }

    async fn ask_classifier(
        &self,
        plugin: &Loaded,
        pre: &OnlyClassifyPre<CallState>,
        session: &types::Session,
        op: &types::Operation,
    ) -> Result<(Risk, bool), Fault> {
        let now = self.now_unix();
        let mut call = self
            .runtime
            .begin(&plugin.shared, Hook::Classify, now)
            .await?;
        let store = &mut call.store;
        let answer = until(call.deadline, async {
            let instance = pre.instantiate_async(&mut *store).await?;
            let classify = instance.weir_plugin_classify();
            classify.call_classify(store, session, op).await
        });
        let answer = answer.await?;
        let by_itself = !call.store.data().asked;
        let risk = check::said(answer).and_then(|risk| check::risk(risk, &plugin.reference))?;
        Ok((risk, by_itself))
    }

    async fn ask_router(
        &self,
        plugin: &Loaded,
        pre: &OnlyRoutePre<CallState>,
        session: &types::Session,
        op: &types::Operation,
        rule: &wit_route::Rule,
        risk: &types::Risk,
    ) -> Result<Option<wit_route::Routing>, Fault> {
        let now = self.now_unix();
        let mut call = self.runtime.begin(&plugin.shared, Hook::Route, now).await?;
        let store = &mut call.store;
        let answer = until(call.deadline, async {
            let instance = pre.instantiate_async(&mut *store).await?;
            let route = instance.weir_plugin_route();
            route
                .call_route_approval(store, session, op, rule, risk)
                .await
        });
        check::said(answer.await?)
    }

    /// The joint plan of all maskers; none when one of them failed.
    async fn plan(
        &self,
        set: &Set,
        session: &SessionInfo,
        columns: &[MaskColumn],
    ) -> Option<MaskPlan> {
        let about = convert::session(session);
        let wit_columns = convert::columns(columns);
        let mut joint = Joint::new(columns.len());
        for plugin in &set.plugins {
            let Some(pre) = &plugin.mask else { continue };
            match self.ask_planner(plugin, pre, &about, &wit_columns).await {
                Ok((actions, state)) => joint.add(plugin, actions, state),
                Err(fault) => {
                    self.failed(plugin, Hook::MaskPlan, &fault, session.id);
                    return None;
                }
            }
        }
        Some(joint.finish(columns))
    }

    async fn ask_planner(
        &self,
        plugin: &Loaded,
        pre: &OnlyMaskPre<CallState>,
        session: &types::Session,
        columns: &[wit_mask::Column],
    ) -> Result<(Vec<MaskAction>, Vec<u8>), Fault> {
        let now = self.now_unix();
        let mut call = self
            .runtime
            .begin(&plugin.shared, Hook::MaskPlan, now)
            .await?;
        let store = &mut call.store;
        let answer = until(call.deadline, async {
            let instance = pre.instantiate_async(&mut *store).await?;
            instance
                .weir_plugin_mask()
                .call_make_plan(store, session, columns)
                .await
        });
        let answer = answer.await?;
        check::said(answer).and_then(|plan| check::plan(plan, columns.len()))
    }

    /// Sends a masker the values of its columns, and applies its edits.
    async fn inspect_batch(&self, inspector: &Inspector, values: &mut Values) -> Result<(), Fault> {
        let selected = values.select(&inspector.columns)?;
        if selected.is_empty() {
            return Ok(());
        }
        let edits = self.ask_masker(inspector, &selected).await?;
        values.apply(selected.positions(), &edits)
    }

    async fn ask_masker(
        &self,
        inspector: &Inspector,
        selected: &Selected,
    ) -> Result<wit_mask::Edits, Fault> {
        let plugin = &inspector.plugin;
        let Some(pre) = &plugin.mask else {
            return Err(Fault::Host("it is not a masker".into()));
        };
        let now = self.now_unix();
        let mut call = self
            .runtime
            .begin(&plugin.shared, Hook::MaskBatch, now)
            .await?;
        let store = &mut call.store;
        let answer = until(call.deadline, async {
            let instance = pre.instantiate_async(&mut *store).await?;
            let mask = instance.weir_plugin_mask();
            mask.call_mask_batch(store, &inspector.state, &selected.batch)
                .await
        });
        check::said(answer.await?)
    }
}

/// Plans of several maskers, joined: every action of every masker applies. What the host does itself
/// comes first, so that a plugin sees no more than the client would.
struct Joint {
    plan: MaskPlan,
    inspectors: Vec<Inspector>,
}

impl Joint {
    fn new(columns: usize) -> Self {
        Self {
            plan: MaskPlan::pass(columns),
            inspectors: Vec::new(),
        }
    }

    fn add(&mut self, plugin: &Arc<Loaded>, actions: Vec<MaskAction>, state: Vec<u8>) {
        let columns: Vec<bool> = actions.iter().map(|a| *a == MaskAction::Inspect).collect();
        for (joint, action) in self.plan.actions.iter_mut().zip(actions) {
            if action != MaskAction::Pass && !joint.contains(&action) {
                joint.push(action);
            }
        }
        self.plan.plugins.push(plugin.reference.clone());
        if columns.contains(&true) {
            self.inspectors.push(Inspector {
                plugin: plugin.clone(),
                state,
                columns,
            });
        }
    }

    /// A column that policy wants hidden is hidden, whatever the maskers say, and they do not see its
    /// values: they could write them into another column.
    fn finish(mut self, columns: &[MaskColumn]) -> MaskPlan {
        for (i, (actions, column)) in self.plan.actions.iter_mut().zip(columns).enumerate() {
            let inspected = actions.contains(&MaskAction::Inspect);
            actions.retain(|a| *a != MaskAction::Inspect);
            if !column.must_mask {
                actions.extend(inspected.then_some(MaskAction::Inspect));
                continue;
            }
            for inspector in &mut self.inspectors {
                if let Some(asked) = inspector.columns.get_mut(i) {
                    *asked = false;
                }
            }
            if !actions.iter().any(MaskAction::hides) {
                actions.push(MaskAction::Redact("[redacted]".into()));
            }
        }
        self.inspectors.retain(|i| i.columns.contains(&true));
        if !self.inspectors.is_empty() {
            self.plan.token = Some(Arc::new(PlanToken {
                inspectors: self.inspectors,
            }));
        }
        self.plan
    }
}
