//! mask-pii
use weir_plugin::*;
struct X;
impl Plugin for X { fn info() -> Info { Info{name:"x".into(), version:"1".into(), labels: vec![]} } }
impl Masker for X { fn make_plan(_: Session, c: Vec<Column>) -> Result<Plan, PluginError> { Ok(Plan{actions: c.iter().map(|_| Action::Pass).collect(), state: vec![]}) } }
weir_plugin::export!(X: masker);
