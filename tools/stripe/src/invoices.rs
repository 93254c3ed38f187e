//! Invoices, read only.

use keybearer_guest::prelude::*;

/// Which invoice to look up.
#[derive(Args)]
pub(crate) struct GetInvoice {
    /// The invoice's id, for example `in_1Abc`.
    #[arg(pattern = "^in_[A-Za-z0-9]+$", max_len = 64)]
    id: String,
}

/// Which invoices to list.
#[derive(Args)]
pub(crate) struct ListInvoices {
    /// Only invoices of this customer, for example `cus_1Abc`.
    #[arg(pattern = "^cus_[A-Za-z0-9]+$", max_len = 64)]
    customer: Option<String>,
    /// How many invoices to return at most. 10 if left out.
    #[arg(min = 1, max = 100)]
    limit: Option<u32>,
    /// To get the next page: the id of the last invoice of the page before.
    #[arg(pattern = "^in_[A-Za-z0-9]+$", max_len = 64)]
    starting_after: Option<String>,
}

/// An invoice.
#[derive(Debug, PartialEq, Output)]
pub(crate) struct Invoice {
    /// The invoice's id.
    id: String,
    /// Where it stands: `draft`, `open`, `paid`, `uncollectible` or `void`.
    status: String,
    /// The amount due, in the currency's minor unit: 1999 is $19.99.
    amount_due: i64,
    /// The part of it that has been paid, in the same unit.
    amount_paid: i64,
    /// The currency, a three-letter code in lower case, for example `usd`.
    currency: String,
    /// The id of the customer who owes it.
    customer: String,
}

/// A page of invoices.
#[derive(Debug, PartialEq, Output)]
pub(crate) struct Invoices {
    /// The invoices, newest first.
    #[output(from = "data")]
    invoices: Vec<Invoice>,
    /// Whether there are more: call again with `starting_after`.
    has_more: bool,
}

/// Looks up one Stripe invoice by its id and returns its status, its amounts and its customer. Use it when you know
/// the id; otherwise find it with `list_invoices`.
#[tool(connections = ["stripe"])]
pub(crate) fn get_invoice(args: GetInvoice) -> Result<Invoice> {
    connection("stripe").get("/v1/invoices/{}", [&args.id]).send()?.json()
}

/// Lists Stripe invoices, newest first, of all customers or of one. Returns one page and whether there are more.
#[tool(connections = ["stripe"])]
pub(crate) fn list_invoices(args: ListInvoices) -> Result<Invoices> {
    connection("stripe")
        .get("/v1/invoices", [])
        .query("customer", args.customer)
        .query("limit", args.limit.unwrap_or(10))
        .query("starting_after", args.starting_after)
        .send()?
        .json()
}

#[cfg(test)]
mod tests {
    use keybearer_guest::testing::{self, Upstream};

    use super::*;

    const INVOICE: &str = r#"{"id": "in_1", "object": "invoice", "status": "open", "amount_due": 1999,
        "amount_paid": 0, "currency": "usd", "customer": "cus_1", "customer_email": "a@example.com",
        "lines": {"object": "list", "data": [{"amount": 1999}]}, "metadata": {"note": "\u00e9"}}"#;

    #[test]
    fn an_invoice_is_narrowed() {
        let upstream = Upstream::new();
        upstream.expect("GET", "/v1/invoices/in_1").connection("stripe").reply(200, INVOICE);
        let result = testing::call::<get_invoice>(r#"{"id": "in_1"}"#).unwrap();
        assert_eq!(
            result,
            r#"{"id":"in_1","status":"open","amount_due":1999,"amount_paid":0,"currency":"usd","customer":"cus_1"}"#
        );
    }

    #[test]
    fn a_missing_invoice_is_not_found() {
        let upstream = Upstream::new();
        upstream
            .expect("GET", "/v1/invoices/in_2")
            .reply(404, r#"{"error": {"message": "No such invoice"}}"#);
        let error = get_invoice(GetInvoice { id: "in_2".into() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_reply_without_its_fields_names_the_field() {
        let upstream = Upstream::new();
        upstream.expect("GET", "/v1/invoices/in_1").reply(200, r#"{"id": "in_1", "status": null}"#);
        let error = get_invoice(GetInvoice { id: "in_1".into() }).unwrap_err();
        assert_eq!(
            error.message(),
            "the reply of `stripe` can't be used: `status`: should be a string, is null"
        );
    }

    #[test]
    fn listing_sends_what_was_asked_for_and_no_more() {
        let upstream = Upstream::new();
        let page = format!(r#"{{"object": "list", "data": [{INVOICE}], "has_more": true}}"#);
        upstream.expect("GET", "/v1/invoices").query("limit", "10").reply(200, page);
        upstream
            .expect("GET", "/v1/invoices")
            .query("limit", "3")
            .query("customer", "cus_1")
            .query("starting_after", "in_1")
            .reply(200, r#"{"data": [], "has_more": false}"#);

        let page = testing::call::<list_invoices>("{}").unwrap();
        assert!(
            page.starts_with(r#"{"invoices":[{"id":"in_1""#) && page.ends_with(r#""has_more":true}"#),
            "{page}"
        );
        let rest = r#"{"customer": "cus_1", "limit": 3, "starting_after": "in_1"}"#;
        assert_eq!(testing::call::<list_invoices>(rest).unwrap(), r#"{"invoices":[],"has_more":false}"#);
    }
}
