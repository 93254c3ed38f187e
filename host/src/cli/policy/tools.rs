//! The tools of components that are in no home: `--tools`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::catalog::{CodeCache, Loader, Tool};
use crate::cli::context::{cache_dir, components_of};
use crate::ids::ToolName;
use crate::runtime::{Runtime, RuntimeConfig};

/// The tools of these components, and of every component of these folders. Compiles what isn't in the user's cache.
///
/// # Errors
/// When one can't be used, a folder holds none, or two have a tool of the same name.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Arc<Tool>>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = Arc::new(Runtime::new(&RuntimeConfig::for_commands())?);
    let cache = cache_dir().map_or_else(CodeCache::off, |dir| CodeCache::shared(&dir));
    let loader = Loader::new(runtime, cache);
    let mut tools: BTreeMap<ToolName, (Arc<Tool>, PathBuf)> = BTreeMap::new();
    for file in components(paths)? {
        let shown = file.display();
        let bytes = std::fs::read(&file).with_context(|| shown.to_string())?;
        let found = loader.inspect(&bytes).with_context(|| format!("{shown} can't be used"))?;
        for tool in found.tools {
            let name = tool.name.clone();
            if let Some((_, other)) = tools.get(&name) {
                anyhow::bail!("{} and {shown} both have a tool {name}: give one of them", other.display());
            }
            tools.insert(name, (tool, file.clone()));
        }
    }
    Ok(tools.into_values().map(|(tool, _)| tool).collect())
}

/// The files themselves, and the `*.wasm` of folders by name.
fn components(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(components_of(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use crate::cli::out::Out;
    use crate::cli::{Cli, Command, Done};
    use crate::runtime::test_guest::TestGuest;

    const INPUT: &str = r#"{"type":"object","properties":{"amount":{"type":"integer","minimum":1}},"required":["amount"],"additionalProperties":false}"#;

    /// A folder of connections, of policies that permit all, and of tables, and one of components.
    struct Ci(tempfile::TempDir);

    impl Ci {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["connections", "policies", "tools", "none"] {
                fs::create_dir(dir.path().join(name)).unwrap();
            }
            let rules = "permit (principal, action, resource);
                forbid (principal, action == Action::\"call:pay\", resource)
                when { context.arguments.amount > 50 };";
            fs::write(dir.path().join("policies/all.cedar"), "permit (principal, action, resource);")
                .unwrap();
            fs::create_dir(dir.path().join("limits")).unwrap();
            fs::write(dir.path().join("limits/all.cedar"), rules).unwrap();
            let ci = Self(dir);
            ci.component("tools/pay.wasm", "pay");
            ci
        }

        fn component(&self, file: &str, tool: &'static str) {
            let guest = TestGuest { tools: vec![(tool, vec![])], input: INPUT, ..TestGuest::default() };
            fs::write(self.0.path().join(file), guest.build()).unwrap();
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).to_str().unwrap().to_owned()
        }

        /// What `policy WORDS --connections … MORE` comes to, without a home.
        fn run(&self, words: &[&str], more: &[&str]) -> anyhow::Result<Done> {
            let connections = self.path("connections");
            let flags = ["--connections", &connections];
            let line = [&["keybearer", "policy"][..], words, &flags, more].concat();
            let Command::Policy(policy) = Cli::try_parse_from(line)?.command else { panic!("{words:?}") };
            policy.run(Some(self.path("nosuch").into()), &Out::new(false))
        }

        /// What a case of `policy test` comes to.
        fn case(&self, policies: &str, case: &str, more: &[&str]) -> Done {
            let table = self.path("table.toml");
            let text = format!("[request]\nagent = 'bot'\n[[case]]\nname = 'a'\n{case}\n");
            fs::write(&table, text).unwrap();
            self.run(&["test", &table, "--policies", &self.path(policies)], more).unwrap()
        }
    }

    #[test]
    fn calls_are_held_to_tools_without_a_home() {
        let ci = Ci::new();
        let (folder, file) = (ci.path("tools"), ci.path("tools/pay.wasm"));
        for tools in [&folder, &file] {
            let case = |policies: &str, case: &str| ci.case(policies, case, &["--tools", tools]);
            for (policies, fits) in [
                ("policies", "call = 'pay'\narguments = { amount = 51 }\nexpect = 'allowed'"),
                ("limits", "call = 'pay'\narguments = { amount = 50 }\nexpect = 'allowed'"),
                ("limits", "call = 'pay'\narguments = { amount = 51 }\nexpect = 'denied'"),
            ] {
                assert_eq!(case(policies, fits), Done::Well, "{fits}");
            }
            for slip in [
                "call = 'pay'",
                "call = 'pay'\narguments = { amout = 51 }",
                "call = 'pay'\narguments = { amount = 0 }",
                "call = 'pya'\narguments = { amount = 51 }",
            ] {
                for expect in ["denied", "allowed"] {
                    let slip = format!("{slip}\nexpect = '{expect}'");
                    assert_eq!(case("policies", &slip), Done::Problems, "{slip}");
                }
            }
        }
        let known = "call = 'pay'\narguments = { amount = 51 }\nexpect = 'denied'";
        assert_eq!(ci.case("policies", known, &[]), Done::Problems, "no tool is known");
        assert_eq!(ci.run(&["check", &ci.path("limits")], &[]).unwrap(), Done::Problems);
        assert_eq!(ci.run(&["check", &ci.path("limits")], &["--tools", &folder]).unwrap(), Done::Well);
    }

    #[test]
    fn what_cannot_be_read_as_tools_is_an_error() {
        let ci = Ci::new();
        ci.component("twice.wasm", "pay");
        fs::write(ci.path("broken.wasm"), "no component").unwrap();
        let (tools, twice) = (ci.path("tools"), ci.path("twice.wasm"));
        for (paths, said) in [
            (&[ci.path("none")][..], "holds no component (*.wasm)"),
            (&[ci.path("gone.wasm")], "gone.wasm"),
            (&[ci.path("broken.wasm")], "broken.wasm can't be used"),
            (&[tools, twice], "both have a tool pay: give one of them"),
        ] {
            let more: Vec<&str> = paths.iter().flat_map(|path| ["--tools", path.as_str()]).collect();
            let error = ci.run(&["schema"], &more).unwrap_err();
            assert!(format!("{error:#}").contains(said), "{error:#}");
        }
        // With a home, its tools are those that are known.
        let line = ["keybearer", "policy", "schema", "--tools", "t.wasm"];
        assert!(Cli::try_parse_from(line).unwrap_err().to_string().contains("--connections"));
    }
}
