//! `keybearer.toml`: raw (serde, unknown keys fatal) → [`Config`], checked before anything is opened or bound.

mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::raw::Complaint;
use crate::approval::ApprovalLimits;
use crate::runtime::Limits;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}{place}: {message}{hint}", hint = hint.as_ref().map(|h| format!("\n  hint: {h}")).unwrap_or_default())]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// `:line:column`, or nothing.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the host listens.
    pub listen: SocketAddr,
    /// The listener's certificate and key, PEM files.
    pub tls: Option<Tls>,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// Where the one comes from that the vault may go over to while the host runs.
    pub next_master_key: Option<MasterKeySource>,
    /// What one call may use up.
    pub limits: Limits,
    /// How long a call may take when its caller doesn't say.
    pub deadline: Duration,
    /// The longest that a caller may ask for.
    pub deadline_max: Duration,
    /// Code that agents write.
    pub code: CodeConfig,
    /// What the doors let in.
    pub doors: DoorLimits,
    /// Requests that wait for people.
    pub approvals: ApprovalLimits,
    /// Whether the policies' questions are kept in the audit trail, sealed, for `policy replay`.
    pub keep_questions: bool,
    /// For how long the same write is taken for a repetition of the first.
    pub duplicate_window: Duration,
    /// How the host logs.
    pub log: LogFormat,
}

/// The listener's certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The chain, leaf first.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// Where the master key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A key file, mode 0600.
    File(PathBuf),
    /// The key itself, in an environment variable of this name.
    Env(String),
    /// A passphrase in an environment variable of this name; asked for at the terminal when it isn't set.
    Passphrase(String),
}

/// How code that agents write is run.
#[derive(Debug, Clone)]
pub struct CodeConfig {
    /// How long an execution may take when its caller doesn't say.
    pub timeout: Duration,
    /// The longest that a caller may ask for.
    pub timeout_max: Duration,
    /// Executions at a time. They have places of their own, so that code can't take the tools'.
    pub executions_max: usize,
    /// The output of one request, all its blocks together, in bytes. What is longer is cut.
    pub output_bytes_max: usize,
    /// What one execution may use up.
    pub limits: Limits,
}

/// What the doors let in.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// The largest header block, in bytes.
    pub header_bytes_max: usize,
    /// How long a request's headers or body may take to arrive.
    pub read_ms_max: u64,
    /// Calls that may run at once.
    pub calls_max: usize,
    /// Connections that may be open at once.
    pub connections_max: usize,
    /// How long a shutdown waits for calls under way.
    pub drain_ms_max: u64,
}

/// The form of the host's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads and checks `keybearer.toml`. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the line and what to do.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.display().to_string(),
            place: String::new(),
            message: error.to_string(),
            hint: (error.kind() == std::io::ErrorKind::NotFound)
                .then(|| "run `keybearer init` to make a home, or name one with --home".to_owned()),
        })?;
        Self::parse(&text, file)
    }

    /// Checks a configuration's text; `file` is for messages and relative paths.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the line and what to do.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let raw: raw::Raw = toml::from_str(text).map_err(|error| ConfigError {
            file: file.display().to_string(),
            place: error.span().map(|span| place(text, span.start)).unwrap_or_default(),
            message: without_text(error.message()),
            hint: None,
        })?;
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        raw.check(folder).map_err(|Complaint { key, message, hint }| ConfigError {
            file: file.display().to_string(),
            place: raw::offset_of(text, key).map(|offset| place(text, offset)).unwrap_or_default(),
            message: format!("{key}: {message}"),
            hint: Some(hint),
        })
    }
}

/// Whether this can be the name of an environment variable. What has the form of a master key can't: it was written in the
/// place of its variable's name.
pub(crate) fn is_variable(name: &str) -> bool {
    let is_key = match name.len() {
        64 => name.bytes().all(|byte| byte.is_ascii_hexdigit()),
        // In base64, without its padding.
        43 => name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        _ => false,
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name && !is_key && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// What serde says, without a text that stands where none should: it may be a key.
fn without_text(message: &str) -> String {
    match (message.split_once("string \""), message.rsplit_once("\", expected")) {
        (Some((before, _)), Some((_, expected))) => format!("{before}string, expected{expected}"),
        _ => message.to_owned(),
    }
}

/// `:line:column` of a byte offset, both from 1.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    format!(":{line}:{column}")
}

#[cfg(test)]
mod tests;
