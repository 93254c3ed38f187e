//! Customers, read only.

use keybearer_guest::prelude::*;

/// Which customer to look up.
#[derive(Args)]
pub(crate) struct GetCustomer {
    /// The customer's id, for example `cus_1Abc`.
    #[arg(pattern = "^cus_[A-Za-z0-9]+$", max_len = 64)]
    id: String,
}

/// A customer.
#[derive(Output)]
pub(crate) struct Customer {
    /// The customer's id.
    id: String,
    /// The customer's name, if one is known.
    name: Option<String>,
    /// The customer's email address, if one is known.
    email: Option<String>,
    /// What the business has noted about the customer.
    description: Option<String>,
    /// Whether the latest charge of an invoice failed.
    delinquent: Option<bool>,
}

/// A customer as Stripe replies: one that was deleted is still there, and nearly empty.
#[derive(Reply)]
struct Found {
    id: String,
    name: Option<String>,
    email: Option<String>,
    description: Option<String>,
    delinquent: Option<bool>,
    deleted: Option<bool>,
}

/// Looks up one Stripe customer by id and returns the name, the email address and whether payments are overdue.
#[tool(connections = ["stripe"])]
pub(crate) fn get_customer(args: GetCustomer) -> Result<Customer> {
    let found: Found = connection("stripe").get("/v1/customers/{}", [&args.id]).send()?.json()?;
    if found.deleted == Some(true) {
        return Err(Error::not_found(format!("the customer {} was deleted", found.id)));
    }
    let Found { id, name, email, description, delinquent, .. } = found;
    Ok(Customer { id, name, email, description, delinquent })
}

#[cfg(test)]
mod tests {
    use keybearer_guest::testing::{self, Upstream};

    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let upstream = Upstream::new();
        let reply = r#"{"id": "cus_1", "name": null, "email": "a@example.com", "sources": {"data": []}}"#;
        upstream.expect("GET", "/v1/customers/cus_1").reply(200, reply);
        let result = testing::call::<get_customer>(r#"{"id": "cus_1"}"#).unwrap();
        assert_eq!(result, r#"{"id":"cus_1","email":"a@example.com"}"#);
    }

    #[test]
    fn a_deleted_customer_is_not_found() {
        let upstream = Upstream::new();
        upstream.expect("GET", "/v1/customers/cus_1").reply(200, r#"{"id": "cus_1", "deleted": true}"#);
        let error = testing::call::<get_customer>(r#"{"id": "cus_1"}"#).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "the customer cus_1 was deleted"));
    }
}
