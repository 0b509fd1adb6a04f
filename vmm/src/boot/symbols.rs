//! Names for addresses in the sentry, from its own debug information or symbol table.

use std::fmt::Write as _;

use object::{Object, ObjectSymbol};
use sprout_abi::layout::KERNEL_BASE;

use crate::boot::kernel::Kernel;

/// Turns addresses into `function (file:line)`.
pub struct Symbols<'a> {
    debug: Option<
        addr2line::Context<addr2line::gimli::EndianSlice<'a, addr2line::gimli::LittleEndian>>,
    >,
    /// `(address, mangled name)` of functions, ascending.
    functions: Vec<(u64, &'a str)>,
}

impl<'a> Symbols<'a> {
    /// Reads what names the sentry carries; none is fine.
    pub fn of(kernel: &'a Kernel) -> Self {
        let Ok(file) = object::File::parse(kernel.bytes()) else {
            return Self {
                debug: None,
                functions: Vec::new(),
            };
        };
        let mut functions: Vec<_> = file
            .symbols()
            .filter(|symbol| is_code(symbol.kind()) && symbol.address() != 0)
            .filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?)))
            .collect();
        functions.sort_unstable();
        Self {
            debug: debug_context(&file),
            functions,
        }
    }

    /// The functions at `address`, one a line: the innermost inlined one first. An address
    /// without a name is shown bare.
    pub fn describe(&self, address: u64) -> String {
        let mut text = format!("{address:#018x}");
        if address < KERNEL_BASE {
            return text;
        }
        let index = self
            .functions
            .partition_point(|(start, _)| *start <= address);
        let symbol = index.checked_sub(1).and_then(|at| self.functions.get(at));
        let inlined = self.inlined(address, symbol.map(|(_, name)| *name));
        for (depth, line) in inlined.iter().enumerate() {
            let lead = if depth == 0 {
                " "
            } else {
                "\n      inlined into "
            };
            let _ = write!(text, "{lead}{line}");
        }
        if let (true, Some((start, name))) = (inlined.is_empty(), symbol) {
            let name = rustc_demangle::demangle(name);
            let _ = write!(text, " {name:#}+{:#x}", address - start);
        }
        text
    }

    /// Functions and lines from the debug information; the outermost function, which has a
    /// symbol, by that symbol's full name.
    fn inlined(&self, address: u64, symbol: Option<&str>) -> Vec<String> {
        let frames = self
            .debug
            .as_ref()
            .and_then(|debug| debug.find_frames(address).skip_all_loads().ok());
        let Some(mut frames) = frames else {
            return Vec::new();
        };
        let mut named = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let Some(function) = frame.function else {
                break;
            };
            let name = function.raw_name().unwrap_or_default().into_owned();
            let place = frame
                .location
                .and_then(|location| Some((location.file?, location.line.unwrap_or(0))));
            named.push((name, place));
        }
        if let (Some((name, _)), Some(symbol)) = (named.last_mut(), symbol) {
            symbol.clone_into(name);
        }
        let line = |(name, place): (String, Option<(&str, u32)>)| {
            let place = place.map_or_else(String::new, |(file, line)| format!(" ({file}:{line})"));
            format!("{:#}{place}", rustc_demangle::demangle(&name))
        };
        named.into_iter().map(line).collect()
    }

    /// A numbered backtrace, innermost first.
    pub fn backtrace(&self, addresses: &[u64]) -> String {
        let mut text = String::new();
        for (depth, address) in addresses.iter().enumerate() {
            let _ = writeln!(text, "  {depth:>2}: {}", self.describe(*address));
        }
        text
    }
}

/// Functions, and the labels of assembly, which have no type.
fn is_code(kind: object::SymbolKind) -> bool {
    use object::SymbolKind::{Label, Text, Unknown};
    matches!(kind, Text | Label | Unknown)
}

fn debug_context<'a>(
    file: &object::File<'a>,
) -> Option<addr2line::Context<addr2line::gimli::EndianSlice<'a, addr2line::gimli::LittleEndian>>> {
    use object::ObjectSection;
    let load = |id: addr2line::gimli::SectionId| {
        let data = file
            .section_by_name(id.name())
            .and_then(|section| section.data().ok())
            .unwrap_or_default();
        Ok::<_, addr2line::gimli::Error>(addr2line::gimli::EndianSlice::new(
            data,
            addr2line::gimli::LittleEndian,
        ))
    };
    let dwarf = addr2line::gimli::Dwarf::load(load).ok()?;
    addr2line::Context::from_dwarf(dwarf).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_point_of_the_sentry_has_a_name() {
        let kernel = Kernel::embedded().unwrap();
        let symbols = Symbols::of(&kernel);
        let line = symbols.describe(kernel.entry());
        assert!(line.contains("start"), "{line}");
        assert_eq!(symbols.describe(0x1234), "0x0000000000001234");
    }

    #[test]
    fn a_kernel_without_names_gives_bare_addresses() {
        let kernel = Kernel::parse(crate::boot::kernel::tests::elf_with(&[0x90])).unwrap();
        let entry = kernel.entry();
        assert_eq!(
            Symbols::of(&kernel).describe(entry),
            format!("{entry:#018x}")
        );
    }
}
