//! What a component may import, decided on its bytes before anything is compiled.

use wasmparser::{ComponentTypeRef, Parser, Payload, TypeBounds};

use crate::runtime::RuntimeError;

/// The largest component, in bytes. CPython with its modules has 20 MB.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// The contract's own interfaces, by their exact names.
const OURS: [&str; 2] = ["keybearer:tool/credentialed-http@0.1.0", "keybearer:tool/log@0.1.0"];

/// The interfaces of WASI 0.2 that are there, all of them empty: no environment, arguments, files or network.
const WASI: [&str; 27] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The names of a component's imports, if all of them are known.
pub(super) fn admit(bytes: &[u8]) -> Result<Vec<String>, RuntimeError> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(RuntimeError::TooLarge { bytes: bytes.len() });
    }
    if !Parser::is_component(bytes) {
        return Err(RuntimeError::NotAComponent(what_it_is(bytes).to_owned()));
    }
    let imports = imports(bytes)?;
    match imports.iter().find(|name| !is_known(name)) {
        Some(name) => Err(RuntimeError::UnknownImport { name: name.escape_debug().take(200).collect() }),
        None => Ok(imports),
    }
}

/// Whether an import belongs to WASI.
pub(super) fn is_wasi(name: &str) -> bool {
    name.starts_with("wasi:")
}

fn is_known(name: &str) -> bool {
    if OURS.contains(&name) {
        return true;
    }
    let Some((interface, version)) = name.split_once('@') else { return false };
    let (major_minor, patch) = version.split_at_checked(4).unwrap_or((version, ""));
    let is_patch = (1..=4).contains(&patch.len()) && patch.bytes().all(|b| b.is_ascii_digit());
    WASI.contains(&interface) && major_minor == "0.2." && is_patch
}

/// The names that the outermost component imports, names for types it spells out itself apart.
fn imports(bytes: &[u8]) -> Result<Vec<String>, RuntimeError> {
    let malformed = |error: wasmparser::BinaryReaderError| RuntimeError::NotAComponent(error.to_string());
    let mut names = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(malformed)?;
                    if !is_alias(import.ty) {
                        names.push(import.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Whether an import only names a type whose definition the component contains. Nothing can be reached through it,
/// and the types of the contract's world come so. (A resource type, in contrast, would be the host's.)
fn is_alias(import: ComponentTypeRef) -> bool {
    matches!(import, ComponentTypeRef::Type(TypeBounds::Eq(_)))
}

fn what_it_is(bytes: &[u8]) -> &'static str {
    if Parser::is_core_wasm(bytes) {
        "it's a core module; `keybearer tool build` makes a component of it"
    } else {
        "it doesn't start as one"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    fn importing(name: &str) -> Vec<u8> {
        component(&format!(r#"(component (import "{name}" (instance)))"#))
    }

    #[test]
    fn known_imports_are_admitted() {
        for name in [
            "keybearer:tool/log@0.1.0",
            "keybearer:tool/credentialed-http@0.1.0",
            "wasi:cli/environment@0.2.0",
            "wasi:sockets/udp-create-socket@0.2.12",
        ] {
            assert_eq!(admit(&importing(name)).unwrap(), [name]);
        }
        assert!(admit(&component("(component)")).unwrap().is_empty());
    }

    #[test]
    fn unknown_imports_are_named() {
        for name in [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:http/types@0.2.0",
            "wasi:cli/environment",
            "wasi:cli/environment@0.3.0",
            "wasi:cli/environment@0.2.0-rc1",
            "wasi:cli/run@0.2.0",
            "wasi:keyvalue/store@0.2.0",
            "keybearer:tool/vault@0.1.0",
            "keybearer:tool/log@0.2.0",
            "keybearer:tool/log",
            "env",
        ] {
            match admit(&importing(name)) {
                Err(RuntimeError::UnknownImport { name: named }) => assert_eq!(named, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn one_unknown_import_among_known_ones_is_found() {
        let bytes = component(
            r#"(component
                (import "keybearer:tool/log@0.1.0" (instance))
                (component (import "inner" (func)))
                (core module (import "env" "f" (func)))
                (import "wasi:http/types@0.2.0" (instance)))"#,
        );
        let error = admit(&bytes).unwrap_err();
        assert!(
            matches!(&error, RuntimeError::UnknownImport { name } if name == "wasi:http/types@0.2.0"),
            "{error}"
        );
    }

    #[test]
    fn a_name_for_a_type_is_no_import_and_a_resource_is_one() {
        let named = component(r#"(component (type $t (record (field "a" u8))) (import "t" (type (eq $t))))"#);
        assert!(admit(&named).unwrap().is_empty());
        let resource = component(r#"(component (import "r" (type (sub resource))))"#);
        assert!(matches!(admit(&resource), Err(RuntimeError::UnknownImport { name }) if name == "r"));
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(matches!(admit(b""), Err(RuntimeError::NotAComponent(_))));
        assert!(matches!(admit(b"#!/bin/sh\n"), Err(RuntimeError::NotAComponent(_))));
        let module = component("(module)");
        let error = admit(&module).unwrap_err().to_string();
        assert!(error.contains("core module"), "{error}");
        let whole = importing("wasi:cli/exit@0.2.0");
        // A cut between two sections leaves a component, with fewer of them.
        for length in (0..8).chain(9..whole.len() - 1) {
            let cut = admit(&whole[..length]);
            assert!(
                cut.as_ref().is_err() || cut.as_ref().is_ok_and(Vec::is_empty),
                "cut at {length}: {cut:?}"
            );
        }
        assert!(matches!(admit(&vec![0; COMPONENT_BYTES_MAX + 1]), Err(RuntimeError::TooLarge { .. })));
    }
}
