//! route-default
use weir_plugin::*;
struct X;
impl Plugin for X { fn info() -> Info { Info{name:"x".into(), version:"1".into(), labels: vec![]} } }
impl Router for X { fn route(_: Session, _: Operation, _: Rule, _: Risk) -> Result<Option<Routing>, PluginError> { Ok(None) } }
weir_plugin::export!(X: router);
