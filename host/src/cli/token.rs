//! `keybearer token`.

mod notes;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::approval::command_line_user;
use super::context::Opened;
use super::out::Out;
use super::{Done, RealmArgs};
use crate::auth::{Auth, Grant, Mint, OperationPattern, ToolPattern, kind_of};
use crate::clock::Millis;
use crate::connection::Connections;
use crate::ids::{AgentId, ConversationId, InvalidName, RoleName, TokenId, UserId};
use crate::ledger::Budget;
use crate::reach::Reach;
use crate::store::{TokenKind, TokenRow};

/// The most that is read as a token, in bytes: more than one has, with space around it.
const TOKEN_INPUT_BYTES_MAX: usize = 256;

/// Commands on tokens.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Token {
    /// Mint a token. It's shown once and stored as a hash.
    Mint(MintArgs),
    /// List tokens.
    List {
        #[command(flatten)]
        realm: RealmArgs,
        /// All tenants and environments.
        #[arg(long)]
        all: bool,
    },
    /// Revoke a token: the very next send of its calls is refused, and of all that was delegated from it.
    Revoke {
        /// The token's id (`tok_…`), or `-`: the token itself is read from standard input.
        #[arg(value_name = "ID", value_parser = which)]
        token: Which,
    },
}

/// Which token.
#[derive(Debug, Clone)]
pub(super) enum Which {
    /// The one of this id.
    Id(TokenId),
    /// The one that standard input says.
    StandardInput,
}

/// `tok_…` or `-`. A token that is typed all the same isn't repeated (`usage`).
fn which(text: &str) -> Result<Which, String> {
    match text {
        "-" => Ok(Which::StandardInput),
        _ if kind_of(text).is_some() => {
            Err("this is a token and no id; `keybearer token revoke -` reads a token from standard input"
                .to_owned())
        }
        id => id.parse().map(Which::Id).map_err(|error: InvalidName| error.to_string()),
    }
}

/// The flags that say what an agent may do, and for whom.
const OF_AGENTS: [&str; 9] = [
    "tools",
    "operations",
    "conversation",
    "role",
    "task",
    "budgets",
    "may_delegate",
    "user",
    "may_store_secrets",
];

/// Flags of `token mint`.
#[derive(Debug, clap::Args)]
pub(super) struct MintArgs {
    /// The agent that will hold it.
    #[arg(long)]
    agent: AgentId,
    /// The one conversation that it serves.
    #[arg(long)]
    conversation: Option<ConversationId>,
    /// The agent's role. Policies speak of roles.
    #[arg(long)]
    role: Option<RoleName>,
    /// What the agent is to do, in your words. It's on record and shown to approvers.
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
    /// A tool that it may call, or '*'. May be given several times.
    #[arg(long = "tool", value_name = "TOOL")]
    tools: Vec<ToolPattern>,
    /// An operation that those tools may use, or a vendor's SDK at /proxy/CONNECTION, which needs no --tool:
    /// CONNECTION:OPERATION, or CONNECTION:*. May be given several times.
    #[arg(long = "operation", value_name = "OPERATION")]
    operations: Vec<OperationPattern>,
    /// A limit: "50000 usd day" (500.00 USD, in cents), "60 requests minute", "5 requests at_once",
    /// "0 usd total connection=stripe". May be given several times.
    #[arg(long = "budget", value_name = "LIMIT UNIT WINDOW")]
    budgets: Vec<Budget>,
    /// Tokens may be delegated from it, each at most as wide as it is.
    #[arg(long)]
    may_delegate: bool,
    /// The person whose own secrets it may use, for connections with `secret_of = "user"`.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// It may store, list and remove that user's secrets. Nobody may read them.
    #[arg(long, requires = "user")]
    may_store_secrets: bool,
    /// How long it's valid: 90s, 30m, 12h, 7d.
    #[arg(long, default_value = "1h", value_parser = span)]
    ttl: Duration,
    /// An operator's token: manages the environment that it's minted in, and calls no tools.
    #[arg(long, group = "of_no_agent", conflicts_with_all = OF_AGENTS)]
    operator: bool,
    /// A monitor's token: looks at what an operator manages in the environment that it's minted in, and changes nothing. For
    /// dashboards and auditors.
    #[arg(long, group = "of_no_agent", conflicts_with_all = OF_AGENTS)]
    monitor: bool,
    /// The operator's or the monitor's token reaches every environment of its tenant, and what is the tenant's as a whole.
    #[arg(long, requires = "of_no_agent")]
    every_environment: bool,
    #[command(flatten)]
    realm: RealmArgs,
}

impl Token {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let auth = Auth::new(opened.control.clone(), opened.clock.clone());
        match self {
            Self::Mint(args) => mint(&opened, &auth, out, args),
            Self::List { realm, all } => list(&opened, &auth, out, &realm, all),
            Self::Revoke { token } => revoke(&opened, &auth, out, token),
        }
    }
}

fn revoke(opened: &Opened, auth: &Auth, out: &Out, token: Which) -> anyhow::Result<Done> {
    let row = match token {
        Which::StandardInput => presented(auth)?,
        Which::Id(id) => opened
            .control
            .token_by_id(&id)?
            .with_context(|| format!("there is no token {id}; `keybearer token list --all` shows all"))?,
    };
    let id = row.id;
    auth.revoke(&id, None)?;
    opened.record(Some(row.realm), "token.revoke", id.as_str())?;
    out.line(format!("revoked {id}"));
    out.value(&json!({ "revoked": id }));
    Ok(Done::Well)
}

/// The token whose text is in standard input, or is asked for at the terminal.
fn presented(auth: &Auth) -> anyhow::Result<TokenRow> {
    let stdin = std::io::stdin();
    let text = if stdin.is_terminal() {
        Zeroizing::new(rpassword::prompt_password("Token (not shown): ")?)
    } else {
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_INPUT_BYTES_MAX));
        let most = TOKEN_INPUT_BYTES_MAX as u64;
        stdin.lock().take(most).read_to_string(&mut text).context("standard input holds no token")?;
        text
    };
    auth.of_text(text.trim())?.context(
        "no token of this home has the text in standard input; one that ended more than 30 days ago may not be known any more",
    )
}

fn mint(opened: &Opened, auth: &Auth, out: &Out, args: MintArgs) -> anyhow::Result<Done> {
    let kind = match (args.operator, args.monitor) {
        (true, _) => TokenKind::Operator,
        (false, true) => TokenKind::Monitor,
        (false, false) => TokenKind::Agent,
    };
    let realm = args.realm.realm();
    if args.budgets.iter().any(|budget| budget.connection.is_some()) {
        let connections = Connections::load(&opened.home.connections_dir())
            .map_err(|problems| anyhow::anyhow!("the connections can't be used\n{problems}"))?;
        Budget::find_all_names(&args.budgets, &connections, &realm).map_err(anyhow::Error::msg)?;
    }
    let operator = command_line_user()?;
    let mint = Mint {
        kind,
        realm,
        every_environment: args.every_environment,
        agent: args.agent,
        conversation: args.conversation,
        role: args.role,
        task: args.task,
        user: args.user,
        grant: Grant {
            tools: args.tools,
            operations: args.operations,
            budgets: args.budgets,
            may_delegate: args.may_delegate,
            may_store_secrets: args.may_store_secrets,
        },
        lifetime: args.ttl,
    };
    let minted = auth.mint_as(operator.name(), mint)?;
    let row = &minted.row;
    opened.record_minted(row)?;
    out.line(minted.token.to_string());
    out.value(&json!({
        "token": minted.token.to_string(), "id": row.id, "realm": row.realm,
        "expires": row.expires_at.to_string(),
    }));
    out.written().with_context(|| {
        format!("{0} was minted and its token is lost: `keybearer token revoke {0}` ends it", row.id)
    })?;
    if !out.is_json() {
        for note in notes::of(opened, row) {
            out.note(note);
        }
    }
    Ok(Done::Well)
}

fn list(opened: &Opened, auth: &Auth, out: &Out, args: &RealmArgs, all: bool) -> anyhow::Result<Done> {
    let realm = args.realm();
    let mut tokens = auth.list((!all).then(|| Reach::every(realm.tenant.clone())).as_ref())?;
    // A token for every environment is for this one, too.
    tokens.retain(|row| all || row.every_environment || row.realm == realm);
    let now = opened.clock.now();
    let rows: Vec<_> = tokens
        .iter()
        .map(|row| {
            let conversation = row.conversation.as_ref().map_or("-", |c| c.as_str());
            vec![
                row.id.to_string(),
                row.realm.to_string(),
                row.agent.to_string(),
                row.role.as_ref().map_or("-", |role| role.as_str()).to_owned(),
                conversation.to_owned(),
                row.parent.as_ref().map_or("-", |parent| parent.as_str()).to_owned(),
                state(row, now).to_owned(),
                row.expires_at.to_string(),
                rights(row),
            ]
        })
        .collect();
    out.table(&["ID", "REALM", "AGENT", "ROLE", "CONVERSATION", "PARENT", "STATE", "EXPIRES", "MAY"], &rows);
    out.value(&tokens.iter().map(|row| value(row, now)).collect::<Vec<_>>());
    Ok(Done::Well)
}

fn value(row: &TokenRow, now: Millis) -> Value {
    json!({
        "id": row.id, "kind": row.kind, "realm": row.realm, "agent": row.agent,
        "every_environment": row.every_environment,
        "role": row.role, "task": row.task, "user": row.user, "parent": row.parent, "minted_by": row.minted_by,
        "conversation": row.conversation, "grant": row.grant, "state": state(row, now),
        "created": row.created_at.to_string(), "expires": row.expires_at.to_string(),
        "revoked": row.revoked_at.map(|at| at.to_string()),
    })
}

fn state(row: &TokenRow, now: Millis) -> &'static str {
    match (row.revoked_at, row.expires_at <= now) {
        (Some(_), _) => "revoked",
        (None, true) => "expired",
        (None, false) => "valid",
    }
}

fn rights(row: &TokenRow) -> String {
    let does = match row.kind {
        TokenKind::Operator => "operate",
        TokenKind::Monitor => "look",
        TokenKind::Agent => {
            return match &row.user {
                Some(user) => format!("{} user={user}", row.grant),
                None => row.grant.to_string(),
            };
        }
    };
    if row.every_environment { format!("{does}-every-environment") } else { does.to_owned() }
}

/// `90s`, `30m`, `12h`, `7d`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span of time: write 90s, 30m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    count.checked_mul(seconds).filter(|s| *s > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
