//! risk-sql
use weir_plugin::*;
struct X;
impl Plugin for X { fn info() -> Info { Info{name:"x".into(), version:"1".into(), labels: vec![]} } }
impl Classifier for X { fn classify(_: Session, _: Operation) -> Result<Risk, PluginError> { Ok(risk(0)) } }
weir_plugin::export!(X: classifier);
