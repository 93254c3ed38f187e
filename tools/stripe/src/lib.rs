//! Tools over Stripe. Amounts are integers in the currency's minor unit, as Stripe has them.

mod charges;
mod customers;
mod invoices;

use charges::create_charge;
use customers::get_customer;
use invoices::{get_invoice, list_invoices};

keybearer_guest::export!(get_invoice, list_invoices, get_customer, create_charge);
