//! The file as it's written. Every key has a default, every unknown key is an error.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::de::DeTable;

use super::{CodeConfig, Config, DoorLimits, LogFormat, MasterKeySource, Tls, is_variable};
use crate::approval::ApprovalLimits;
use crate::dto::{ARGUMENTS_BYTES_MAX, RESULT_BYTES_MAX};
use crate::runtime::Limits;
use crate::store::PendingLimits;

/// Calls at once, at most: each reserves 8 GiB of a 128 TiB address space.
const CALLS_LIMIT: u64 = 4_096;

/// Executions of code at once, at most: each may take its memory in full.
const CODE_LIMIT: u64 = 512;

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Complaint {
    /// Which: `table.key`, as documented, or a table.
    pub(super) key: &'static str,
    /// What is wrong with it.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: String,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    listen: SocketAddr,
    tls: Option<RawTls>,
    master_key: RawMasterKey,
    calls: RawCalls,
    code: RawCode,
    doors: RawDoors,
    approvals: RawApprovals,
    ledger: RawLedger,
    audit: RawAudit,
    log: RawLog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawMasterKey {
    file: Option<PathBuf>,
    env: Option<String>,
    passphrase_env: Option<String>,
    next_env: Option<String>,
    next_passphrase_env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCalls {
    deadline_ms: u64,
    deadline_ms_max: u64,
    memory_bytes_max: usize,
    output_bytes_max: usize,
    sends_max: u32,
    log_lines_max: u32,
    log_line_bytes_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCode {
    timeout_ms: u64,
    timeout_ms_max: u64,
    executions_max: usize,
    memory_bytes_max: usize,
    output_bytes_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawDoors {
    body_bytes_max: usize,
    header_bytes_max: usize,
    read_ms_max: u64,
    calls_max: usize,
    connections_max: usize,
    drain_ms_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawApprovals {
    ttl_minutes: u64,
    per_token_max: u32,
    per_environment_max: u32,
    minter_may_approve: bool,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLedger {
    duplicate_window_hours: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAudit {
    keep_questions: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    format: RawFormat,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawFormat {
    #[default]
    Text,
    Json,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7411)),
            tls: None,
            master_key: RawMasterKey::default(),
            calls: RawCalls::default(),
            code: RawCode::default(),
            doors: RawDoors::default(),
            approvals: RawApprovals::default(),
            ledger: RawLedger::default(),
            audit: RawAudit::default(),
            log: RawLog::default(),
        }
    }
}

impl Default for RawLedger {
    fn default() -> Self {
        // As long as upstreams remember an idempotency key (Stripe: at least 24 hours).
        Self { duplicate_window_hours: 24 }
    }
}

impl Default for RawCalls {
    fn default() -> Self {
        let usual = Limits::usual(Duration::ZERO);
        Self {
            // AutoGen's HttpTool gives up after 5 s with an empty error, so the host answers with a reason before.
            deadline_ms: 4_000,
            // Longer than any interactive agent waits, short enough that a stuck call can't hold its slot for long.
            deadline_ms_max: 120_000,
            memory_bytes_max: usual.memory_bytes_max,
            output_bytes_max: usual.output_bytes_max,
            sends_max: usual.sends_max,
            log_lines_max: usual.log_lines_max,
            log_line_bytes_max: usual.log_line_bytes_max,
        }
    }
}

impl Default for RawCode {
    fn default() -> Self {
        Self {
            // AutoGen's own executors stop code after this long.
            timeout_ms: 60_000,
            // Longer than a model's turn waits, short enough that a loop can't hold its place all day.
            timeout_ms_max: 300_000,
            // More than two cores can compute at a time, since code mostly waits for upstreams.
            executions_max: 16,
            // An interpreter takes a fifth of it before it has run anything. With `executions_max`, this bounds all memory
            // that code can take: 4 GiB.
            memory_bytes_max: 256 << 20,
            // Sixty pages of text: more than a model reads of one result.
            output_bytes_max: 256 << 10,
        }
    }
}

impl Default for RawDoors {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 10,
            header_bytes_max: 16 << 10,
            read_ms_max: 5_000,
            calls_max: 512,
            connections_max: 4_096,
            drain_ms_max: 10_000,
        }
    }
}

impl Default for RawApprovals {
    fn default() -> Self {
        Self {
            // Long enough for a person to be fetched, short enough that what was approved is still meant.
            ttl_minutes: 15,
            // An agent that loops with ever new parameters fills its own list, and stops there.
            per_token_max: 10,
            // More than a person can look at carefully in fifteen minutes.
            per_environment_max: 200,
            // Where one person operates the host, nobody else could approve anything.
            minter_may_approve: true,
        }
    }
}

impl Raw {
    pub(super) fn check(self, folder: &Path) -> Result<Config, Complaint> {
        let (calls, code, doors, approvals) = (self.calls, self.code, self.doors, self.approvals);
        in_range("calls.deadline_ms_max", calls.deadline_ms_max, 1, 600_000)?;
        up_to("calls.deadline_ms", calls.deadline_ms, "calls.deadline_ms_max", calls.deadline_ms_max)?;
        in_range("calls.memory_bytes_max", calls.memory_bytes_max as u64, 1 << 20, 1 << 30)?;
        in_range("calls.output_bytes_max", calls.output_bytes_max as u64, 1, RESULT_BYTES_MAX as u64)?;
        in_range("calls.sends_max", u64::from(calls.sends_max), 0, 10_000)?;
        in_range("calls.log_lines_max", u64::from(calls.log_lines_max), 0, 100_000)?;
        in_range("calls.log_line_bytes_max", calls.log_line_bytes_max as u64, 1, 1 << 20)?;
        in_range("code.timeout_ms_max", code.timeout_ms_max, 1, 3_600_000)?;
        up_to("code.timeout_ms", code.timeout_ms, "code.timeout_ms_max", code.timeout_ms_max)?;
        in_range("code.executions_max", code.executions_max as u64, 1, CODE_LIMIT)?;
        in_range("code.memory_bytes_max", code.memory_bytes_max as u64, 64 << 20, 1 << 30)?;
        in_range("code.output_bytes_max", code.output_bytes_max as u64, 1 << 10, RESULT_BYTES_MAX as u64)?;
        in_range("doors.body_bytes_max", doors.body_bytes_max as u64, 1, ARGUMENTS_BYTES_MAX as u64)?;
        in_range("doors.header_bytes_max", doors.header_bytes_max as u64, 8 << 10, 1 << 20)?;
        in_range("doors.read_ms_max", doors.read_ms_max, 1, 120_000)?;
        in_range("doors.calls_max", doors.calls_max as u64, 1, CALLS_LIMIT)?;
        in_range("doors.connections_max", doors.connections_max as u64, 1, 1_000_000)?;
        in_range("ledger.duplicate_window_hours", self.ledger.duplicate_window_hours, 1, 24 * 366)?;
        in_range("doors.drain_ms_max", doors.drain_ms_max, 0, 600_000)?;
        in_range("approvals.ttl_minutes", approvals.ttl_minutes, 1, 10_080)?;
        in_range("approvals.per_token_max", u64::from(approvals.per_token_max), 1, 1_000)?;
        in_range("approvals.per_environment_max", u64::from(approvals.per_environment_max), 1, 100_000)?;
        let (master_key, next_master_key) = self.master_key.check(folder)?;
        Ok(Config {
            listen: self.listen,
            tls: self.tls.map(|tls| Tls {
                cert_file: folder.join(tls.cert_file),
                key_file: folder.join(tls.key_file),
            }),
            master_key,
            next_master_key,
            limits: Limits {
                memory_bytes_max: calls.memory_bytes_max,
                output_bytes_max: calls.output_bytes_max,
                sends_max: calls.sends_max,
                log_lines_max: calls.log_lines_max,
                log_line_bytes_max: calls.log_line_bytes_max,
                ..Limits::usual(Duration::from_millis(calls.deadline_ms_max))
            },
            deadline: Duration::from_millis(calls.deadline_ms),
            deadline_max: Duration::from_millis(calls.deadline_ms_max),
            code: CodeConfig {
                timeout: Duration::from_millis(code.timeout_ms),
                timeout_max: Duration::from_millis(code.timeout_ms_max),
                executions_max: code.executions_max,
                output_bytes_max: code.output_bytes_max,
                limits: Limits {
                    memory_bytes_max: code.memory_bytes_max,
                    sends_max: calls.sends_max,
                    log_lines_max: calls.log_lines_max,
                    log_line_bytes_max: calls.log_line_bytes_max,
                    ..Limits::usual(Duration::from_millis(code.timeout_ms_max))
                },
            },
            doors: DoorLimits {
                body_bytes_max: doors.body_bytes_max,
                header_bytes_max: doors.header_bytes_max,
                read_ms_max: doors.read_ms_max,
                calls_max: doors.calls_max,
                connections_max: doors.connections_max,
                drain_ms_max: doors.drain_ms_max,
            },
            approvals: ApprovalLimits {
                ttl: Duration::from_secs(approvals.ttl_minutes.saturating_mul(60)),
                pending: PendingLimits {
                    per_token_max: approvals.per_token_max,
                    per_environment_max: approvals.per_environment_max,
                },
                minter_may_approve: approvals.minter_may_approve,
            },
            keep_questions: self.audit.keep_questions,
            duplicate_window: Duration::from_secs(self.ledger.duplicate_window_hours * 3_600),
            log: match self.log.format {
                RawFormat::Text => LogFormat::Text,
                RawFormat::Json => LogFormat::Json,
            },
        })
    }
}

impl RawMasterKey {
    /// The source of the key in use, and of the next.
    fn check(self, folder: &Path) -> Result<(MasterKeySource, Option<MasterKeySource>), Complaint> {
        for (key, name) in [
            ("master_key.env", &self.env),
            ("master_key.passphrase_env", &self.passphrase_env),
            ("master_key.next_env", &self.next_env),
            ("master_key.next_passphrase_env", &self.next_passphrase_env),
        ] {
            if name.as_ref().is_some_and(|name| !is_variable(name)) {
                return Err(Complaint::new(
                    key,
                    "this is no name of an environment variable, and may be the key itself",
                    "write the variable's name here, and the key or the passphrase into the variable",
                ));
            }
        }
        let current = match (self.file, self.env, self.passphrase_env) {
            (file, None, None) => {
                MasterKeySource::File(folder.join(file.unwrap_or_else(|| "master.key".into())))
            }
            (None, Some(env), None) => MasterKeySource::Env(env),
            (None, None, Some(env)) => MasterKeySource::Passphrase(env),
            _ => {
                return Err(Complaint::new(
                    "master_key",
                    "more than one source is named",
                    "keep one of file, env and passphrase_env",
                ));
            }
        };
        let next = match (self.next_env, self.next_passphrase_env) {
            (None, None) => None,
            (Some(env), None) => Some(MasterKeySource::Env(env)),
            (None, Some(env)) => Some(MasterKeySource::Passphrase(env)),
            (Some(_), Some(_)) => {
                return Err(Complaint::new(
                    "master_key",
                    "more than one source of the next key is named",
                    "keep one of next_env and next_passphrase_env",
                ));
            }
        };
        Ok((current, next))
    }
}

impl Complaint {
    fn new(key: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key, message: message.into(), hint: hint.into() }
    }
}

fn in_range(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), Complaint> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let message = format!("{value} is out of range: it must be from {least} to {most}");
    Err(Complaint::new(key, message, "change the value or leave the key out"))
}

/// As [`in_range`], where another key, of this value, says how far it goes.
fn up_to(key: &'static str, value: u64, bound: &'static str, most: u64) -> Result<(), Complaint> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    let message = format!("{value} is out of range: it must be from 1 to {most}, which is {bound}");
    Err(Complaint::new(key, message, format!("set it within that, or raise {bound}")))
}

/// The byte offset of `table.key`, or of a table. What is left out has none.
pub(super) fn offset_of(text: &str, key: &str) -> Option<usize> {
    let file = DeTable::parse(text).ok()?.into_inner();
    let found = match key.split_once('.') {
        None => file.get_key_value(key)?.0,
        Some((table, key)) => file.get(table)?.get_ref().as_table()?.get_key_value(key)?.0,
    };
    Some(found.span().start)
}
