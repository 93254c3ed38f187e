//! What the macros make of a tool that uses all they offer.

use keybearer_guest::prelude::*;
use keybearer_guest::testing::{self, Upstream};
use keybearer_guest::{FailureReason, RequestSent, Tool};

/// What to search for.
///
/// # Notes for developers
///
/// Not for models.
#[derive(Debug, Args)]
struct Search {
    /// The words to look for,
    /// in any order.
    ///
    /// Quotes (`"`) are kept.
    #[arg(min_len = 1, max_len = 80, pattern = "^[^\\\\]+$")]
    words: String,
    /// How many to return.
    #[arg(min = 1, max = 50)]
    limit: Option<u32>,
    /// Which order.
    /// ### For developers
    /// Not for models.
    order: Option<Order>,
    /// Whether to include archived ones, the
    /// #1 of all.
    archived: bool,
    /// The least score.
    #[arg(min = -0.5)]
    score: f64,
    /// An offset.
    #[arg(min = -0xFF)]
    r#type: i64,
    /// Where to look.
    #[arg(name = "in", min_items = 1, max_items = 3)]
    places: Vec<Place>,
}

/// A place.
#[derive(Debug, Args)]
struct Place {
    /// Its name.
    name: String,
}

#[derive(Debug, PartialEq, Choice)]
enum Order {
    NewestFirst,
    #[choice(name = "OLD")]
    OldestFirst,
    #[allow(non_camel_case_types, reason = "a name that is a keyword")]
    r#type,
}

/// What was found.
#[derive(Debug, PartialEq, Output)]
struct Found {
    /// How many there are in all.
    #[output(from = "total")]
    count: u64,
    /// The best one.
    best: Option<Hit>,
    /// All others.
    rest: Vec<Hit>,
}

/// One hit.
#[derive(Debug, PartialEq, Output)]
struct Hit {
    /// Its title.
    title: String,
    /// Its score.
    score: f64,
}

#[derive(Payload)]
struct Body<'b> {
    words: &'b str,
    order: Option<Order>,
    places: Vec<&'b str>,
}

/// A share.
#[derive(Output)]
struct Share {
    /// How much of it.
    part: Option<f64>,
}

/// How many there are, and of how many.
#[derive(Args)]
struct Counts {
    /// How many.
    #[arg(min = 0, max = 1_000u64)]
    count: Count,
    /// Of how many.
    #[arg(min = -1., max = 01e3)]
    all: f64,
}

type Count = f64;

/// Divides one by another.
#[tool]
fn divide(args: Counts) -> Result<Share> {
    Ok(Share { part: Some(args.count / args.all) })
}

/// Searches places for words.
#[tool(connections = ["search", "other"])]
fn search(args: Search) -> Result<Found> {
    ensure!(args.words != "nothing", "there's nothing to look for in {} places", args.places.len());
    log::info(format!("searching {} from {}", args.r#type, args.score));
    let body = Body {
        words: &args.words,
        order: args.order,
        places: args.places.iter().map(|place| place.name.as_str()).collect(),
    };
    let request =
        connection("search").put("/search", []).query("limit", args.limit).query("archived", args.archived);
    request.header("If-Match", Some("x")).json(&body).send()?.error_for_status()?.json()
}

/// Says that it's there.
#[tool]
fn ping() -> Result<Pong> {
    let years: i64 = "12".parse()?;
    Ok(Pong { years })
}

/// A sign of life.
#[derive(Output)]
struct Pong {
    /// For how long.
    years: i64,
}

keybearer_guest::export!(search, ping, divide);

const ARGUMENTS: &str = r#"{"words": "a \"b\"", "limit": null, "order": "OLD", "archived": false, "score": 1e0,
    "type": 7.0, "in": [{"name": "x"}, {"name": "y"}]}"#;

#[test]
fn descriptions_are_the_doc_comments() {
    assert_eq!(search::NAME, "search");
    assert_eq!(search::DESCRIPTION, "Searches places for words.");
    assert_eq!(search::CONNECTIONS, ["search", "other"]);
    assert_eq!(ping::CONNECTIONS, [""; 0]);
}

#[test]
fn input_schema() {
    let expected = r#"{"type":"object","description":"What to search for.","properties":{
        "words":{"type":"string","description":"The words to look for, in any order.\nQuotes (`\"`) are kept.",
            "minLength":1,"maxLength":80,"pattern":"^[^\\\\]+$"},
        "limit":{"type":"integer","description":"How many to return.","minimum":1,"maximum":50},
        "order":{"type":"string","description":"Which order.","enum":["newest_first","OLD","type"]},
        "archived":{"type":"boolean","description":"Whether to include archived ones, the #1 of all."},
        "score":{"type":"number","description":"The least score.","minimum":-0.5},
        "type":{"type":"integer","description":"An offset.","minimum":-255},
        "in":{"type":"array","description":"Where to look.","minItems":1,"maxItems":3,"items":
            {"type":"object","description":"A place.","properties":{"name":{"type":"string","description":"Its name."}},
             "required":["name"],"additionalProperties":false}}},
        "required":["words","archived","score","type","in"],"additionalProperties":false}"#;
    assert_same_json(&testing::input_schema::<search>(), expected);
    assert_same_json(
        &testing::input_schema::<ping>(),
        r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#,
    );
}

#[test]
fn bounds_are_json_however_rust_writes_them() {
    let expected = r#"{"type":"object","description":"How many there are, and of how many.","properties":{
        "count":{"type":"number","description":"How many.","minimum":0,"maximum":1000},
        "all":{"type":"number","description":"Of how many.","minimum":-1.0,"maximum":1000.0}},
        "required":["count","all"],"additionalProperties":false}"#;
    assert_same_json(&testing::input_schema::<divide>(), expected);
}

#[test]
fn output_schema() {
    let hit = |description: &str| {
        format!(
            r#"{{"type":"object",{description}"properties":{{"title":{{"type":"string","description":"Its title."}},
            "score":{{"type":"number","description":"Its score."}}}},"required":["title","score"],
            "additionalProperties":false}}"#
        )
    };
    let expected = format!(
        r#"{{"type":"object","description":"What was found.","properties":{{
        "count":{{"type":"integer","description":"How many there are in all.","minimum":0}},"best":{},
        "rest":{{"type":"array","description":"All others.","items":{}}}}},
        "required":["count","rest"],"additionalProperties":false}}"#,
        hit(r#""description":"The best one.","#),
        hit(r#""description":"One hit.","#),
    );
    assert_same_json(&testing::output_schema::<search>(), &expected);
}

#[test]
fn a_call_goes_all_the_way() {
    let upstream = Upstream::new();
    upstream
        .expect("PUT", "/search")
        .connection("search")
        .query("archived", "false")
        .header("if-match", "x")
        .json(r#"{"words": "a \"b\"", "order": "OLD", "places": ["x", "y"]}"#)
        .reply(200, r#"{"total": 2, "rest": [{"score": 1, "title": "t", "secret": {}}], "cut": "\ud83d"}"#);
    let result = testing::call::<search>(ARGUMENTS).unwrap();
    assert_eq!(result, r#"{"count":2,"rest":[{"title":"t","score":1.0}]}"#);
    assert_eq!(upstream.logs(), [(testing::Level::Info, "searching 7 from 1".to_owned())]);
    assert_eq!(testing::call::<ping>("{}").unwrap(), r#"{"years":12}"#);
}

#[test]
fn wrong_arguments_are_named() {
    let wrong = |arguments: &str| {
        let error = testing::call::<search>(arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArguments);
        error.message().to_owned()
    };
    assert_eq!(wrong("{}"), "`words`: is missing");
    assert_eq!(wrong(r#"{"words": 1}"#), "`words`: should be a string, is a number");
    assert_eq!(wrong(r#"{"words": "a", "words": "b"}"#), "`words`: is given twice");
    assert_eq!(wrong(r#"{"sql": 1}"#), "`sql`: there's no such field");
    assert_eq!(wrong(r#"{"order": "new"}"#), "`order`: should be one of `newest_first`, `OLD`, `type`");
    assert_eq!(
        wrong(r#"{"in": [{"name": "x"}, {"name": null}]}"#),
        "`in[1].name`: should be a string, is null"
    );
    assert_eq!(wrong("[]"), "should be an object, is an array");
    assert_eq!(
        wrong(&format!("{ARGUMENTS}{{}}")).split(" (").next(),
        Some("something follows the JSON value")
    );
    assert_eq!(testing::call::<ping>(r#"{"a": 1}"#).unwrap_err().message(), "`a`: there's no such field");
}

#[test]
fn own_errors() {
    let arguments = ARGUMENTS.replace(r#""a \"b\"""#, r#""nothing""#);
    let error = testing::call::<search>(&arguments).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Failed, "there's nothing to look for in 2 places")
    );
}

#[test]
fn a_result_that_json_lacks_is_an_error() {
    assert_eq!(testing::call::<divide>(r#"{"count": 1, "all": 4}"#).unwrap(), r#"{"part":0.25}"#);
    let error = testing::call::<divide>(r#"{"count": 0, "all": 0}"#).unwrap_err();
    let message = "the result can't be written: `part`: is NaN, not a finite number";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Failed, message));
}

#[test]
fn replies_that_lack_a_field_name_it() {
    let upstream = Upstream::new();
    let body = r#"{"words": "a \"b\"", "order": "OLD", "places": ["x", "y"]}"#;
    for (reply, message) in [
        (r#"{"total": 1}"#, "`rest`: is missing"),
        (r#"{"total": 1, "rest": [{"title": "t"}]}"#, "`rest[0].score`: is missing"),
        (r#"{"total": -1}"#, "`total`: is a number out of range"),
        ("{\"total\": ", "`total`: the JSON ends too early"),
    ] {
        upstream.expect("PUT", "/search").query("archived", "false").json(body).reply(200, reply);
        let error = testing::call::<search>(ARGUMENTS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Upstream);
        assert_eq!(error.message(), format!("the reply of `search` can't be used: {message}"));
    }
    let denied = upstream.expect("PUT", "/search").query("archived", "false").json(body);
    denied.fail(FailureReason::Denied, RequestSent::No, "not allowed");
    assert_eq!(testing::call::<search>(ARGUMENTS).unwrap_err().kind(), ErrorKind::SendFailed);
}

fn assert_same_json(text: &str, expected: &str) {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(text), parse(expected), "{text}");
}
