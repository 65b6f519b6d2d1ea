//! By what the caller of a test came in.

use std::sync::Arc;

use pipeline::{Login, Proof};

pub(super) fn proof(by: Option<&str>, amr: &[String], acr: Option<&str>) -> Result<Proof, String> {
    let mut amr: Vec<Arc<str>> = amr.iter().map(|m| m.as_str().into()).collect();
    amr.sort();
    amr.dedup();
    Ok(Proof {
        login: by.map(login).transpose()?,
        amr,
        acr: acr.map(Into::into),
    })
}

fn login(name: &str) -> Result<Login, String> {
    let found = Login::ALL.into_iter().find(|login| login.as_str() == name);
    found.ok_or_else(|| {
        let all = Login::ALL.map(Login::as_str).join(", ");
        format!("`by` is one of {all}, not {name:?}")
    })
}
