//! What a program for Linux says of itself: its processor, its loader, and the libraries it asks for.
//!
//! Read from the file and never asked of the file: nothing here runs it. Only 64-bit little-endian ELF is known, which is
//! what Docker's engines run on. A file that is cut short or lies about its sizes is no ELF, and is never read past its end;
//! of a program of any size, some kilobytes are read.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

// Names and offsets as elf(5) has them.
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;

/// Real programs have a dozen program headers and some dozen dynamic entries.
const TABLE_BYTES_MAX: u64 = 64 * 1024;
/// A loader's path or a library's name.
const NAME_BYTES_MAX: u64 = 255;

/// No program that could be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no ELF program for 64-bit Linux")]
pub(super) struct NotElf;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elf {
    /// In `uname -m`'s word.
    pub(super) architecture: &'static str,
    /// Who loads it; `None` when it needs nobody.
    pub(super) interpreter: Option<String>,
    /// The libraries that it asks for, by name, in its order.
    pub(super) needed: Vec<String>,
}

impl Elf {
    pub(super) fn of_file(file: &File) -> Result<Self, NotElf> {
        Self::read(&|at, bytes| {
            let mut buffer = vec![0; usize::try_from(bytes).ok()?];
            file.read_exact_at(&mut buffer, at).ok()?;
            Some(buffer)
        })
    }

    pub(super) fn of_bytes(program: &[u8]) -> Result<Self, NotElf> {
        Self::read(&|at, bytes| {
            let start = usize::try_from(at).ok()?;
            let end = start.checked_add(usize::try_from(bytes).ok()?)?;
            program.get(start..end).map(<[u8]>::to_vec)
        })
    }

    fn read(source: Source<'_>) -> Result<Self, NotElf> {
        let header = source(0, HEADER_BYTES as u64).ok_or(NotElf)?;
        if !header.starts_with(b"\x7fELF\x02\x01") {
            return Err(NotElf);
        }
        let architecture = match number(&header, 18, 2) {
            Some(62) => "x86_64",
            Some(183) => "aarch64",
            Some(243) => "riscv64",
            _ => return Err(NotElf),
        };
        let segments = segments(source, &header).ok_or(NotElf)?;
        let find = |kind| segments.iter().find(move |segment| segment.kind == kind);
        let interpreter = match find(PT_INTERP) {
            Some(at) => Some(text(source, at.offset, at.bytes).ok_or(NotElf)?),
            None => None,
        };
        let needed = match find(PT_DYNAMIC) {
            Some(at) => needed(source, at, &segments).ok_or(NotElf)?,
            None => Vec::new(),
        };
        Ok(Self { architecture, interpreter, needed })
    }
}

/// Bytes at a place; `None` where there are not so many.
type Source<'a> = &'a dyn Fn(u64, u64) -> Option<Vec<u8>>;

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    bytes: u64,
}

fn segments(source: Source<'_>, header: &[u8]) -> Option<Vec<Segment>> {
    let (start, size, count) =
        (number(header, 32, 8)?, number(header, 54, 2)?, number(header, 56, 2)?);
    let bytes = size.checked_mul(count).filter(|bytes| *bytes <= TABLE_BYTES_MAX)?;
    if count > 0 && size < PROGRAM_HEADER_BYTES {
        return None;
    }
    let table = source(start, bytes)?;
    let entries = table.chunks_exact(usize::try_from(size.max(1)).ok()?);
    entries
        .map(|entry| {
            Some(Segment {
                kind: number(entry, 0, 4)?,
                offset: number(entry, 8, 8)?,
                address: number(entry, 16, 8)?,
                bytes: number(entry, 32, 8)?,
            })
        })
        .collect()
}

fn needed(source: Source<'_>, dynamic: &Segment, segments: &[Segment]) -> Option<Vec<String>> {
    let table = source(dynamic.offset, Some(dynamic.bytes).filter(|n| *n <= TABLE_BYTES_MAX)?)?;
    let entries: Vec<(u64, u64)> = table
        .chunks_exact(16)
        .map_while(|entry| Some((number(entry, 0, 8)?, number(entry, 8, 8)?)))
        .take_while(|(tag, _)| *tag != DT_NULL)
        .collect();
    let names: Vec<u64> =
        entries.iter().filter(|(tag, _)| *tag == DT_NEEDED).map(|(_, value)| *value).collect();
    if names.is_empty() {
        return Some(Vec::new());
    }
    // The table of strings is named by its address in memory; the segment that it is loaded with says where it is in the file.
    let address = entries.iter().find(|(tag, _)| *tag == DT_STRTAB)?.1;
    let strings = segments.iter().find_map(|segment| {
        let inside = address.checked_sub(segment.address).filter(|n| *n < segment.bytes)?;
        (segment.kind == PT_LOAD).then(|| segment.offset.checked_add(inside))?
    })?;
    names.into_iter().map(|name| text(source, strings.checked_add(name)?, NAME_BYTES_MAX)).collect()
}

/// Text that ends with a NUL, or after `bytes_max` bytes.
fn text(source: Source<'_>, at: u64, bytes_max: u64) -> Option<String> {
    let mut found = Vec::new();
    // Byte by byte, because the last name may end at the file's end.
    for offset in 0..bytes_max.min(NAME_BYTES_MAX) {
        match source(at.checked_add(offset)?, 1)?.first()? {
            0 => break,
            byte => found.push(*byte),
        }
    }
    String::from_utf8(found).ok()
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An `x86_64` program that is all there is of one: header, three segments, dynamic entries, strings.
    pub(in super::super) fn program(interpreter: &str, needed: &[&str]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut entries = Vec::new();
        for name in needed {
            entries.push((DT_NEEDED, strings.len() as u64));
            strings.extend(name.bytes().chain([0]));
        }
        // After the header and three program headers: the entries, then the loader's path, then the strings.
        let dynamic_at = 64 + 3 * 56;
        let interpreter_at = dynamic_at + 16 * (entries.len() as u64 + 2);
        let strings_at = interpreter_at + interpreter.len() as u64 + 1;
        let base = 0x40_0000;
        entries.extend([(DT_STRTAB, base + strings_at), (DT_NULL, 0)]);
        let all = strings_at + strings.len() as u64;

        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0);
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 3;
        for (kind, offset, address, bytes) in [
            (PT_LOAD, 0, base, all),
            (PT_DYNAMIC, dynamic_at, base + dynamic_at, interpreter_at - dynamic_at),
            // Without a loader, a segment of no kind.
            (
                if interpreter.is_empty() { 0 } else { PT_INTERP },
                interpreter_at,
                base + interpreter_at,
                strings_at - interpreter_at,
            ),
        ] {
            for word in [kind, offset, address, 0, bytes, 0, 0] {
                elf.extend(word.to_le_bytes());
            }
        }
        for (tag, value) in entries {
            elf.extend(tag.to_le_bytes());
            elf.extend(value.to_le_bytes());
        }
        elf.extend(interpreter.bytes().chain([0]));
        elf.extend(strings);
        elf
    }

    #[test]
    fn the_loader_and_the_libraries_are_read_from_the_program_itself() {
        let elf = Elf::of_bytes(&program("/lib64/ld.so.2", &["libc.so.6", "libm.so.6"])).unwrap();
        assert_eq!(elf.architecture, "x86_64");
        assert_eq!(elf.interpreter.as_deref(), Some("/lib64/ld.so.2"));
        assert_eq!(elf.needed, ["libc.so.6", "libm.so.6"]);
    }

    #[test]
    fn a_program_cut_short_is_none_and_never_read_past_its_end() {
        let whole = program("/lib64/ld.so.2", &["libc.so.6"]);
        for length in 0..whole.len() {
            assert_eq!(Elf::of_bytes(&whole[..length]), Err(NotElf), "{length}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_before_memory_is_taken_for_them() {
        let mut elf = program("/lib64/ld.so.2", &["libc.so.6"]);
        elf[54..58].copy_from_slice(&[0xff; 4]);
        assert_eq!(Elf::of_bytes(&elf), Err(NotElf));
        let mut elf = program("/lib64/ld.so.2", &["libc.so.6"]);
        // The dynamic segment's size in the file.
        elf[64 + 56 + 32..64 + 56 + 40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Elf::of_bytes(&elf), Err(NotElf));
    }

    #[test]
    fn a_script_is_no_program_and_this_test_is_one() {
        assert_eq!(Elf::of_bytes(b"#!/bin/sh\n"), Err(NotElf));
        let own = File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(Elf::of_file(&own).unwrap().architecture, std::env::consts::ARCH);
    }
}
