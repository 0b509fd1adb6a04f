//! Names for addresses in the sentry, from its own debug information or symbol table.

use std::fmt::Write as _;

use object::{Object, ObjectSymbol};
use sprout_abi::layout::KERNEL_BASE;

use crate::kernel::Kernel;

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
            .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.address() != 0)
            .filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?)))
            .collect();
        functions.sort_unstable();
        Self {
            debug: debug_context(&file),
            functions,
        }
    }

    /// One line for `address`; a return address belongs to the call before it.
    pub fn describe(&self, address: u64) -> String {
        let mut line = format!("{address:#018x}");
        if address < KERNEL_BASE {
            return line;
        }
        let location = self
            .debug
            .as_ref()
            .and_then(|debug| debug.find_location(address).ok().flatten())
            .and_then(|location| Some((location.file?.to_owned(), location.line.unwrap_or(0))));
        let index = self
            .functions
            .partition_point(|(start, _)| *start <= address);
        if let Some((start, name)) = index.checked_sub(1).and_then(|i| self.functions.get(i)) {
            let name = rustc_demangle::demangle(name);
            let _ = write!(line, " {name:#}+{:#x}", address - start);
        }
        if let Some((file, number)) = location {
            let _ = write!(line, " ({file}:{number})");
        }
        line
    }

    /// A numbered backtrace from the address executing and the return addresses above it.
    pub fn backtrace(&self, addresses: &[u64]) -> String {
        let mut text = String::new();
        for (depth, address) in addresses.iter().enumerate() {
            let _ = writeln!(text, "  {depth:>2}: {}", self.describe(*address));
        }
        text
    }
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
        assert!(line.contains("+0x0"), "{line}");
        assert_eq!(symbols.describe(0x1234), "0x0000000000001234");
    }

    #[test]
    fn a_kernel_without_names_gives_bare_addresses() {
        let kernel = Kernel::parse(crate::kernel::tests::elf_with(&[0x90])).unwrap();
        let entry = kernel.entry();
        assert_eq!(
            Symbols::of(&kernel).describe(entry),
            format!("{entry:#018x}")
        );
    }
}
