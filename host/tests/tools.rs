//! The components of this repository, built as an author builds them: tools are small and import nothing of WASI,
//! and the hostile guests import what they're made to.

use std::path::Path;
use std::process::Command;

use keybearer::build::{BuildOptions, build_tool};
use wit_component::DecodedWasm;
use wit_parser::WorldItem;

/// Builds a component and returns its size in bytes and its imports.
fn build(folder: &str, name: &str) -> (usize, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        manifest_dir: root.join(folder).join(name),
        out_dir: Some(out.path().to_owned()),
        locked: true,
    };
    let built = build_tool(&options, &mut |_| ()).unwrap();
    assert_eq!(built.path.file_name().unwrap().to_str(), Some(&*format!("{name}.wasm")));
    let bytes = std::fs::read(&built.path).unwrap();
    assert_eq!(built.size, bytes.len());
    let root = root.to_str().unwrap().as_bytes();
    assert!(!bytes.windows(root.len()).any(|window| window == root), "a path of this machine is in {name}");

    let DecodedWasm::Component(resolve, world) = wit_component::decode(&bytes).unwrap() else {
        panic!("{name} isn't a component");
    };
    let world = &resolve.worlds[world];
    // A world's own types stand among its imports, and aren't any.
    let imports = world.imports.iter().filter(|(_, item)| !matches!(item, WorldItem::Type { .. }));
    let imports = imports.map(|(key, _)| resolve.name_world_key(key)).collect();
    (built.size, imports)
}

#[test]
fn components_are_small_and_import_the_contract_alone() {
    let limits = [("text", 120_000), ("github", 300_000), ("stripe", 300_000)];
    for (name, size_max) in limits {
        let (size, imports) = build("tools", name);
        println!("{name}: {size} bytes, imports {imports:?}");
        assert!(size < size_max, "{name} has {size} bytes, more than {size_max}");
        let known = ["keybearer:tool/credentialed-http@0.1.0", "keybearer:tool/log@0.1.0"];
        let foreign: Vec<_> = imports.iter().filter(|import| !known.contains(&import.as_str())).collect();
        assert!(foreign.is_empty(), "{name} imports {foreign:?}");
    }
}

#[test]
fn hostile_guests_import_what_they_are_made_to() {
    for (name, import) in [
        ("hostile", "keybearer:tool/credentialed-http@0.1.0"),
        ("liar", "keybearer:tool/credentialed-http@0.1.0"),
        ("stranger", "wasi:http/outgoing-handler@0.2.0"),
        ("stranger", "someone:unknown/api@1.0.0"),
        ("wasi-probe", "wasi:cli/environment@0.2.0"),
        ("wasi-probe", "wasi:filesystem/preopens@0.2.0"),
        ("wasi-probe", "wasi:sockets/ip-name-lookup@0.2.0"),
    ] {
        let (_, imports) = build("tests/guests", name);
        assert!(imports.iter().any(|found| found == import), "{name} imports {imports:?}");
    }
}

#[test]
fn what_no_host_would_take_is_built_and_no_success() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let build = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybearer"));
        command.args(["tool", "build", "--locked", "--out-dir"]).arg(out.path()).args(flags);
        command.arg(root.join("tests/guests/stranger")).env("XDG_CACHE_HOME", out.path());
        command.output().unwrap()
    };
    let refused = build(&[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("stranger.wasm can't be used: "), "{said}");
    assert!(said.contains("imports `wasi:http/outgoing-handler@0.2.0`"), "{said}");
    assert!(out.path().join("stranger.wasm").is_file());
    let unchecked = build(&["--unchecked"]);
    assert!(unchecked.status.success(), "{}", String::from_utf8_lossy(&unchecked.stderr));
}
