//! One decision: two hundred policies, a body of twenty fields.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use keybearer::auth::{Auth, Grant, Mint};
use keybearer::clock::{Millis, SystemClock};
use keybearer::connection::{Connection, Connections};
use keybearer::egress::{Draft, DraftBody};
use keybearer::ids::Realm;
use keybearer::policy::{CallContext, Policy, PolicyFile, SendAsk, Verdict, Via, World};
use keybearer::store::{MemoryControl, TokenKind};

use crate::sample::{Round, Sample, Watch};
use crate::stage::Place;
use crate::table::Line;

const ROUNDS: usize = 7;
const DECISIONS: u64 = 5_000;
const FIELDS: usize = 20;

/// Of two hundred policies, those whose scope a request meets: a role's and an operation's share of them.
const CONCERNED: usize = 10;
/// The same where half of all policies are about every write.
const CONCERNED_WORST: usize = 100;

/// Measures a decision.
pub(crate) fn run(_: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let (p50, p99) = percentiles(CONCERNED)?;
    lines.push(Line::within("k a decision, 200 policies, 20 fields: p50", "µs", p50, 50.0));
    lines.push(Line::within("k the same: p99", "µs", p99, 10.0 * p50));
    let (p50, p99) = percentiles(CONCERNED_WORST)?;
    lines.push(Line::alone("k the same, 100 of them look at the body: p50", "µs", p50));
    lines.push(Line::within("k the same: p99", "µs", p99, 10.0 * p50));
    Ok(())
}

fn percentiles(concerned: usize) -> anyhow::Result<(f64, f64)> {
    let connections = Connections::parse(&[("shop.toml", &connection_file())]);
    let connections = Arc::new(connections.map_err(|problems| anyhow!("{problems}"))?);
    let file = PolicyFile::new("bench.cedar", policies(concerned));
    let policy = Policy::of(&[file], &[], World::of(connections.clone(), []));
    let policy = policy.map_err(|problems| anyhow!("{problems}"))?;
    let realm = Realm { tenant: "acme".parse()?, environment: "production".parse()? };
    let connection = connections.get(&realm, "shop").context("the connection is there")?;

    let auth = Auth::new(Arc::new(MemoryControl::new()), Arc::new(SystemClock));
    let minted = auth.mint(Mint {
        kind: TokenKind::Agent,
        realm,
        every_environment: false,
        agent: "bot-1".parse()?,
        conversation: Some("c-1".parse()?),
        role: Some("billing".parse()?),
        task: Some("pay the invoices of May".to_owned()),
        user: None,
        grant: Grant { operations: vec!["shop:*".parse()?], ..Grant::default() },
        lifetime: Duration::from_secs(600),
    })?;
    let caller = auth.verify(minted.token.as_str())?;
    let alive = auth.alive(&caller)?;
    let context = CallContext { conversation: Some("c-1".parse()?), ..CallContext::default() };
    let ask = SendAsk {
        alive: &alive,
        context: &context,
        via: &Via::Proxy,
        now: Millis(1_768_392_000_000),
        approved: None,
    };
    round(&policy, ask, &connection)?;
    let mut sample = Sample::default();
    for _ in 0..ROUNDS {
        sample.add(round(&policy, ask, &connection)?);
    }
    Ok((sample.percentile_us(0.5), sample.percentile_us(0.99)))
}

/// One after the other. That the request is typed first isn't part of it.
fn round(policy: &Policy, ask: SendAsk<'_>, connection: &Arc<Connection>) -> anyhow::Result<Round> {
    let mut latencies = Vec::with_capacity(DECISIONS as usize);
    let watch = Watch::start();
    for _ in 0..DECISIONS {
        let send = connection.accept(draft()).map_err(|failure| anyhow!("{failure:?}"))?;
        let started = Instant::now();
        let verdict = policy.permit_send(ask, send);
        latencies.push(started.elapsed());
        if !matches!(verdict, Verdict::Permitted(_)) {
            bail!("not permitted: {verdict:?}");
        }
    }
    Ok(watch.stop(DECISIONS, latencies))
}

fn connection_file() -> String {
    let mut text =
        "base_url = \"https://api.example.com\"\nsecret = \"key\"\nattach = { kind = \"bearer\" }\n"
            .to_owned();
    for operation in ["create_order", "cancel_order"] {
        let _ = writeln!(
            text,
            "[operations.{operation}]\nrequest = \"POST /v1/{operation}\"\neffect = \"write\"\n\
             content_type = \"application/json\"\nbody.amount = {{ type = \"integer\", minimum = 0 }}\n\
             cost = {{ amount = \"body.amount\", currency = \"usd\" }}"
        );
        for field in 1..FIELDS {
            let kind = if field % 2 == 0 { "integer" } else { "string" };
            let _ = writeln!(text, "body.field_{field} = {{ type = \"{kind}\" }}");
        }
    }
    text
}

/// One permits; `concerned` have a say and look at the body; the rest is about another operation and other roles.
fn policies(concerned: usize) -> String {
    let mut text = "permit (principal, action in Action::\"send\", resource);\n".to_owned();
    for n in 0..concerned {
        let (even, odd) = (2 + n % 9 * 2, 1 + n % 9 * 2);
        let _ = writeln!(
            text,
            "forbid (principal, action in Action::\"write\", resource)\n\
             when {{ context.body.field_{even} > {} || context.body.field_{odd} like \"*blocked-{n}*\" }};",
            1_000 + n
        );
    }
    for n in 0..50 {
        let _ = writeln!(
            text,
            "forbid (principal, action == Action::\"shop:cancel_order\", resource)\n\
             when {{ context.body.amount > {n} }};"
        );
    }
    for n in 0..149 - concerned {
        let _ = writeln!(
            text,
            "forbid (principal in Role::\"acme/role-{n}\", action in Action::\"write\", resource);"
        );
    }
    text
}

fn draft() -> Draft {
    let mut body = "{\"amount\":500".to_owned();
    for field in 1..FIELDS {
        let value = if field % 2 == 0 { format!("{field}") } else { format!("\"value {field}\"") };
        let _ = write!(body, ",\"field_{field}\":{value}");
    }
    body.push('}');
    Draft {
        connection: "shop".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/create_order".to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Some(DraftBody::Json(body)),
    }
}
