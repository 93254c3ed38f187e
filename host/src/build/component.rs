//! A core module into a component.

use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::WorldKey;

use super::BuildError;

/// Wraps a core module that carries its WIT world, as the SDK's do, into a validated component.
///
/// Names and tool versions are left out: they'd make the component larger and its digest depend on the machine.
///
/// # Errors
///
/// [`BuildError::Componentize`] when the bytes aren't a module, its imports and exports aren't those of its world, or
/// it doesn't export what a tool does.
pub fn componentize(core_module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let wrong = |error: &dyn std::fmt::Display| BuildError::Componentize(error.to_string());
    let module = strip(core_module).ok_or_else(|| wrong(&"it isn't a WebAssembly module"))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| wrong(&format!("{error:#}")))?;
    let decoded = wit_component::decode(&component).map_err(|error| wrong(&format!("{error:#}")))?;
    for export in EXPORTS {
        if !exports(&decoded, export) {
            return Err(wrong(&format!("it doesn't export `{export}`")));
        }
    }
    strip(&component).ok_or_else(|| wrong(&"the component is cut short"))
}

/// What every tool's component exports. A module without a world becomes a valid component that exports nothing.
const EXPORTS: [&str; 2] = ["describe", "call"];

fn exports(decoded: &DecodedWasm, name: &str) -> bool {
    let DecodedWasm::Component(resolve, world) = decoded else { return false };
    let world = resolve.worlds.get(*world);
    world.is_some_and(|world| world.exports.contains_key(&WorldKey::Name(name.to_owned())))
}

/// Custom sections that only describe.
const DROPPED: [&[u8]; 4] = [b"component-name", b"name", b"producers", b"target_features"];

/// A copy of a module or component without the sections in [`DROPPED`]; both are a header and then sections of an
/// id, a size and a content. `None` if that's not what the bytes are.
fn strip(wasm: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = wasm.split_at_checked(8)?;
    if !header.starts_with(b"\0asm") {
        return None;
    }
    let mut kept = header.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (size, content) = leb128(after)?;
        let (content, next) = content.split_at_checked(size)?;
        let (section, _) = rest.split_at_checked(rest.len() - next.len())?;
        if id != 0 || !DROPPED.contains(&custom_name(content)?) {
            kept.extend_from_slice(section);
        }
        rest = next;
    }
    Some(kept)
}

fn custom_name(content: &[u8]) -> Option<&[u8]> {
    let (length, rest) = leb128(content)?;
    rest.get(..length)
}

/// An unsigned LEB128 number of at most 32 bits, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u32;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value.try_into().ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{componentize, strip};

    const HEADER: &[u8] = b"\0asm\x01\0\0\0";

    fn module(sections: &[&[u8]]) -> Vec<u8> {
        [&[HEADER], sections].concat().concat()
    }

    #[test]
    fn describing_sections_go_and_others_stay() {
        let (name, kept, memory) = (b"\0\x06\x04name!", b"\0\x05\x04kept", b"\x05\x03\x01\0\x01");
        assert_eq!(strip(&module(&[name, kept, memory])).unwrap(), module(&[kept, memory]));
        assert_eq!(strip(HEADER).unwrap(), HEADER);
    }

    #[test]
    fn bytes_cut_anywhere_are_refused() {
        let whole = module(&[b"\0\x05\x04kept", b"\x05\x03\x01\0\x01"]);
        for cut in (0..whole.len()).filter(|cut| ![8, 15].contains(cut)) {
            assert_eq!(strip(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(strip(&module(&[b"\0\xff\xff\xff\xff\xff\x01"])), None);
    }

    #[test]
    fn modules_that_are_no_tools_are_refused() {
        for bytes in [&b""[..], b"#!/bin/sh", HEADER] {
            let error = componentize(bytes).unwrap_err().to_string();
            assert!(error.starts_with("the module can't become a component: "), "{error}");
        }
    }
}
