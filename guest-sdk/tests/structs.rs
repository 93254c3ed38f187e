//! Structs that stand in several places, and structs that another macro writes.

use keybearer_guest::prelude::*;
use keybearer_guest::testing::{self, Upstream};

/// An address.
#[derive(Output)]
struct Address {
    /// The town.
    town: String,
    /// The postal code.
    #[output(pattern = "^[0-9]+$")]
    code: Option<String>,
}

/// What to send, and where.
#[derive(Args)]
struct Parcel {
    /// Where it goes.
    to: Address,
    /// Where it stops on its way.
    stops: Vec<Address>,
}

#[derive(Payload)]
struct Label<'l> {
    to: &'l Address,
}

/// A parcel that was sent.
#[derive(Output)]
struct Sent {
    /// Where it is.
    at: Address,
    /// Where it stops on its way.
    stops: Vec<Address>,
}

#[derive(Reply)]
struct Receipt {
    at: Address,
}

/// Sends a parcel.
#[tool(connections = ["parcels"])]
fn send_parcel(args: Parcel) -> Result<Sent> {
    let Receipt { at } =
        connection("parcels").post("/v1/parcels", []).json(&Label { to: &args.to }).send()?.json()?;
    Ok(Sent { at, stops: args.stops })
}

#[test]
fn an_output_stands_wherever_a_struct_does() {
    let upstream = Upstream::new();
    let expected = upstream.expect("POST", "/v1/parcels").json(r#"{"to": {"town": "Ulm", "code": "89073"}}"#);
    expected.reply(200, r#"{"at": {"town": "Bonn", "id": 1}, "open": true}"#);
    let arguments = r#"{"to": {"town": "Ulm", "code": "89073"}, "stops": [{"town": "Hof"}]}"#;
    let sent = testing::call::<send_parcel>(arguments).unwrap();
    assert_eq!(sent, r#"{"at":{"town":"Bonn"},"stops":[{"town":"Hof"}]}"#);
}

#[test]
fn the_items_of_a_list_are_described() {
    for schema in [testing::input_schema::<send_parcel>(), testing::output_schema::<send_parcel>()] {
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        let stops = &schema["properties"]["stops"];
        assert_eq!(stops["description"], "Where it stops on its way.");
        assert_eq!(stops["items"]["description"], "An address.");
    }
}

#[derive(Choice)]
#[allow(clippy::upper_case_acronyms, reason = "their names are what is tested")]
enum Word {
    Usd,
    EUR,
    HTTPError,
    ParsedJSON,
    NewestFirst,
    PlanB,
    X509Key,
}

#[test]
fn capitals_in_a_row_are_one_word() {
    use Word::{EUR, HTTPError, NewestFirst, ParsedJSON, PlanB, Usd, X509Key};
    let names = [Usd, EUR, HTTPError, ParsedJSON, NewestFirst, PlanB, X509Key].map(|word| word.name());
    assert_eq!(names, ["usd", "eur", "http_error", "parsed_json", "newest_first", "plan_b", "x509_key"]);
}

/// Writes structs whose fields have types that its caller gives.
macro_rules! gauge {
    ($number:ty, $least:literal) => {
        /// What to measure.
        #[derive(Args)]
        struct Measure {
            /// The least that counts.
            #[arg(min = $least, max = 9)]
            least: $number,
            /// The most.
            most: Option<$number>,
        }

        /// What was measured.
        #[derive(Output)]
        struct Measured {
            /// How much.
            amount: $number,
        }

        #[derive(Payload)]
        struct Range {
            least: $number,
            most: Option<$number>,
        }

        #[derive(Reply)]
        struct Reading {
            amount: $number,
        }

        /// Measures.
        #[tool(connections = ["gauge"])]
        fn measure(args: Measure) -> Result<Measured> {
            let range = Range { least: args.least, most: args.most };
            let Reading { amount } = connection("gauge").post("/range", []).json(&range).send()?.json()?;
            Ok(Measured { amount })
        }
    };
}

gauge!(i64, -5);

#[test]
fn another_macro_may_write_the_structs() {
    let upstream = Upstream::new();
    upstream.expect("POST", "/range").json(r#"{"least": 1}"#).reply(200, r#"{"amount": 2e1}"#);
    assert_eq!(testing::call::<measure>(r#"{"least": 1}"#).unwrap(), r#"{"amount":20}"#);
    let schema: serde_json::Value = serde_json::from_str(&testing::input_schema::<measure>()).unwrap();
    assert_eq!(schema["properties"]["least"]["minimum"], -5);
}
