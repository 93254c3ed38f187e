//! What is done to the component's memory once the snapshot is taken: the interpreter's objects are made immortal.
//!
//! Counting references is a write, and each page that an execution writes to has to be copied and put back. An object
//! whose count says that it's immortal isn't counted (PEP 683). Python code can't set that count, so
//! `keybearer_sandbox/image.py` leaves a list of where the objects lie, and here the counts are set where they are: in
//! the data segments that the component's memory begins with. No byte moves, and nothing else changes.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::Range;

use flate2::read::ZlibDecoder;
use memchr::memmem;
use wasmparser::{DataKind, Operator, Parser, Payload};

/// What the list begins with. The image holds these bytes once: where Python keeps them, they're in another order.
const MARK: &[u8] = b"keybearer: objects that live for ever: ";
/// How many digits say how long the list is.
const LENGTH_DIGITS: usize = 8;
/// Objects lie at multiples of this, in bytes: the list has a bit for each such place.
const ALIGNMENT: usize = 8;
/// The longest list, unpacked, in bytes: enough for 256 MiB of memory.
const BITS_BYTES_MAX: u64 = 4 << 20;
/// The count of an immortal object where pointers have 32 bits: `_Py_IMMORTAL_INITIAL_REFCNT` in `Include/refcount.h` of
/// CPython 3.14.
const IMMORTAL: u32 = 5 << 28;
/// Beyond this it's no count. An object that has died and is kept to be used again names the next such one in its
/// place, and keeps its type; the memory that nothing has yet begins with addresses too. None of these is as low.
const COUNT_MAX: u32 = 0xffff;
/// Where an object's type is named, after its count, in bytes.
const TYPE_AT: u32 = 4;
/// How many steps it takes at most from an object over its type, and that one's type, to `type`, whose type it is itself.
const TYPES_MAX: usize = 4;

/// Sets the counts of the objects that the component lists; answers how many.
///
/// # Errors
/// Why the list can't be read, for the operator.
pub(super) fn immortalize(component: &mut [u8]) -> Result<usize, String> {
    let memory = Memory::of(component)?;
    // What has died since it was listed is something else by now, and has no type. All that lives has `type` in the end.
    let listed = places(&memory.list(component)?).into_iter();
    let rooted: Vec<(u32, u32)> =
        listed.filter_map(|object| Some((object, memory.root(component, object)?))).collect();
    let mut roots: BTreeMap<u32, usize> = BTreeMap::new();
    for (_, root) in &rooted {
        *roots.entry(*root).or_default() += 1;
    }
    let root = roots.into_iter().max_by_key(|(_, count)| *count).map(|(root, _)| root);
    let counted = |object| memory.word(component, object).filter(|count| (1..=COUNT_MAX).contains(count));
    let living: Vec<usize> = rooted
        .into_iter()
        .filter(|(object, its)| Some(*its) == root && counted(*object).is_some())
        .filter_map(|(object, _)| memory.place(object))
        .collect();
    for &at in &living {
        if let Some(count) = component.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *count = IMMORTAL.to_le_bytes();
        }
    }
    Ok(living.len())
}

/// What a component's memory begins with, and where in its file that lies.
struct Memory {
    /// By address: where its bytes lie in the file.
    segments: BTreeMap<u32, Range<usize>>,
}

impl Memory {
    fn of(component: &[u8]) -> Result<Self, String> {
        let unreadable = |error: wasmparser::BinaryReaderError| error.to_string();
        let mut segments = BTreeMap::new();
        for payload in Parser::new(0).parse_all(component) {
            let Payload::DataSection(section) = payload.map_err(unreadable)? else { continue };
            for segment in section {
                let segment = segment.map_err(unreadable)?;
                let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else { continue };
                let offset = offset_expr.get_operators_reader().read().map_err(unreadable)?;
                let end = segment.range.end;
                if let Operator::I32Const { value } = offset {
                    segments.insert(value.cast_unsigned(), end - segment.data.len()..end);
                }
            }
        }
        Ok(Self { segments })
    }

    /// Where the four bytes at an address lie in the file. `None`: they're not all in one segment.
    fn place(&self, address: u32) -> Option<usize> {
        let (begins, bytes) = self.segments.range(..=address).next_back()?;
        let at = bytes.start + usize::try_from(address - begins).ok()?;
        (at + size_of::<u32>() <= bytes.end).then_some(at)
    }

    fn word(&self, component: &[u8], address: u32) -> Option<u32> {
        let bytes = component.get(self.place(address)?..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// The type whose type it is itself that an object comes to in the end. `None`: it's no object.
    fn root(&self, component: &[u8], object: u32) -> Option<u32> {
        let mut known = self.word(component, object.checked_add(TYPE_AT)?)?;
        for _ in 0..TYPES_MAX {
            let above = self.word(component, known.checked_add(TYPE_AT)?)?;
            if above == known {
                return Some(known);
            }
            known = above;
        }
        None
    }

    /// The list, unpacked.
    fn list(&self, component: &[u8]) -> Result<Vec<u8>, String> {
        let missing = || "the image doesn't say which of its objects last".to_owned();
        let after = |bytes: &Range<usize>| {
            let bytes = component.get(bytes.clone())?;
            bytes.get(memmem::find(bytes, MARK)? + MARK.len()..)
        };
        let list = self.segments.values().find_map(after).ok_or_else(missing)?;
        let (length, list) = list.split_at_checked(LENGTH_DIGITS).ok_or_else(missing)?;
        let length =
            std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok()).ok_or_else(missing)?;
        let packed = list.get(..length).and_then(|digits| hex::decode(digits).ok()).ok_or_else(missing)?;
        let mut bits = Vec::new();
        ZlibDecoder::new(packed.as_slice())
            .take(BITS_BYTES_MAX)
            .read_to_end(&mut bits)
            .map_err(|error| format!("the image's list of lasting objects can't be unpacked: {error}"))?;
        Ok(bits)
    }
}

/// The addresses whose bits are set.
fn places(bits: &[u8]) -> Vec<u32> {
    let set = |(at, byte): (usize, &u8)| {
        let byte = *byte;
        (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| (at * 8 + bit) * ALIGNMENT)
    };
    bits.iter().enumerate().flat_map(set).filter_map(|address| u32::try_from(address).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// Where the test's memory has what.
    const TYPE: u32 = 64;
    const CLASS: u32 = 128;
    const OBJECT: u32 = 192;
    const DEAD: u32 = 256;
    const FILLED: u32 = 320;
    const STATIC: u32 = 384;
    const UNLISTED: u32 = 448;
    const KEPT: u32 = 456;
    const KEPT_LAST: u32 = 464;

    fn list(addresses: &[u32]) -> Vec<u8> {
        let mut bits = vec![0_u8; 64];
        for address in addresses {
            let place = *address as usize / ALIGNMENT;
            bits[place / 8] |= 1 << (place % 8);
        }
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&bits).unwrap();
        let packed = hex::encode(packed.finish().unwrap());
        [MARK, format!("{:08}{packed}", packed.len()).as_bytes()].concat()
    }

    /// A component around a module whose memory has these objects, each with a count and a type, and a list.
    fn component(objects: &[(u32, u32, u32)], list: &[u8]) -> Vec<u8> {
        let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        let data = |(address, count, of): &(u32, u32, u32)| {
            let written = bytes(&[count.to_le_bytes(), of.to_le_bytes()].concat());
            format!("(data (i32.const {address}) \"{written}\")")
        };
        let data: String = objects.iter().map(data).collect();
        let text = format!(
            "(component (core module (memory 1) {data} (data (i32.const 4096) \"before {}\")))",
            bytes(list)
        );
        wat::parse_str(text).unwrap()
    }

    fn objects() -> Vec<(u32, u32, u32)> {
        vec![
            (TYPE, 7, TYPE),
            (CLASS, 3, TYPE),
            (OBJECT, 1, CLASS),
            // A place that was let go: what lies there names no type.
            (DEAD, 1, 8),
            // Filler, which names itself in the end, as only `type` should.
            (FILLED, FILLED, FILLED),
            (STATIC, 7 << 28, CLASS),
            (UNLISTED, 2, CLASS),
            // Dead, and kept for the next of their type: each names another one where its count was.
            (KEPT, 0x0019_2a40, CLASS),
            (KEPT_LAST, 0, CLASS),
        ]
    }

    fn count(component: &[u8], address: u32) -> u32 {
        Memory::of(component).unwrap().word(component, address).unwrap()
    }

    #[test]
    fn what_is_listed_and_lives_becomes_immortal_and_nothing_else_changes() {
        let listed = [TYPE, CLASS, OBJECT, DEAD, FILLED, STATIC, KEPT, KEPT_LAST, 504];
        let before = component(&objects(), &list(&listed));
        let mut after = before.clone();
        assert_eq!(immortalize(&mut after).unwrap(), 3);
        for (address, was, _) in objects() {
            let made = [TYPE, CLASS, OBJECT].contains(&address);
            assert_eq!(count(&after, address), if made { IMMORTAL } else { was }, "{address}");
        }
        let changed = before.iter().zip(&after).filter(|(one, other)| one != other).count();
        assert!(changed <= 3 * 4, "{changed} bytes");
        assert_eq!(immortalize(&mut after).unwrap(), 0, "once is enough");
    }

    #[test]
    fn an_image_without_a_list_or_with_half_of_one_is_refused() {
        let whole = list(&[OBJECT]);
        let cut = &whole[..whole.len() - 1];
        let mut garbled = whole.clone();
        *garbled.last_mut().unwrap() = b'z';
        let no_length = [MARK, b"x0000001aa".as_slice()].concat();
        let not_packed = [MARK, b"00000002aa".as_slice()].concat();
        for bad in [b"nothing".as_slice(), cut, &garbled, &no_length, &not_packed, MARK] {
            let mut component = component(&objects(), bad);
            let before = component.clone();
            immortalize(&mut component).unwrap_err();
            assert_eq!(component, before);
        }
        immortalize(&mut b"no component".to_vec()).unwrap_err();
    }

    #[test]
    fn what_lies_across_the_end_of_a_segment_is_left_alone() {
        let mut component = component(&[(TYPE, 1, TYPE), (OBJECT, 1, TYPE)], &list(&[OBJECT, OBJECT + 8]));
        assert_eq!(immortalize(&mut component).unwrap(), 1);
    }
}
