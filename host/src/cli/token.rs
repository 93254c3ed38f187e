//! `keybearer token`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::approval::command_line_user;
use super::context::Opened;
use super::out::Out;
use super::{Done, RealmArgs};
use crate::auth::{Auth, Grant, Mint, OperationPattern, ToolPattern};
use crate::clock::Millis;
use crate::connection::Connections;
use crate::ids::{AgentId, ConversationId, RoleName, TokenId, UserId};
use crate::ledger::Budget;
use crate::reach::Reach;
use crate::store::{TokenKind, TokenRow};

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
        /// The token's id (`tok_…`).
        id: TokenId,
    },
}

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
    /// An operation that those tools may use: CONNECTION:OPERATION, or CONNECTION:*. May be given several times.
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
    #[arg(long, conflicts_with_all = [
        "tools", "operations", "conversation", "role", "task", "budgets", "may_delegate", "user", "may_store_secrets",
    ])]
    operator: bool,
    /// The operator's token manages every environment of its tenant, and what is the tenant's as a whole.
    #[arg(long, requires = "operator")]
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
            Self::Revoke { id } => {
                let Some(row) = opened.control.token_by_id(&id)? else {
                    bail!("there is no token {id}; `keybearer token list --all` shows all");
                };
                auth.revoke(&id, None)?;
                opened.record(Some(row.realm), "token.revoke", id.as_str())?;
                out.line(format!("revoked {id}"));
                out.value(&json!({ "revoked": id }));
                Ok(Done::Well)
            }
        }
    }
}

fn mint(opened: &Opened, auth: &Auth, out: &Out, args: MintArgs) -> anyhow::Result<Done> {
    let kind = if args.operator { TokenKind::Operator } else { TokenKind::Agent };
    let (without_tools, without_operations) = (args.tools.is_empty(), args.operations.is_empty());
    if kind == TokenKind::Agent && without_tools && without_operations {
        bail!(
            "this token could do nothing: name what it may call with --tool NAME (or --tool '*'), or what a vendor's \
             SDK may send with --operation CONNECTION:OPERATION"
        );
    }
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
        out.note(format!("{} · {} · valid until {} · shown this once", row.id, row.realm, row.expires_at));
        if row.every_environment {
            out.note(format!("it manages every environment of {}", row.realm.tenant));
        } else if kind == TokenKind::Operator {
            out.note(format!("it manages {} alone; for the whole tenant add --every-environment", row.realm));
        }
        if kind == TokenKind::Agent && without_operations {
            out.note("it may use no operation, so tools that send requests will be denied; add --operation CONNECTION:OPERATION");
        }
        if kind == TokenKind::Agent && without_tools {
            out.note("it may call no tool: it's for a vendor's SDK at /proxy/CONNECTION alone; for tools add --tool NAME");
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
    let value: Vec<_> = tokens
        .iter()
        .map(|row| {
            json!({
                "id": row.id, "kind": row.kind, "realm": row.realm, "agent": row.agent,
                "every_environment": row.every_environment,
                "role": row.role, "task": row.task, "parent": row.parent, "minted_by": row.minted_by,
                "conversation": row.conversation, "grant": row.grant, "state": state(row, now),
                "created": row.created_at.to_string(), "expires": row.expires_at.to_string(),
                "revoked": row.revoked_at.map(|at| at.to_string()),
            })
        })
        .collect();
    out.value(&value);
    Ok(Done::Well)
}

fn state(row: &TokenRow, now: Millis) -> &'static str {
    match (row.revoked_at, row.expires_at <= now) {
        (Some(_), _) => "revoked",
        (None, true) => "expired",
        (None, false) => "valid",
    }
}

fn rights(row: &TokenRow) -> String {
    if row.kind == TokenKind::Operator {
        return if row.every_environment { "operate-every-environment" } else { "operate" }.to_owned();
    }
    match &row.user {
        Some(user) => format!("{} user={user}", row.grant),
        None => row.grant.to_string(),
    }
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
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::audit::{Audit, Event, Row, TokenGiven};
    use crate::cli::{Cli, Command, init};
    use crate::home::Home;
    use crate::ids::Realm;
    use crate::store::RowFilter;

    /// A home, and the realm that its operator's token is of.
    fn made(root: &Path) -> (Opened, Realm) {
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "test".parse().unwrap() };
        let home = Home::named(Some(root.to_owned())).unwrap();
        (init::make(home, realm.clone()).unwrap().0, realm)
    }

    fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<Done> {
        let line = [&["keybearer", "token"][..], arguments].concat();
        let Command::Token(token) = Cli::try_parse_from(line).unwrap().command else {
            panic!("{arguments:?}")
        };
        token.run(Some(root.to_owned()), &Out::new(false))
    }

    #[test]
    fn a_revocation_is_on_record_in_the_token_s_realm() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let (opened, realm) = made(&root);
        run(&root, &["mint", "--agent", "a", "--tool", "*", "--tenant", "acme", "--environment", "test"])
            .unwrap();
        let id = Auth::new(opened.control.clone(), opened.clock.clone()).list(None).unwrap()[0].id.clone();
        run(&root, &["revoke", id.as_str()]).unwrap();
        assert!(run(&root, &["revoke", "tok_000000000000000000000000"]).is_err());

        let trail = Audit::start(opened.audit_store().unwrap(), opened.clock.clone()).unwrap();
        let reach = Some(Reach::every(realm.tenant.clone()));
        let filter = RowFilter { reach, limit: 1, newest_first: true, ..RowFilter::default() };
        let newest = trail.rows(&filter).unwrap().remove(0);
        assert_eq!(newest.realm, Some(realm));
        let is_revocation = |event: &Event| {
            matches!(event, Event::Admin { action, subject, .. }
                if action == "token.revoke" && subject == id.as_str())
        };
        assert!(is_revocation(&newest.event), "{newest:?}");
    }

    #[test]
    fn who_got_a_token_and_what_it_may_do_is_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let (opened, realm) = made(&root);
        let words = "mint --agent billing-1 --role billing --conversation march --tool get_invoice --operation stripe:* \
                     --may-delegate --tenant acme --environment test";
        let mut arguments: Vec<_> = words.split_ascii_whitespace().collect();
        arguments.extend(["--task", "collect what is overdue", "--budget", "50000 usd day"]);
        run(&root, &arguments).unwrap();
        let trail = Audit::start(opened.audit_store().unwrap(), opened.clock.clone()).unwrap();
        let rows = trail.rows(&RowFilter { limit: 9, ..RowFilter::default() }).unwrap();
        let [init, minted] = &rows[..] else { panic!("{rows:?}") };
        let given = |row: &Row| match &row.event {
            Event::Admin { token: Some(token), .. } => *token.clone(),
            other => panic!("{other:?}"),
        };
        let tokens = opened.control.tokens(None).unwrap();
        assert_eq!(given(minted), TokenGiven::from(&tokens[0]));
        assert_eq!(given(init), TokenGiven::from(&tokens[1]), "the operator's, which a home begins with");
        assert_eq!(minted.realm, Some(realm));
        let token = given(minted);
        assert_eq!(
            (token.agent.as_str(), token.task.as_deref()),
            ("billing-1", Some("collect what is overdue"))
        );
        assert_eq!(token.grant.to_string(), "get_invoice stripe:* [50000 usd day] delegate");
        assert!(token.role.is_some() && token.conversation.is_some() && token.minted_by.is_some());
    }

    #[test]
    fn a_budget_that_would_limit_nothing_is_not_minted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let (opened, _) = made(&root);
        let stripe = "base_url = \"https://api.example.com\"\nsecret = \"k\"\nattach = { kind = \"bearer\" }\n\
             environments = [\"test\"]\n[operations.pay]\nrequest = \"POST /x\"\neffect = \"write\"\n";
        std::fs::write(root.join("connections/stripe.toml"), stripe).unwrap();
        let mint = |environment: &str, budget: &str| {
            run(
                &root,
                &[
                    "mint",
                    "--agent",
                    "a",
                    "--operation",
                    "stripe:*",
                    "--environment",
                    environment,
                    "--budget",
                    budget,
                ],
            )
        };
        let count = || opened.control.tokens(None).unwrap().len();
        let before = count();
        for (environment, budget, told) in [
            ("test", "100 usd day connection=strpe", "there is no connection strpe in default/test"),
            ("test", "100 usd day connection=stripe operation=pai", "stripe has no operation pai"),
            (
                "production",
                "100 usd day connection=stripe",
                "there is no connection stripe in default/production",
            ),
        ] {
            let error = mint(environment, budget).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(count(), before);
        mint("test", "100 usd day connection=stripe operation=pay").unwrap();
        mint("production", "100 usd day").unwrap();
    }

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(span("7d").unwrap(), Duration::from_secs(604_800));
        for bad in ["", "5", "s", "0s", "-1h", "1w", "99999999999999999999d", "é"] {
            assert!(span(bad).is_err(), "{bad:?}");
        }
    }
}
