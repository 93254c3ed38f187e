//! What happened before a row's request, and the request itself.
//!
//! | step | what it does |
//! |---|---|
//! | `did ASK` | asks at the row's door, and must be allowed; `did 3x ASK` three times, one after the other |
//! | `tried ASK` | asks, whatever comes of it |
//! | `began ASK` | asks and doesn't wait for the answer |
//! | `hang up` | gives up on what was begun |
//! | `NAME did ASK` | another actor does |
//! | `did elsewhere`, `did elsewhere ASK` | the same at another door |
//! | `allowed ASK` | an enforcement point asks, and must be told yes: what that takes is held |
//! | `upstream 503`, `upstream 200 {…}`, `upstream silent`, `upstream gone` | what the upstream does from now on |
//! | `clock +90m`, `clock +2d`, `clock 22:30` | the time |
//! | `kill SCOPE`, `kill SCOPE in TENANT`, `kill SCOPE only ENVIRONMENT`, `lift` | switches |
//! | `revoke NAME` | an actor's token |
//! | `rotate LABEL` | acme has another version of a secret, in production |
//! | `posted POLICY` | the tenant acme posts a policy |
//! | `tasks N`, `tasks N of ROLE` | the tenant acme posts a policy that allows so many tasks at once |
//! | `asked`, `asked ASK` | asks, and must be told that approval is needed; the approval is brought along from then on |
//! | `NAME asked ASK` | another actor does |
//! | `also asked` | makes the row's request without any approval, and brings the one that it needs along beside the others |
//! | `went on` | makes the row's request with the approvals, and must be told that it needs another, which is brought along instead |
//! | `approved by NAME`, `denied by NAME`, `NAME may not approve` | someone decides; `NAME@beta` is of another tenant |
//! | `used` | makes the row's request with the approval, and must be allowed |
//! | `without approval`, `with approval TEXT` | what is brought along instead |

use std::time::Duration;

use super::ask::Ask;
use super::row::{Row, Verdict, Way};
use super::upstream::Mood;
use super::ways::Said;
use super::world::{World, policy_text};
use crate::approval::Approver;
use crate::clock::Clock as _;
use crate::ids::{PolicyId, Realm, TokenId};
use crate::kill::Order;
use crate::policy::PostedPolicy;
use crate::reach::Reach;
use crate::store::{PolicyRow, PolicyStore as _};

const DAY_MS: i64 = 86_400_000;

/// A row under way at one door.
pub(super) struct Running<'r> {
    world: &'r World,
    row: &'r Row,
    way: Way,
    approval: Option<String>,
    thrown: Vec<crate::ids::KillId>,
    begun: Vec<tokio::task::JoinHandle<()>>,
}

impl<'r> Running<'r> {
    pub(super) fn new(world: &'r World, row: &'r Row, way: Way) -> Self {
        Self { world, row, way, approval: None, thrown: Vec::new(), begun: Vec::new() }
    }

    /// Does everything, and says what was wrong with it.
    pub(super) async fn run(mut self) -> Result<(), String> {
        for step in &self.row.before {
            self.step(step).await.map_err(|wrong| format!("before, at `{step}`: {wrong}"))?;
        }
        let result = self.last().await;
        self.begun.iter().for_each(tokio::task::JoinHandle::abort);
        result
    }

    async fn last(&self) -> Result<(), String> {
        let (seen, people) = (self.world.upstream.seen(), self.world.asked());
        if self.way == Way::Http {
            let said = self.world.http(&self.row.who, &self.row.asks).await;
            return self.judge(&said, self.world.upstream.seen() - seen);
        }
        let ask = self.read(&self.row.asks);
        if let Verdict::Some(some, code) = &self.row.verdict {
            let answers = self.at_once(&ask).await;
            let allowed = answers.iter().filter(|said| said.code.is_none()).count();
            let sent = self.world.upstream.seen() - seen;
            let others = answers.iter().filter_map(|said| said.code.as_ref()).all(|known| known == code);
            return match allowed == *some && sent == *some && others {
                true => Ok(()),
                false => Err(format!("{allowed} of {} allowed, {sent} sent: {answers:?}", answers.len())),
            };
        }
        let said = self.world.ask(self.way, &self.row.who, &ask, self.approval.as_deref()).await;
        self.judge(&said, self.world.upstream.seen() - seen)?;
        match said.code.as_deref() {
            Some("approval_required") => Ok(()),
            _ if self.world.asked() <= people => Ok(()),
            _ => Err(format!("people were asked: {}", said.text)),
        }
    }

    fn judge(&self, said: &Said, sent: usize) -> Result<(), String> {
        let is_question = matches!(self.way, Way::Enforce | Way::Http);
        let (code, sends) = match &self.row.verdict {
            Verdict::Allow => (None, usize::from(!is_question)),
            Verdict::Repeat => (None, 0),
            Verdict::Deny(code) => (Some(code), 0),
            Verdict::Some(..) => unreachable!("judged above"),
        };
        if said.code.as_ref() != code {
            let known = said.code.as_deref().unwrap_or("allow");
            return Err(format!("it said {known}: {}", said.text));
        }
        if sent != sends {
            return Err(format!("{sent} requests reached the upstream, and {sends} were expected"));
        }
        match code.and_then(|_| super::world::policy_ids().find(|id| said.text.contains(id))) {
            Some(id) => Err(format!("the agent is told the policy {id:?}: {}", said.text)),
            None => Ok(()),
        }
    }

    async fn at_once(&self, ask: &Ask) -> Vec<Said> {
        let world = self.world;
        let mut all: Vec<_> =
            (0..ask.times).map(|_| (Box::pin(world.ask(self.way, &self.row.who, ask, None)), None)).collect();
        std::future::poll_fn(|context| {
            let mut done = true;
            for (future, said) in all.iter_mut().filter(|(_, said)| said.is_none()) {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(answer) => *said = Some(answer),
                    std::task::Poll::Pending => done = false,
                }
            }
            if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        all.into_iter().filter_map(|(_, said)| said).collect()
    }

    fn read(&self, text: &str) -> Ask {
        Ask::parse(text, &self.world.connections)
    }

    /// The door that an earlier request goes through: what an enforcement point is allowed never reaches the upstream.
    fn earlier(&self) -> Way {
        match self.way {
            Way::Tool | Way::Mcp | Way::Code | Way::CodeTool | Way::CodeMcp => self.way,
            Way::Proxy | Way::Enforce | Way::Http => Way::Proxy,
        }
    }

    async fn step(&mut self, step: &str) -> Result<(), String> {
        let (word, rest) = step.split_once(' ').unwrap_or((step, ""));
        match word {
            "upstream" => self.world.upstream.be(mood(rest)),
            "clock" => self.clock(rest),
            "kill" => self.kill(rest),
            "hang" => {
                for task in self.begun.drain(..) {
                    task.abort();
                    assert!(task.await.is_err());
                }
            }
            "lift" => {
                let id = self.thrown.pop().ok_or("no switch is thrown")?;
                self.world.app.kills.lift(&id, None).unwrap();
            }
            "rotate" => self.world.rotate(rest),
            "revoke" => {
                assert!(self.world.app.auth.revoke(&self.world.tokens[rest].0, None).unwrap());
            }
            "posted" => self.post(rest),
            "tasks" => self.limit_tasks(rest),
            "approved" => self.decide(rest, true).await?,
            "denied" => self.decide(rest, false).await?,
            "without" => self.approval = None,
            "with" => self.approval = rest.strip_prefix("approval ").map(str::to_owned),
            "used" => self.used().await?,
            "also" => {
                let more = self.told_of(None).await?;
                let before = self.approval.take();
                self.approval = Some(before.map_or(more.clone(), |before| format!("{before}, {more}")));
            }
            "went" => {
                let before = self.approval.clone();
                self.approval = Some(self.told_of(before.as_deref()).await?);
            }
            "did" | "tried" | "began" | "asked" | "allowed" => {
                self.earlier_ask(&self.row.who, word, rest).await?
            }
            name => match rest.split_once(' ').unwrap_or((rest, "")) {
                ("may", "not approve") => {
                    if self.decide(&format!("by {name}"), true).await.is_ok() {
                        return Err("the yes was taken".to_owned());
                    }
                }
                (verb @ ("did" | "tried" | "began" | "asked" | "allowed"), ask) => {
                    self.earlier_ask(name, verb, ask).await?;
                }
                _ => panic!("{}: no step {step:?}", self.row.id),
            },
        }
        Ok(())
    }

    async fn earlier_ask(&mut self, who: &str, verb: &str, ask: &str) -> Result<(), String> {
        let world = self.world;
        let other = ask.strip_prefix("elsewhere").map(str::trim_start);
        let way = match (other.is_some(), self.earlier()) {
            (true, Way::Proxy) => Way::Tool,
            (true, _) => Way::Proxy,
            _ if verb == "allowed" => Way::Enforce,
            // A question is put before people where it's asked.
            _ if verb == "asked" && self.way == Way::Enforce => Way::Enforce,
            (false, way) => way,
        };
        let ask = other.unwrap_or(ask);
        let ask = self.read(if ask.is_empty() { &self.row.asks } else { ask });
        match verb {
            "began" => {
                let seen = world.upstream.seen();
                let (other, who) = (world.clone(), who.to_owned());
                self.begun.push(tokio::spawn(async move { drop(other.ask(way, &who, &ask, None).await) }));
                while world.upstream.seen() == seen {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            "asked" => {
                let said = world.ask(way, who, &ask, None).await;
                if said.code.as_deref() != Some("approval_required") {
                    return Err(format!("no approval was asked for: {said:?}"));
                }
                let id = said.approval().ok_or_else(|| format!("no approval is named: {said:?}"))?;
                self.approval = Some(id.to_string());
            }
            _ => {
                for _ in 0..ask.times {
                    let said = world.ask(way, who, &ask, None).await;
                    if verb != "tried" && said.code.is_some() {
                        return Err(format!("{said:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The approval that the row's request has to wait for.
    async fn told_of(&self, given: Option<&str>) -> Result<String, String> {
        let said = self.world.ask(self.way, &self.row.who, &self.read(&self.row.asks), given).await;
        match said.approval() {
            Some(id) if said.code.as_deref() == Some("approval_required") => Ok(id.to_string()),
            _ => Err(format!("no approval was asked for: {said:?}")),
        }
    }

    async fn used(&self) -> Result<(), String> {
        let ask = self.read(&self.row.asks);
        let said = self.world.ask(self.way, &self.row.who, &ask, self.approval.as_deref()).await;
        if said.code.is_none() { Ok(()) } else { Err(format!("{said:?}")) }
    }

    async fn decide(&self, by: &str, yes: bool) -> Result<(), String> {
        let name = by.strip_prefix("by ").unwrap();
        let (name, realm) = name.split_once('@').unwrap_or((name, "acme/production"));
        let (tenant, environment) = realm.split_once('/').unwrap_or((realm, "production"));
        let realm = Realm { tenant: tenant.parse().unwrap(), environment: environment.parse().unwrap() };
        let approver = Approver::Operator {
            name: name.parse().unwrap(),
            token: TokenId::fresh(),
            reach: Reach::one(realm),
        };
        // The one that was asked for last.
        let id = self.approval.as_ref().ok_or("no approval was asked for")?;
        let id = id.rsplit(", ").next().unwrap().parse().unwrap();
        let desk = &self.world.app.approvals;
        let done = if yes { desk.approve(approver, &id).await } else { desk.deny(approver, &id).await };
        done.map(drop).map_err(|error| error.to_string())
    }

    fn clock(&self, text: &str) {
        let ms = match text.strip_prefix('+') {
            Some(span) => {
                let (number, unit) = span.split_at(span.len() - 1);
                let unit = match unit {
                    "s" => 1_000,
                    "m" => 60_000,
                    "h" => 3_600_000,
                    "d" => DAY_MS,
                    other => panic!("no unit of time: {other:?}"),
                };
                number.parse::<i64>().unwrap() * unit
            }
            None => {
                let (hour, minute) = text.split_once(':').unwrap();
                let wanted = (hour.parse::<i64>().unwrap() * 60 + minute.parse::<i64>().unwrap()) * 60_000;
                (wanted - self.world.clock.now().0).rem_euclid(DAY_MS)
            }
        };
        self.world.clock.advance(Duration::from_millis(u64::try_from(ms).unwrap()));
    }

    fn kill(&mut self, text: &str) {
        let words: Vec<_> = text.split(' ').collect();
        let (mut tenant, mut environment) = (Some("acme"), None);
        for pair in words[1..].chunks(2) {
            match pair {
                ["in", "every-tenant"] => tenant = None,
                ["in", name] => tenant = Some(*name),
                ["only", name] => environment = Some(*name),
                _ => panic!("{}: {text:?}", self.row.id),
            }
        }
        let scope = match words[0].strip_prefix("token:") {
            Some(actor) => format!("token:{}", self.world.tokens[actor].0),
            None => words[0].to_owned(),
        };
        let switch = self.world.app.kills.throw(Order {
            scope: scope.parse().unwrap(),
            tenant: tenant.map(|name| name.parse().unwrap()),
            environment: environment.map(|name: &str| name.parse().unwrap()),
            reason: "a loop".parse().unwrap(),
            by: "cli".to_owned(),
        });
        self.thrown.push(switch.unwrap().id);
    }

    fn post(&self, name: &str) {
        self.put(name, serde_json::json!({}), policy_text(name).to_owned());
    }

    fn limit_tasks(&self, text: &str) {
        let (limit, role) = text.split_once(" of ").map_or((text, None), |(limit, role)| (limit, Some(role)));
        let posted: PostedPolicy = serde_json::from_value(serde_json::json!({
            "name": "Tasks", "actions": ["run"], "resources": ["api://tasks/*"], "effect": "allow", "role": role,
            "constraints": { "maxConcurrentTasks": limit.parse::<u32>().unwrap() },
        }))
        .unwrap();
        let cedar = posted.cedar(&"acme".parse().unwrap()).unwrap();
        self.put("Tasks", serde_json::to_value(&posted).unwrap(), cedar);
    }

    fn put(&self, name: &str, source: serde_json::Value, cedar: String) {
        let row = PolicyRow {
            id: PolicyId::fresh(),
            tenant: "acme".parse().unwrap(),
            environment: None,
            name: name.to_owned(),
            source,
            cedar,
            created_at: self.world.clock.now(),
        };
        self.world.store.insert_policy(&row).unwrap();
        assert!(self.world.app.policy.refresh().unwrap_or_else(|problems| panic!("{problems}")));
    }
}

fn mood(text: &str) -> Mood {
    match text {
        "silent" => Mood::Silent,
        "gone" => Mood::Gone,
        _ => {
            let (status, body) = text.split_once(' ').unwrap_or((text, "{}"));
            Mood::Answers(status.parse().unwrap(), body.to_owned())
        }
    }
}
