//! `keybearer approval`: what waits for people, and their answers.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Done;
use super::context::{Opened, runtime};
use super::out::Out;
use crate::approval::{ApprovalDesk, Approvals, Approver};
use crate::audit::Audit;
use crate::ids::{ApprovalId, TenantId};
use crate::policy::About;
use crate::reach::Reach;
use crate::store::{ApprovalRow, ApprovalState};

/// How many characters of an approval's id are typed to approve it.
const TYPED: usize = 4;

/// Commands on approvals.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Approval {
    /// List requests that wait for people.
    List {
        /// Those in this state: pending, granted, denied, used, expired.
        #[arg(long, default_value = "pending", conflicts_with = "all")]
        state: ApprovalState,
        /// Those in every state.
        #[arg(long)]
        all: bool,
        /// Those of this tenant only.
        #[arg(long, value_name = "NAME")]
        tenant: Option<TenantId>,
        /// At most so many, the newest first.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Show exactly what would be sent, called or run, and who asks.
    Show {
        /// The approval's id (`apr_…`).
        id: ApprovalId,
    },
    /// Show a request and say yes to it. It asks for the last four characters of the id first.
    Approve {
        /// The approval's id (`apr_…`).
        id: ApprovalId,
        /// Don't ask: for scripts that have shown it to someone.
        #[arg(long)]
        yes: bool,
    },
    /// Say no to a request. One no is enough.
    Deny {
        /// The approval's id (`apr_…`).
        id: ApprovalId,
    },
}

impl Approval {
    pub(super) fn run(self, home: Option<PathBuf>, out: &Out) -> anyhow::Result<Done> {
        let opened = Opened::open(home)?;
        let audit = Audit::start(opened.audit_store()?, opened.clock.clone())?;
        let approvals = Approvals::new(
            opened.control.clone(),
            Arc::new(opened.vault()?),
            opened.clock.clone(),
            opened.config.approvals,
        );
        let desk = ApprovalDesk::new(Arc::new(approvals), audit.clone(), Arc::new(opened.policy(out)?));
        let done = match self {
            Self::List { state, all, tenant, limit } => {
                list(&desk, out, tenant.as_ref(), (!all).then_some(state), limit)
            }
            Self::Show { id } => show(&desk, out, &found(&desk, &id)?),
            Self::Approve { id, yes } => approve(&desk, out, &id, yes),
            Self::Deny { id } => {
                let state = runtime()?.block_on(desk.deny(command_line_user()?, &id))?;
                decided(out, &id, state)
            }
        };
        drop(desk);
        audit.shutdown();
        done
    }
}

fn list(
    desk: &ApprovalDesk,
    out: &Out,
    tenant: Option<&TenantId>,
    state: Option<ApprovalState>,
    limit: u32,
) -> anyhow::Result<Done> {
    let (rows, now) = (
        desk.approvals().list(tenant.cloned().map(Reach::every).as_ref(), state, limit)?,
        desk.approvals().now(),
    );
    let cells = |row: &ApprovalRow| {
        vec![
            row.id.to_string(),
            row.realm.to_string(),
            row.agent.to_string(),
            row.about.shown(),
            row.state(now).as_str().to_owned(),
            format!("{} of {}", row.agreed().count(), row.quorum),
            row.expires_at.to_string(),
        ]
    };
    let heads = ["ID", "REALM", "AGENT", "ASKS FOR", "STATE", "AGREED", "EXPIRES"];
    out.table(&heads, &rows.iter().map(cells).collect::<Vec<_>>());
    out.value(&rows.iter().map(|row| value(desk, row)).collect::<Vec<_>>());
    Ok(Done::Well)
}

fn show(desk: &ApprovalDesk, out: &Out, row: &ApprovalRow) -> anyhow::Result<Done> {
    let note = desk.approvals().note(row)?;
    out.value(&json!({ "approval": value(desk, row), "request": note.rendering }));
    print(desk, out, row)?;
    Ok(Done::Well)
}

/// The request and how it stands, for a person.
fn print(desk: &ApprovalDesk, out: &Out, row: &ApprovalRow) -> anyhow::Result<()> {
    let note = desk.approvals().note(row).context("it can't be approved, only denied")?;
    let state = row.state(desk.approvals().now());
    out.line(format!("{}: {}, good until {}", row.id, state.as_str(), row.expires_at));
    out.line(note.rendering.text().trim_end());
    let votes: Vec<_> = row
        .votes
        .iter()
        .map(|vote| format!("{} said {}", vote.by, if vote.yes { "yes" } else { "no" }))
        .collect();
    out.line(format!("agreed: {} of {}", row.agreed().count(), row.quorum));
    votes.iter().for_each(|vote| out.line(format!("  {vote}")));
    Ok(())
}

fn approve(desk: &ApprovalDesk, out: &Out, id: &ApprovalId, yes: bool) -> anyhow::Result<Done> {
    let row = found(desk, id)?;
    print(desk, out, &row)?;
    if !yes {
        if out.is_json() {
            bail!(
                "nothing was approved: with --json, nobody is shown the request; add --yes if someone has seen it"
            );
        }
        let question = format!("type the last {TYPED} characters of the id to approve: ");
        let Some(answer) = out.ask(&question) else {
            bail!(
                "nothing was approved: no person is at the terminal; add --yes if someone has seen the request"
            );
        };
        if !is_confirmed(id, &answer) {
            bail!("nothing was approved: that isn't how {id} ends");
        }
    }
    let state = runtime()?.block_on(desk.approve(command_line_user()?, id))?;
    decided(out, id, state)
}

fn decided(out: &Out, id: &ApprovalId, state: ApprovalState) -> anyhow::Result<Done> {
    out.line(match state {
        ApprovalState::Pending => format!("{id} waits: somebody else has to agree as well"),
        state => format!("{id} is {}", state.as_str()),
    });
    out.value(&json!({ "id": id, "state": state }));
    Ok(Done::Well)
}

fn found(desk: &ApprovalDesk, id: &ApprovalId) -> anyhow::Result<ApprovalRow> {
    let row = desk.approvals().get(None, id)?;
    row.with_context(|| format!("there is no approval {id}; `keybearer approval list --all` shows all"))
}

fn value(desk: &ApprovalDesk, row: &ApprovalRow) -> serde_json::Value {
    let (connection, operation, action, resource) = match &row.about {
        About::Operation { connection, operation } => (Some(connection), Some(operation), None, None),
        About::Api { action, resource } => (None, None, Some(action.clone()), Some(resource)),
        About::Call { .. } | About::Code { .. } => (None, None, Some(row.about.word().into_owned()), None),
    };
    json!({
        "id": row.id, "state": row.state(desk.approvals().now()), "realm": row.realm, "token": row.token,
        "agent": row.agent, "role": row.role, "conversation": row.conversation,
        "connection": connection, "operation": operation, "action": action, "resource": resource,
        "tool": row.about.tool(),
        "quorum": row.quorum, "votes": row.votes,
        "asked": row.asked_at.to_string(), "expires": row.expires_at.to_string(),
        "fingerprint": row.fingerprint,
    })
}

/// Whether a typed line confirms the approval: the end of its id, and nothing else. There's no default, so neither an
/// empty line nor a habitual `y` approves anything.
fn is_confirmed(id: &ApprovalId, line: &str) -> bool {
    let typed = line.strip_suffix('\n').unwrap_or(line);
    let typed = typed.strip_suffix('\r').unwrap_or(typed);
    typed.len() == TYPED && id.as_str().ends_with(typed)
}

/// The machine's user who runs this, whatever environment variables say.
pub(super) fn command_line_user() -> anyhow::Result<Approver> {
    let uid = rustix::process::geteuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Ok(Approver::command_line(&user_name(&users, uid))?)
}

/// The user's name in `/etc/passwd`, or `uid-1000`.
fn user_name(users: &str, uid: u32) -> String {
    let of_uid = |line: &str| {
        let mut fields = line.split(':');
        let (name, found) = (fields.next()?, fields.nth(1)?);
        (found == uid.to_string() && !name.is_empty()).then(|| name.to_owned())
    };
    users.lines().find_map(of_uid).unwrap_or_else(|| format!("uid-{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::tests::ask;
    use crate::cli::init;
    use crate::home::Home;
    use crate::ids::Realm;

    #[test]
    fn only_the_end_of_the_id_confirms() {
        let id: ApprovalId = "apr_0123456789abcdef0123cafe".parse().unwrap();
        assert!(is_confirmed(&id, "cafe\n") && is_confirmed(&id, "cafe\r\n") && is_confirmed(&id, "cafe"));
        for line in
            ["", "\n", "\n\n", "y\n", "yes\n", "afe\n", "3cafe\n", "CAFE\n", " cafe\n", "cafe \n", "cafe\n\n"]
        {
            assert!(!is_confirmed(&id, line), "{line:?}");
        }
    }

    #[test]
    fn nothing_is_approved_where_nobody_sits() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("home");
        let realm = Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() };
        let (opened, _) = init::make(Home::named(Some(root.clone())).unwrap(), realm).unwrap();
        let stripe = "base_url = \"https://api.example.com\"\nsecret = \"k\"\nattach = { kind = \"bearer\" }\n\
             [operations.create_charge]\nrequest = \"POST /v1/charges\"\neffect = \"write\"\n";
        std::fs::write(root.join("connections/stripe.toml"), stripe).unwrap();
        let approvals = Approvals::new(
            opened.control.clone(),
            Arc::new(opened.vault().unwrap()),
            opened.clock.clone(),
            opened.config.approvals,
        );
        let ids = ["a", "b"].map(|what| approvals.request(&ask("acme", 1, what)).unwrap().id);
        let run = |command: Approval, json| command.run(Some(root.clone()), &Out::new(json));
        for json in [true, false] {
            // The tests' standard input is no terminal, as a pipe of newlines isn't.
            let error = run(Approval::Approve { id: ids[0].clone(), yes: false }, json).unwrap_err();
            assert!(error.to_string().starts_with("nothing was approved: "), "{error}");
        }
        let state = |id| approvals.get(None, id).unwrap().unwrap().state(approvals.now());
        assert_eq!(state(&ids[0]), ApprovalState::Pending);
        assert!(run(Approval::Show { id: ids[0].clone() }, false).is_ok());
        run(Approval::Approve { id: ids[0].clone(), yes: true }, false).unwrap();
        run(Approval::Deny { id: ids[1].clone() }, false).unwrap();
        assert_eq!((state(&ids[0]), state(&ids[1])), (ApprovalState::Granted, ApprovalState::Denied));
        assert!(run(Approval::Deny { id: ids[0].clone() }, false).is_err());
        assert!(run(Approval::Show { id: ApprovalId::fresh() }, false).is_err());
        let list = Approval::List { state: ApprovalState::Pending, all: true, tenant: None, limit: 9 };
        assert!(run(list, true).is_ok());
        let row = approvals.get(None, &ids[0]).unwrap().unwrap();
        assert!(row.votes[0].by.as_str().starts_with("cli:"), "{row:?}");
    }

    #[test]
    fn users_are_told_by_their_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\n# odd\n:x:7:\nalice:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user_name(users, 1000), "alice");
        assert_eq!(user_name(users, 0), "root");
        for unknown in [7, 100, 1001] {
            assert_eq!(user_name(users, unknown), format!("uid-{unknown}"));
        }
        let odd = Approver::command_line("D\u{f6}main\\al ice:x").unwrap();
        assert_eq!((odd.name().as_str(), odd.principal().as_str()), ("cli:D_main_al_ice_x", "cli"));
    }
}
