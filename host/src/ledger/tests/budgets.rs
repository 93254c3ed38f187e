use super::*;
use crate::ids::Environment;
use crate::refusal::{FailureReason, SendFailure};

const STRIPE: &str = r#"
base_url = "https://api.stripe.com"
secret = "stripe"
attach = { kind = "bearer" }
[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
content_type = "application/x-www-form-urlencoded"
body.amount = { type = "integer", minimum = 0 }
body.currency = { type = "string" }
body.customer = { type = "string", optional = true }
cost = { amount = "body.amount", currency = "body.currency" }
customer = "body.customer"
[operations.update_customer]
request = "POST /v1/customers/{id}"
effect = "write"
content_type = "application/x-www-form-urlencoded"
path.id = { type = "string" }
customer = "path.id"
[operations.get_charge]
request = "GET /v1/charges/{id}"
effect = "read"
path.id = { type = "string" }
"#;

fn connections() -> Connections {
    Connections::parse(&[("stripe.toml", STRIPE)]).unwrap()
}

fn budgets(text: &str) -> Budgets {
    Budgets::parse(text, "budgets.toml", &connections()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problem(text: &str) -> String {
    Budgets::parse(text, "budgets.toml", &connections()).unwrap_err().to_string()
}

/// One budget of the operator's: subject, unit, window, limit, more keys.
fn one(subject: &str, unit: &str, window: &str, limit: u64, more: &str) -> String {
    format!(
        "[[budget]]\nsubject = {subject:?}\nunit = {unit:?}\nwindow = {window:?}\nlimit = {limit}\n{more}\n"
    )
}

fn granted(json: &str) -> Budget {
    serde_json::from_str(json).unwrap()
}

/// A request whose parts a test changes.
struct Ask {
    tenant: &'static str,
    environment: &'static str,
    conversation: Option<&'static str>,
    /// Token, agent, role, budgets: the one that asks first.
    links: Vec<(u8, &'static str, Option<&'static str>, Vec<Budget>)>,
    operation: &'static str,
    effect: Effect,
    settles: bool,
    customer: Customer<'static>,
    cost: Option<(i64, &'static str)>,
}

fn charge(amount: i64, currency: &'static str) -> Ask {
    Ask {
        tenant: "acme",
        environment: "production",
        conversation: Some("chat-7"),
        links: vec![(1, "billing-bot", Some("billing"), vec![])],
        operation: "create_charge",
        effect: Effect::Write,
        settles: false,
        customer: Customer::Named("cus_1"),
        cost: Some((amount, currency)),
    }
}

impl Ask {
    fn lines(&self, budgets: &Budgets) -> Result<Lines, SendFailure> {
        let realm = Realm {
            tenant: self.tenant.parse().unwrap(),
            environment: self.environment.parse::<Environment>().unwrap(),
        };
        let conversation = self.conversation.map(|text| text.parse::<ConversationId>().unwrap());
        type Owned = (TokenId, AgentId, Option<RoleName>);
        let owned: Vec<Owned> = self
            .links
            .iter()
            .map(|(token, agent, role, _)| {
                let token = format!("tok_{token:024x}").parse().unwrap();
                (token, agent.parse().unwrap(), role.map(|role| role.parse().unwrap()))
            })
            .collect();
        let chain: Vec<_> = owned
            .iter()
            .zip(&self.links)
            .map(|((token, agent, role), (.., budgets))| Link { token, agent, role: role.as_ref(), budgets })
            .collect();
        let (connection, operation): (ConnectionName, OperationName) =
            ("stripe".parse().unwrap(), self.operation.parse().unwrap());
        let cost =
            self.cost.map(|(amount_minor, currency)| Cost { amount_minor, currency: currency.to_owned() });
        budgets.lines(&SpendFacts {
            realm: &realm,
            conversation: conversation.as_ref(),
            chain: &chain,
            connection: &connection,
            operation: &operation,
            effect: self.effect,
            settles: self.settles,
            customer: self.customer,
            cost: cost.as_ref(),
            now: NOW,
        })
    }

    /// `subject amount/limit` of each line.
    fn shown(&self, budgets: &Budgets) -> Vec<String> {
        let lines = self.lines(budgets).unwrap_or_else(|failure| panic!("{failure:?}"));
        lines.iter().map(|line| format!("{} {}/{}", line.subject, line.amount, line.limit)).collect()
    }

    fn refused(&self, budgets: &Budgets) -> String {
        let failure = self.lines(budgets).unwrap_err();
        assert_eq!(failure.reason, FailureReason::OverBudget);
        assert!(failure.message.contains("cap"), "{}", failure.message);
        failure.message
    }
}

#[test]
fn each_kind_of_subject_takes_from_its_own() {
    let file: String = [
        "each token",
        "each conversation",
        "each agent",
        "each role",
        "each customer",
        "tenant",
        "connection:stripe",
        "tenant:globex",
        "agent:other",
        "role:analytics",
        "customer:cus_2",
        "conversation:chat-8",
    ]
    .map(|subject| one(subject, "usd", "total", 9_000, ""))
    .concat();
    let shown = charge(500, "usd").shown(&budgets(&file));
    assert_eq!(
        shown,
        [
            "token:tok_000000000000000000000001 500/9000",
            "conversation:chat-7 500/9000",
            "agent:billing-bot 500/9000",
            "role:billing 500/9000",
            "customer:cus_1 500/9000",
            "tenant 500/9000",
            "connection:stripe 500/9000",
        ]
    );
}

#[test]
fn who_names_no_conversation_role_or_customer_does_not_get_around_their_budgets() {
    let file: String = ["each conversation", "each role", "each customer"]
        .map(|subject| one(subject, "usd", "total", 9_000, ""))
        .concat();
    let ask = Ask {
        conversation: None,
        links: vec![(1, "billing-bot", None, vec![])],
        customer: Customer::Unnamed,
        ..charge(500, "usd")
    };
    let shown = ask.shown(&budgets(&file));
    assert_eq!(
        shown,
        ["no conversation, agent:billing-bot 500/9000", "no role 500/9000", "no customer 500/9000"]
    );
    let unconcerned = Ask { customer: Customer::NotConcerned, ..charge(500, "usd") };
    assert_eq!(unconcerned.shown(&budgets(&one("each customer", "usd", "total", 1, ""))), [""; 0]);
}

#[test]
fn every_token_above_pays_as_well_and_so_do_their_agents() {
    let limit = |limit: u64| vec![granted(&format!(r#"{{"limit":{limit},"unit":"usd","window":"total"}}"#))];
    let links = vec![
        (3, "worker", None, limit(900)),
        (2, "planner", Some("billing"), vec![]),
        (1, "planner", Some("billing"), limit(700)),
    ];
    let file = one("each agent", "usd", "day", 800, "") + &one("role:billing", "usd", "day", 600, "");
    let shown = Ask { links, ..charge(500, "usd") }.shown(&budgets(&file));
    assert_eq!(
        shown,
        [
            "token:tok_000000000000000000000003 500/900",
            "token:tok_000000000000000000000001 500/700",
            "agent:worker 500/800",
            "agent:planner 500/800",
            "role:billing 500/600",
        ]
    );
}

#[test]
fn nothing_is_counted_across_tenants_or_environments() {
    let file = budgets(&one("tenant", "usd", "total", 900, ""));
    let counter = |ask: Ask| ask.lines(&file).unwrap().iter().next().unwrap().counter.clone();
    let here = counter(charge(5, "usd"));
    assert_eq!(here, counter(charge(7, "usd")));
    assert_ne!(here, counter(Ask { tenant: "globex", ..charge(5, "usd") }));
    assert_ne!(here, counter(Ask { environment: "staging", ..charge(5, "usd") }));
    let only =
        budgets(&one("tenant", "usd", "total", 900, "tenant = \"acme\"\nenvironment = \"production\""));
    assert_eq!(charge(5, "usd").shown(&only).len(), 1);
    assert_eq!(Ask { tenant: "globex", ..charge(5, "usd") }.shown(&only), [""; 0]);
    assert_eq!(Ask { environment: "staging", ..charge(5, "usd") }.shown(&only), [""; 0]);
}

#[test]
fn no_money_means_no_writes() {
    let links = vec![(1, "bot", None, vec![granted(r#"{"limit":0,"unit":"usd","window":"total"}"#)])];
    let none = budgets("");
    for cost in [Some((500, "usd")), Some((0, "usd")), Some((500, "eur")), None] {
        let message = Ask { cost, links: links.clone(), ..charge(1, "usd") }.refused(&none);
        assert!(message.contains("cap is 0.00 USD: that allows no write"), "{message}");
    }
    let read = Ask { effect: Effect::Read, cost: None, operation: "get_charge", links, ..charge(1, "usd") };
    assert_eq!(read.shown(&none), [""; 0]);
    // What the budget doesn't cover isn't its matter.
    let elsewhere = budgets(&one(
        "tenant",
        "usd",
        "total",
        0,
        "connection = \"stripe\"\noperation = \"update_customer\"",
    ));
    assert_eq!(charge(5, "usd").shown(&elsewhere), [""; 0]);
}

#[test]
fn a_currency_that_is_not_budgeted_is_refused_where_another_is() {
    let file =
        budgets(&(one("each conversation", "usd", "day", 900, "") + &one("tenant", "eur", "day", 900, "")));
    let message = charge(500, "eur").refused(&file);
    assert_eq!(
        message,
        "this costs 5.00 EUR, and the conversation's budget has nothing in EUR: its spending cap in that currency is 0"
    );
    assert!(charge(500, "jpy").refused(&file).contains("500 JPY"));
    // Each currency that a subject has is enough for a cost in it, and costs are kept apart.
    let both = budgets(&(one("tenant", "usd", "day", 900, "") + &one("tenant", "eur", "day", 900, "")));
    assert_eq!(charge(500, "eur").shown(&both), ["tenant 500/900"]);
    // A budget of requests says nothing of money.
    let requests = budgets(&one("tenant", "requests", "day", 9, ""));
    assert_eq!(charge(500, "eur").shown(&requests), ["tenant 1/9"]);
}

#[test]
fn one_request_alone_may_be_too_much() {
    let file = budgets(&one("tenant", "usd", "per_call", 500, ""));
    assert_eq!(charge(500, "usd").shown(&file), [""; 0]);
    assert!(charge(501, "usd").refused(&file).contains("the tenant's budget"));
    let own = budgets(&one("each token", "usd", "per_call", 500, ""));
    let message = charge(501, "usd").refused(&own);
    assert!(
        message.starts_with("this would exceed this token's spending cap of 5.00 USD for one request"),
        "{message}"
    );
}

#[test]
fn a_budget_covers_what_it_names() {
    let charges = budgets(&one(
        "tenant",
        "requests",
        "minute",
        9,
        "connection = \"stripe\"\noperation = \"create_charge\"",
    ));
    let writes = budgets(&one("tenant", "requests", "minute", 9, "effect = \"write\""));
    let read = Ask { effect: Effect::Read, cost: None, operation: "get_charge", ..charge(1, "usd") };
    let update = Ask { cost: None, operation: "update_customer", ..charge(1, "usd") };
    for (budgets, ask, lines) in [
        (&charges, &charge(1, "usd"), 1),
        (&charges, &update, 0),
        (&charges, &read, 0),
        (&writes, &update, 1),
        (&writes, &read, 0),
    ] {
        assert_eq!(ask.shown(budgets).len(), lines);
    }
}

#[test]
fn days_in_two_zones_are_two_counters() {
    let file = one("tenant", "usd", "day", 900, "")
        + &one("tenant", "usd", "day", 900, "time_zone = \"Asia/Tokyo\"")
        + &one("tenant", "usd", "day", 800, "time_zone = \"Asia/Tokyo\"");
    let lines = charge(5, "usd").lines(&budgets(&file)).unwrap();
    let starts: Vec<_> = lines.iter().map(|line| (line.counter.start.to_string(), line.limit)).collect();
    assert_eq!(
        starts,
        [("2026-11-21T00:00:00.000Z".to_owned(), 900), ("2026-11-20T15:00:00.000Z".to_owned(), 800)]
    );
}

#[test]
fn a_token_whose_time_zone_is_not_known_spends_nothing() {
    let bad = granted(r#"{"limit":9,"unit":"requests","window":"day","time_zone":"Mars/Olympus"}"#);
    let ask = Ask { links: vec![(1, "bot", None, vec![bad])], ..charge(5, "usd") };
    assert_eq!(ask.lines(&budgets("")).unwrap_err().reason, FailureReason::Internal);
}

#[test]
fn counters_names_say_what_they_count_and_no_customer_can_forge_one() {
    let file = budgets(&one(
        "each customer",
        "usd",
        "day",
        900,
        "time_zone = \"Europe/Berlin\"\nconnection = \"stripe\"",
    ));
    for customer in ["cus_1", "\"],[\"", "a\u{0}b", "\u{202e}x", &"long ".repeat(40)] {
        let leaked: &'static str = Box::leak(customer.to_owned().into_boxed_str());
        let lines = Ask { customer: Customer::Named(leaked), ..charge(5, "usd") }.lines(&file).unwrap();
        let line = lines.iter().next().unwrap();
        let counted = crate::ledger::Counted::of_name(&line.counter.name).unwrap();
        assert_eq!(counted.subject, line.subject.to_string());
        assert_eq!(counted.realm, realm());
        assert_eq!(counted.time_zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!((counted.unit.to_string().as_str(), counted.window), ("usd", Window::Day));
        assert!(line.counter.name.len() < 1_000);
    }
}

#[test]
fn slips_in_the_file_are_named_with_their_place() {
    let good = one("tenant", "usd", "day", 1, "");
    for (bad, said) in [
        ("[[budgets]]\n", "budgets.toml:1:3: unknown field `budgets`"),
        (&good.replace("unit", "units"), "budgets.toml:3:1: unknown field `units`"),
        (&good.replace("limit = 1\n", ""), "missing field `limit`"),
        (&good.replace("= 1", "= -1"), "budgets.toml:5:9: limit: a limit isn't negative\n  hint: write 0"),
        (&good.replace("= 1", "= 1.5"), "budgets.toml:5:9"),
        (&good.replace("usd", "dollars"), "budgets.toml:3:8: unit: \"dollars\" is no unit"),
        (&good.replace("day", "week"), "budgets.toml:4:10: window: \"week\" is no window"),
        (
            &good.replace("\"tenant\"", "\"each tenant\""),
            "budgets.toml:2:11: subject: \"each tenant\" is nobody",
        ),
        (
            &format!("{good}time_zone = \"Europe/Berln\"\n"),
            "budgets.toml:7:13: time_zone: \"Europe/Berln\" is no time zone",
        ),
        (&format!("{}time_zone = \"UTC\"\n", good.replace("day", "hour")), "time_zone: only days and months"),
        (
            &format!("{good}connection = \"strip\"\n"),
            "budgets.toml:7:14: connection: there is no connection strip\n  hint: known: stripe",
        ),
        (&format!("{good}operation = \"create_charge\"\n"), "operation: an operation is one of a connection"),
        (
            &format!("{good}connection = \"stripe\"\noperation = \"charge\"\n"),
            "has no operation charge\n  hint: known: create_charge",
        ),
        (&format!("{good}effect = \"writes\"\n"), "effect: \"writes\" is no effect\n  hint: write \"read\""),
        (&format!("{good}tenant = \"Acme\"\n"), "budgets.toml:7:10: tenant: tenant \"Acme\" is not valid"),
    ] {
        let found = problem(bad);
        assert!(found.contains(said), "{said}\n---\n{found}");
    }
}

#[test]
fn all_slips_are_told_at_once() {
    let file = one("nobody", "usd", "week", 1, "") + &one("tenant", "us", "day", 1, "");
    assert_eq!(problem(&file).matches("budgets.toml:").count(), 3);
}

#[test]
fn a_file_that_is_not_there_holds_no_budgets_and_one_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("budgets.toml");
    assert!(Budgets::load(&file, &connections()).unwrap().rules().is_empty());
    std::fs::write(&file, one("tenant", "usd", "day", 1, "")).unwrap();
    assert_eq!(Budgets::load(&file, &connections()).unwrap().rules().len(), 1);
    assert!(Budgets::load(folder.path(), &connections()).is_err());
}

#[test]
fn budgets_in_force_end_where_the_file_says_so_and_not_because_it_is_empty_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("budgets.toml");
    let (in_force, none) = (budgets(&one("tenant", "usd", "day", 1, "")), budgets(""));
    let again = |before: &Budgets| before.load_again(&file, &connections()).map(|now| now.rules().len());
    for text in [None, Some(""), Some("\n"), Some("# [[budget]]\n")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let said = again(&in_force).unwrap_err().to_string();
        assert!(said.starts_with("budgets.toml: ") && said.contains("hint: write"), "{said}");
        assert!(said.contains("budget = []"), "{said}");
        assert_eq!(again(&none).unwrap(), 0, "{text:?}: nothing is lifted");
    }
    std::fs::write(&file, "budget = []\n").unwrap();
    assert_eq!(again(&in_force).unwrap(), 0);
    std::fs::write(&file, one("tenant", "usd", "day", 2, "")).unwrap();
    assert_eq!((again(&in_force).unwrap(), again(&none).unwrap()), (1, 1));
}

#[test]
fn what_the_lines_of_a_real_request_take_is_reserved_and_the_next_is_refused() {
    let file = budgets(
        &(one("each conversation", "usd", "day", 1_000, "") + &one("tenant", "usd", "total", 700, "")),
    );
    on_both(|store| {
        let asked = |number, amount| {
            let lines = charge(amount, "usd").lines(&file).unwrap();
            Reservation { lines, ..reservation(number, []) }
        };
        assert_eq!(within(store, |tx| crate::ledger::reserve(tx, &asked(1, 600))), Reserved::Yes);
        let Reserved::OverBudget(tenant) = within(store, |tx| crate::ledger::reserve(tx, &asked(2, 300)))
        else {
            panic!()
        };
        assert!(!tenant.failure().message.contains("6.00"), "the tenant's numbers aren't told");
        let Reserved::OverBudget(own) = within(store, |tx| crate::ledger::reserve(tx, &asked(3, 500))) else {
            panic!()
        };
        let message = own.failure().message;
        assert!(
            message.contains("cap of 10.00 USD a day: it costs 5.00 USD, and 4.00 USD are left"),
            "{message}"
        );
    });
}

/// The text between the fences of the first block of a language.
fn block<'t>(page: &'t str, language: &str) -> &'t str {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_guide_s_examples_work_as_given() {
    let page = include_str!("../../../../docs/BUDGETS.md");
    let stripe = include_str!("../../../../examples/connections/stripe.toml");
    let connections = Connections::parse(&[("stripe.toml", stripe)]).unwrap();
    let read = Budgets::parse(block(page, "toml"), "BUDGETS.md", &connections);
    let budgets = read.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(budgets.rules().len(), 7);
    let analytics = Ask { links: vec![(1, "bot", Some("analytics"), vec![])], ..charge(500, "usd") };
    assert!(analytics.refused(&budgets).contains("no write at all"));
    assert!(charge(20_001, "usd").refused(&budgets).contains("the tenant's budget"));
    assert_eq!(charge(20_000, "usd").lines(&budgets).unwrap().iter().len(), 5);

    let grant: crate::auth::Grant = serde_json::from_str(block(page, "json")).unwrap();
    assert_eq!((grant.budgets.len(), Budget::check_all(&grant.budgets)), (2, Ok(())));
}
