//! `get_invoice`, moved out of the agent's process.

use keybearer_guest::prelude::*;

/// Which invoice to look up.
#[derive(Args)]
struct GetInvoice {
    /// The invoice's id, for example `in_1Abc`.
    #[arg(pattern = "^in_[A-Za-z0-9]+$", max_len = 64)]
    id: String,
}

/// What the agent sees of an invoice.
#[derive(Output)]
struct Invoice {
    /// The invoice's id.
    id: String,
    /// The amount due, in minor units (cents).
    amount_due: i64,
    /// Where the invoice stands, for example `open` or `paid`.
    status: String,
}

/// Looks up a Stripe invoice by id and returns its status and the amount due.
#[tool(connections = ["stripe"])]
fn get_invoice(args: GetInvoice) -> Result<Invoice> {
    connection("stripe").get("/v1/invoices/{}", [&args.id]).send()?.json()
}

keybearer_guest::export!(get_invoice);
