//! The catalog against a store in memory and a home in a temporary folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;

use super::*;
use crate::ids::ToolName;
use crate::runtime::test_guest::TestGuest;
use crate::runtime::{Allocation, Runtime, RuntimeConfig, RuntimeError};
use crate::store::MemoryControl;

static RUNTIME: LazyLock<Arc<Runtime>> = LazyLock::new(|| {
    let config = RuntimeConfig { instances_max: 8, allocation: Allocation::Auto, ..RuntimeConfig::default() };
    Arc::new(Runtime::new(&config).unwrap())
});

struct Home {
    dir: TempDir,
    store: Arc<MemoryControl>,
}

impl Home {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), store: Arc::new(MemoryControl::new()) }
    }

    fn open(&self) -> Catalog {
        self.open_with(RUNTIME.clone(), &|_| {})
    }

    fn open_with(&self, runtimes: impl Into<Runtimes>, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Catalog {
        let dir = self.dir.path();
        let cache = CodeCache::open(&dir.join("cache"), &dir.join("cache.key"));
        Catalog::open(dir.join("tools"), self.store.clone(), Loader::new(runtimes, cache), progress).unwrap()
    }

    /// Opens the catalog; says for each component whether it was in the cache.
    fn open_seeing_cached(&self) -> (Catalog, Vec<bool>) {
        let seen = Mutex::new(Vec::new());
        let progress = |step: Progress<'_>| {
            if let Progress::Ready { cached, .. } = step {
                seen.lock().unwrap().push(cached);
            }
        };
        let catalog = self.open_with(RUNTIME.clone(), &progress);
        (catalog, seen.into_inner().unwrap())
    }

    fn component(&self, digest: Digest) -> PathBuf {
        self.dir.path().join("tools").join(format!("{}.wasm", digest.hex()))
    }

    fn cached(&self, digest: Digest) -> PathBuf {
        self.dir.path().join("cache").join(RUNTIME.engine_key()).join(digest.hex())
    }
}

fn component(tools: &[&'static str], connections: &[&'static str]) -> Vec<u8> {
    let tools = tools.iter().map(|name| (*name, connections.to_vec())).collect();
    TestGuest { tools, ..TestGuest::default() }.build()
}

fn names(names: &[&str]) -> Vec<ConnectionName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn offered(catalog: &Catalog) -> Vec<String> {
    catalog.snapshot().tools().map(|tool| tool.name.to_string()).collect()
}

fn tool(name: &str) -> ToolName {
    name.parse().unwrap()
}

#[test]
fn an_added_component_is_offered_now_and_after_a_restart() {
    let home = Home::new();
    let catalog = home.open();
    let bytes = component(&["zeta", "alpha"], &["stripe", "github"]);
    let added = catalog.add("pay", &bytes, &names(&["stripe"]), Millis(1)).unwrap();
    assert_eq!(added.replaced, None);
    assert_eq!(added.inspection.connections, names(&["github", "stripe"]));
    assert_eq!(added.inspection.digest, Digest::of(&bytes));
    for catalog in [catalog, home.open()] {
        assert_eq!(offered(&catalog), ["alpha", "zeta"]);
        let snapshot = catalog.snapshot();
        let tool = snapshot.tool(&tool("alpha")).unwrap();
        assert_eq!(*tool.connections, *names(&["stripe"]), "declared and consented to");
        assert_eq!(tool.component, Digest::of(&bytes));
        assert!(snapshot.problems().is_empty());
    }
}

#[test]
fn an_inspection_changes_nothing() {
    let home = Home::new();
    let catalog = home.open();
    let inspection = catalog.inspect(&component(&["one"], &["stripe"])).unwrap();
    assert_eq!(*inspection.tools[0].connections, *names(&["stripe"]));
    assert_eq!(inspection.imports, ["keybearer:tool/credentialed-http@0.1.0", "keybearer:tool/log@0.1.0"]);
    assert!(offered(&catalog).is_empty());
    assert!(home.store.components().unwrap().is_empty());
}

#[test]
fn what_is_not_sound_is_not_added() {
    let home = Home::new();
    let catalog = home.open();
    let sound = component(&["one"], &["stripe"]);
    let add = |name: &str, bytes: &[u8], consented: &[&str]| {
        catalog.add(name, bytes, &names(consented), Millis(1)).unwrap_err()
    };
    assert!(matches!(add("../x", &sound, &[]), CatalogError::ComponentName(_)));
    assert!(matches!(add("x", &sound, &["github"]), CatalogError::NotDeclared { .. }));
    assert!(matches!(add("x", b"no component", &[]), CatalogError::Runtime(RuntimeError::NotAComponent(_))));
    assert!(matches!(add("x", &component(&[], &[]), &[]), CatalogError::NoTools));
    assert!(matches!(add("x", &component(&["a", "a"], &[]), &[]), CatalogError::Tool { .. }));
    assert!(matches!(add("x", &component(&["Get-It"], &[]), &[]), CatalogError::Tool { .. }));
    assert!(matches!(add("x", &component(&["a"], &["UP"]), &[]), CatalogError::Tool { .. }));
    let lying = TestGuest { describe: "(drop (call $get))", ..TestGuest::default() }.build();
    assert!(matches!(add("x", &lying, &[]), CatalogError::Runtime(RuntimeError::Describe(_))));
    assert!(home.store.components().unwrap().is_empty());
    assert!(!home.dir.path().join("tools").exists());
}

fn sandbox() -> Vec<u8> {
    let (input, output) = (sandbox_tests::INPUT, sandbox_tests::OUTPUT);
    TestGuest { tools: vec![(SANDBOX_TOOL, vec![])], input, output, ..TestGuest::default() }.build()
}

#[test]
fn a_sandbox_uses_what_the_operator_chose_and_stays_one_after_a_restart() {
    let home = Home::new();
    let catalog = home.open();
    let bytes = sandbox();
    assert_eq!(catalog.inspect(&bytes).unwrap().kind, ComponentKind::Sandbox);
    catalog.add_sandbox("python", &bytes, &names(&["stripe", "github", "stripe"]), Millis(1)).unwrap();
    for catalog in [&catalog, &home.open()] {
        let snapshot = catalog.snapshot();
        let tool = snapshot.tool(&tool(SANDBOX_TOOL)).unwrap();
        assert_eq!(tool.kind, ComponentKind::Sandbox);
        assert_eq!(*tool.connections, *names(&["github", "stripe"]));
    }
    // None are the default, and a later consent takes away what an earlier one gave.
    catalog.add_sandbox("python", &bytes, &[], Millis(2)).unwrap();
    assert!(home.open().snapshot().tool(&tool(SANDBOX_TOOL)).unwrap().connections.is_empty());
}

#[test]
fn a_sandbox_is_never_a_tool_and_a_tool_never_a_sandbox() {
    let home = Home::new();
    let catalog = home.open();
    let (bytes, plain) = (sandbox(), component(&["one"], &["stripe"]));
    let as_tool = catalog.add("python", &bytes, &[], Millis(1)).unwrap_err();
    assert!(matches!(as_tool, CatalogError::IsASandbox), "{as_tool}");
    let as_sandbox = catalog.add_sandbox("pay", &plain, &[], Millis(1)).unwrap_err();
    assert!(matches!(as_sandbox, CatalogError::NotASandbox), "{as_sandbox}");
    // With the name, and with more than one tool or another shape: neither.
    for unfit in [component(&[SANDBOX_TOOL], &[]), component(&[SANDBOX_TOOL, "one"], &[])] {
        for error in [
            catalog.add("python", &unfit, &[], Millis(1)).unwrap_err(),
            catalog.add_sandbox("python", &unfit, &[], Millis(1)).unwrap_err(),
        ] {
            assert!(matches!(error, CatalogError::Unfit(_)), "{error}");
        }
    }
    assert!(home.store.components().unwrap().is_empty());

    // A row that says otherwise than the component isn't believed.
    catalog.add_sandbox("python", &bytes, &names(&["stripe"]), Millis(1)).unwrap();
    let row = home.store.components().unwrap().remove(0);
    home.store.activate_component(&ComponentRow { kind: ComponentKind::Tool, ..row.clone() }).unwrap();
    let other = home.open();
    assert!(offered(&other).is_empty());
    assert!(matches!(other.snapshot().problems()[0].error, CatalogError::IsASandbox));
    home.store.activate_component(&row).unwrap();
    assert!(catalog.refresh().is_ok());

    // A name is of one kind until what has it is removed.
    let taken = catalog.add("python", &plain, &[], Millis(2)).unwrap_err();
    assert!(matches!(taken, CatalogError::OtherKind { kind: ComponentKind::Sandbox, .. }), "{taken}");
    catalog.add("pay", &plain, &[], Millis(2)).unwrap();
    let taken = catalog.add_sandbox("pay", &bytes, &[], Millis(3)).unwrap_err();
    assert!(matches!(taken, CatalogError::NameTaken { .. } | CatalogError::OtherKind { .. }), "{taken}");
    assert_eq!(offered(&catalog), ["one", SANDBOX_TOOL]);
}

#[test]
fn sandboxes_run_in_a_runtime_of_their_own() {
    let home = Home::new();
    let code = Arc::new(Runtime::new(&RuntimeConfig::for_commands()).unwrap());
    let runtimes = Runtimes { tools: RUNTIME.clone(), code: code.clone() };
    let catalog = home.open_with(runtimes, &|_| {});
    catalog.add_sandbox("python", &sandbox(), &[], Millis(1)).unwrap();
    catalog.add("pay", &component(&["one"], &[]), &[], Millis(1)).unwrap();
    let snapshot = catalog.snapshot();
    assert!(Arc::ptr_eq(&snapshot.tool(&tool(SANDBOX_TOOL)).unwrap().runtime, &code));
    assert!(Arc::ptr_eq(&snapshot.tool(&tool("one")).unwrap().runtime, &RUNTIME));
}

#[test]
fn a_name_that_is_taken_is_refused_naming_both() {
    let home = Home::new();
    let catalog = home.open();
    catalog.add("first", &component(&["one", "two"], &[]), &[], Millis(1)).unwrap();
    let error = catalog.add("second", &component(&["three", "two"], &[]), &[], Millis(2)).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("tool two") && message.contains("\"first\""), "{message}");
    assert_eq!(offered(&catalog), ["one", "two"]);
    assert!(catalog.snapshot().problems().is_empty());
}

#[test]
fn a_component_is_replaced_and_removed_by_its_name() {
    let home = Home::new();
    let catalog = home.open();
    let (old, new) = (component(&["one"], &["stripe"]), component(&["one", "two"], &["stripe"]));
    catalog.add("pay", &old, &[], Millis(1)).unwrap();
    let added = catalog.add("pay", &new, &[], Millis(2)).unwrap();
    assert_eq!(added.replaced, Some(Digest::of(&old)));
    assert_eq!(offered(&catalog), ["one", "two"]);
    assert_eq!(catalog.snapshot().tool(&tool("one")).unwrap().component, Digest::of(&new));

    assert!(catalog.remove("pay").unwrap());
    assert!(!catalog.remove("pay").unwrap());
    assert!(offered(&catalog).is_empty());
}

#[test]
fn consent_can_be_given_and_taken_back_later() {
    let home = Home::new();
    let catalog = home.open();
    let bytes = component(&["one"], &["stripe"]);
    catalog.add("pay", &bytes, &[], Millis(1)).unwrap();
    assert!(catalog.snapshot().tool(&tool("one")).unwrap().connections.is_empty());
    let added = catalog.add("pay", &bytes, &names(&["stripe"]), Millis(2)).unwrap();
    assert_eq!(added.replaced, None, "the bytes are the same");
    assert_eq!(catalog.snapshot().tool(&tool("one")).unwrap().connections.len(), 1);
}

#[test]
fn another_process_sees_what_was_added_when_it_refreshes() {
    let home = Home::new();
    let (ours, theirs) = (home.open(), home.open());
    ours.add("pay", &component(&["one"], &[]), &[], Millis(1)).unwrap();
    assert!(!ours.is_stale().unwrap());
    assert!(theirs.is_stale().unwrap());
    assert!(offered(&theirs).is_empty());
    assert!(theirs.refresh().unwrap());
    assert_eq!(offered(&theirs), ["one"]);
    assert!(!theirs.refresh().unwrap());

    // What has nothing to do with components changes the version and nothing here.
    home.store.ensure_setting("x", b"y").unwrap();
    let before = theirs.snapshot();
    assert!(theirs.is_stale().unwrap());
    assert!(!theirs.refresh().unwrap());
    assert!(!theirs.is_stale().unwrap());
    assert!(Arc::ptr_eq(&before, &theirs.snapshot()));

    // What didn't change isn't loaded again.
    ours.add("text", &component(&["two"], &[]), &[], Millis(2)).unwrap();
    theirs.refresh().unwrap();
    assert!(Arc::ptr_eq(before.tool(&tool("one")).unwrap(), theirs.snapshot().tool(&tool("one")).unwrap()));
}

#[test]
fn bytes_with_another_digest_are_refused_and_the_others_load() {
    let home = Home::new();
    let catalog = home.open();
    let (good, bad, gone) = (component(&["good"], &[]), component(&["bad"], &[]), component(&["gone"], &[]));
    for (name, bytes) in [("good", &good), ("bad", &bad), ("gone", &gone)] {
        catalog.add(name, bytes, &[], Millis(1)).unwrap();
    }
    // Another sound component in place of the one that was consented to.
    fs::write(home.component(Digest::of(&bad)), &good).unwrap();
    fs::remove_file(home.component(Digest::of(&gone))).unwrap();
    let catalog = home.open();
    assert_eq!(offered(&catalog), ["good"]);
    let snapshot = catalog.snapshot();
    let problem = |name: &str| snapshot.problems().iter().find(|problem| problem.component == name).unwrap();
    assert!(matches!(
        problem("bad").error,
        CatalogError::OtherBytes { expected, found } if expected == Digest::of(&bad) && found == Digest::of(&good)
    ));
    assert!(matches!(problem("gone").error, CatalogError::File { .. }));
    // Adding it again repairs it.
    catalog.add("bad", &bad, &[], Millis(2)).unwrap();
    assert_eq!(offered(&catalog), ["bad", "good"]);
}

#[test]
fn a_description_other_than_the_pinned_one_is_refused() {
    let home = Home::new();
    let catalog = home.open();
    let bytes = component(&["one"], &["stripe"]);
    catalog.add("pay", &bytes, &[], Millis(1)).unwrap();
    let mut row = home.store.components().unwrap().remove(0);
    assert!(row.described.contains("A probe."));
    row.described = row.described.replace("A probe.", "Harmless.");
    home.store.activate_component(&row).unwrap();
    let catalog = home.open();
    assert!(offered(&catalog).is_empty());
    assert!(matches!(catalog.snapshot().problems()[0].error, CatalogError::OtherDescription));
}

#[test]
fn what_describes_itself_otherwise_than_it_was_shown_is_not_added() {
    let home = Home::new();
    let catalog = home.open();
    for (bytes, connections) in [(component(&["one"], &["stripe"]), names(&["stripe"])), (sandbox(), vec![])]
    {
        let mut shown = catalog.inspect(&bytes).unwrap();
        let told = std::mem::replace(&mut shown.described, "[]".to_owned());
        let error = catalog.add_shown("pay", &bytes, &shown, &connections, Millis(1)).unwrap_err();
        assert!(matches!(error, CatalogError::Unsteady), "{error}");
        assert!(offered(&catalog).is_empty());
        shown.described = told;
        catalog.add_shown("pay", &bytes, &shown, &connections, Millis(1)).unwrap();
        assert!(catalog.remove("pay").unwrap());
    }
}

#[test]
fn of_two_components_with_one_name_the_earlier_keeps_it() {
    let home = Home::new();
    let catalog = home.open();
    let later = component(&["one", "other"], &[]);
    let described = catalog.inspect(&later).unwrap().described;
    catalog.add("zzz", &component(&["one"], &[]), &[], Millis(1)).unwrap();
    // As another process would, that looked before the first was there.
    fs::write(home.component(Digest::of(&later)), &later).unwrap();
    let row = |name: &str, at| ComponentRow {
        name: name.to_owned(),
        kind: ComponentKind::Tool,
        digest: Digest::of(&later),
        described: described.clone(),
        connections: vec![],
        added_at: Millis(at),
        active: true,
    };
    home.store.activate_component(&row("aaa", 2)).unwrap();
    catalog.refresh().unwrap();
    for catalog in [catalog, home.open()] {
        assert_eq!(offered(&catalog), ["one"]);
        assert_eq!(catalog.snapshot().problems()[0].component, "aaa");
    }
}

#[test]
fn compiled_code_is_cached_and_only_used_when_it_is_authentic() {
    let home = Home::new();
    let (a, b) = (component(&["a"], &[]), component(&["b"], &[]));
    let catalog = home.open();
    assert!(!catalog.add("a", &a, &[], Millis(1)).unwrap().inspection.cached);
    assert!(!catalog.add("b", &b, &[], Millis(1)).unwrap().inspection.cached);
    assert_eq!(home.open_seeing_cached().1, [true, true]);

    let (file_a, file_b) = (home.cached(Digest::of(&a)), home.cached(Digest::of(&b)));
    let sound = fs::read(&file_a).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    let moved = fs::read(&file_b).unwrap();
    for damaged in [flipped, sound[..sound.len() - 1].to_vec(), Vec::new(), moved] {
        fs::write(&file_a, damaged).unwrap();
        let (catalog, mut cached) = home.open_seeing_cached();
        cached.sort_unstable();
        assert_eq!(cached, [false, true]);
        assert_eq!(offered(&catalog), ["a", "b"]);
        assert_eq!(home.open_seeing_cached().1, [true, true], "it was compiled again and kept");
    }
}

#[test]
fn the_key_of_the_cache_is_this_users_alone() {
    let home = Home::new();
    home.open().add("a", &component(&["a"], &[]), &[], Millis(1)).unwrap();
    let file = home.dir.path().join("cache.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let key = fs::read(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(home.open_seeing_cached().1, [false], "what others could have sealed isn't used");
    assert_ne!(fs::read(&file).unwrap(), key);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    fs::write(&file, b"short").unwrap();
    assert_eq!(home.open_seeing_cached().1, [false]);
    assert_eq!(home.open_seeing_cached().1, [true]);
}

#[test]
fn code_that_another_user_has_sealed_is_not_run_and_that_user_s_key_stays() {
    // Only root can give files away, and read another user's key.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    home.open().add("a", &component(&["a"], &[]), &[], Millis(1)).unwrap();
    let file = home.dir.path().join("cache.key");
    let key = fs::read(&file).unwrap();
    let give = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
    // A service's home, where root works.
    give(&file, 65_534);
    give(home.dir.path(), 65_534);
    assert_eq!(home.open_seeing_cached().1, [false]);
    assert_eq!(fs::read(&file).unwrap(), key);
    // A key that somebody has put into this user's own home.
    give(home.dir.path(), 0);
    assert_eq!(home.open_seeing_cached().1, [false]);
    assert_ne!(fs::read(&file).unwrap(), key);
    assert_eq!(home.open_seeing_cached().1, [true]);
}

#[test]
fn without_a_usable_cache_everything_still_works() {
    let home = Home::new();
    fs::write(home.dir.path().join("cache"), b"no folder").unwrap();
    fs::create_dir(home.dir.path().join("cache.key")).unwrap();
    home.open().add("a", &component(&["a"], &[]), &[], Millis(1)).unwrap();
    let (catalog, cached) = home.open_seeing_cached();
    assert_eq!((offered(&catalog), cached), (vec!["a".to_owned()], vec![false]));
}

#[tokio::test]
async fn it_works_where_async_code_runs() {
    let home = Home::new();
    let catalog = home.open();
    catalog.add("a", &component(&["a"], &[]), &[], Millis(1)).unwrap();
    assert_eq!(offered(&catalog), ["a"]);
}
