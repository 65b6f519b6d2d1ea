//! The operator's settings.

use weir_plugin::PluginError;
use weir_plugin::host::config;
use weir_plugin::rules;

/// Rows that a LIMIT may ask of a labelled table before it counts as a bulk read.
const BULK_LIMIT: i64 = 1000;

#[derive(Debug)]
pub struct Settings {
    pub rules: rules::Settings,
    /// `bulk_limit`
    pub bulk_limit: i64,
}

impl Settings {
    pub fn read() -> Result<Self, PluginError> {
        Ok(Self {
            rules: rules::Settings::read(CODES, &["bulk_limit"])?,
            bulk_limit: config::parse("bulk_limit", BULK_LIMIT)?.max(0),
        })
    }
}

/// Every rule, for `weight.<code>`.
pub const CODES: &[&str] = &[
    "administration",
    "bulk_read",
    "bulk_write",
    "code_in_comment",
    "copies_labelled_data",
    "dangerous_function",
    "ddl",
    "destructive",
    "dynamic_code",
    "labelled_read",
    "locks",
    "many_statements",
    "obfuscated",
    "privileges",
    "prompt_injection",
    "secrets_access",
    "server_access",
    "stalls",
    "tautology",
    "too_long",
    "union_probe",
    "unparsed",
];
