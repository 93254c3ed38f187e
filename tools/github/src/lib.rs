//! Tools over GitHub's issues.

mod create;
mod get;

use create::create_issue;
use get::get_issue;

keybearer_guest::export!(get_issue, create_issue);
