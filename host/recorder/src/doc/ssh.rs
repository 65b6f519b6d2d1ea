//! The JSON of what an action on an SSH connection was.

use serde::{Deserialize, Serialize};

/// Facts about one action on an SSH connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshDoc {
    /// `shell`, `exec`, `sftp`, …
    pub kind: String,
    /// The channel's number on the client's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
    pub login: String,
    /// The command line, subsystem, path, endpoint or variable; what is not UTF-8 is escaped.
    pub text: String,
    pub parsed: bool,
    /// Why what it does cannot be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opaque: Vec<String>,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opaque_codes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<SshCommandDoc>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hazards: Vec<SshHazardDoc>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub code: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<SshStdinDoc>,
    /// It may read what comes on its standard input, which was not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin_open: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<SshPathDoc>,
    /// Names and values, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pty: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_reads: bool,
}

/// One program that a command line runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshCommandDoc {
    pub argv: Vec<String>,
    /// Programs that run it, the outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dynamic: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_user: Option<String>,
}

/// Something about a command that a classifier was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshHazardDoc {
    pub code: String,
    pub program: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshPathDoc {
    pub path: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writes: bool,
}

/// What a command was given on its standard input before it was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshStdinDoc {
    /// In hex.
    pub sha256: String,
    pub bytes: u64,
    /// Cut off at a limit.
    pub text: String,
}
