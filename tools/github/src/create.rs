//! Opening an issue.

use keybearer_guest::prelude::*;

/// The issue to open.
#[derive(Args)]
pub(crate) struct CreateIssue {
    /// The user or organization that the repository belongs to.
    #[arg(pattern = "^[A-Za-z0-9][A-Za-z0-9-]*$", max_len = 39)]
    owner: String,
    /// The repository's name.
    #[arg(pattern = "^[A-Za-z0-9_.-]+$", max_len = 100)]
    repo: String,
    /// The title: one line that says what's wrong or wanted.
    #[arg(min_len = 1, max_len = 256)]
    title: String,
    /// The text, in Markdown.
    #[arg(max_len = 65536)]
    body: Option<String>,
    /// The names of labels to put on it. They must exist.
    #[arg(max_items = 20)]
    labels: Option<Vec<String>>,
}

/// An issue that was opened.
#[derive(Output)]
pub(crate) struct Created {
    /// The issue's number.
    number: u32,
    /// Where a person can read it.
    #[output(from = "html_url")]
    url: String,
}

#[derive(Payload)]
struct NewIssue {
    title: String,
    body: Option<String>,
    labels: Option<Vec<String>>,
}

/// Opens an issue in a GitHub repository and returns its number and address. Look first whether there is one already.
#[tool(connections = ["github"])]
pub(crate) fn create_issue(args: CreateIssue) -> Result<Created> {
    let CreateIssue { owner, repo, title, body, labels } = args;
    let issue = NewIssue { title, body, labels };
    connection("github").post("/repos/{}/{}/issues", [&owner, &repo]).json(&issue).send()?.json()
}

#[cfg(test)]
mod tests {
    use keybearer_guest::testing::{self, Upstream};

    use super::*;

    const CREATED: &str = r#"{"number": 8, "html_url": "https://github.com/octo/hello/issues/8", "id": 1}"#;

    #[test]
    fn an_issue_is_json() {
        let upstream = Upstream::new();
        upstream
            .expect("POST", "/repos/octo/hello/issues")
            .connection("github")
            .json(r#"{"title": "Crash \"now\"", "labels": ["bug"]}"#)
            .reply(201, CREATED);
        let arguments = r#"{"owner": "octo", "repo": "hello", "title": "Crash \"now\"", "labels": ["bug"]}"#;
        let result = testing::call::<create_issue>(arguments).unwrap();
        assert_eq!(result, r#"{"number":8,"url":"https://github.com/octo/hello/issues/8"}"#);
    }

    #[test]
    fn a_refusal_keeps_the_upstreams_words_away() {
        let upstream = Upstream::new();
        upstream
            .expect("POST", "/repos/octo/hello/issues")
            .json(r#"{"title": "x", "body": "y"}"#)
            .reply(422, r#"{"message": "Validation Failed"}"#);
        let arguments = r#"{"owner": "octo", "repo": "hello", "title": "x", "body": "y", "labels": null}"#;
        let error = testing::call::<create_issue>(arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Upstream);
        assert!(error.message().contains("422") && !error.message().contains("Validation"), "{error}");
    }
}
