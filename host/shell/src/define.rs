//! Functions that a text defines, wherever in it.

use crate::ast::{List, Node, Stage};
use crate::programs;
use crate::reason::Opaque;
use crate::walk::Walk;

impl Walk<'_> {
    pub(crate) fn define(&mut self, list: &List) {
        for item in &list.items {
            for pipeline in std::iter::once(&item.first).chain(item.rest.iter().map(|(_, p)| p)) {
                for stage in &pipeline.stages {
                    self.define_in(stage);
                }
            }
        }
    }

    fn define_in(&mut self, stage: &Stage) {
        match &stage.node {
            Node::Simple(_) | Node::Test(_) => {}
            Node::Group(list) | Node::Subshell(list) => self.define(list),
            Node::Loop { test, body, .. } => {
                self.define(test);
                self.define(body);
            }
            Node::For { body, .. } => self.define(body),
            Node::If { arms, otherwise } => {
                for (test, body) in arms {
                    self.define(test);
                    self.define(body);
                }
                otherwise.iter().for_each(|list| self.define(list));
            }
            Node::Case { arms, .. } => arms.iter().for_each(|arm| self.define(&arm.body)),
            Node::Function { name, body } => {
                if programs::is_known(name) {
                    self.opaque(Opaque::Shadowed(name.clone()));
                }
                self.functions.insert(name.clone());
                self.define_in(body);
            }
        }
    }
}
