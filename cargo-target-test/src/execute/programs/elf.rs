//! Reads the architecture of an ELF file, and the C library that it needs.

use std::{fmt, path::Path};

use object::{Architecture, Object, ObjectSection, ReadCache};

use crate::error::{Error, Result};

/// The needs of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ElfNeeds {
    pub(super) arch: Option<&'static Arch>,
    pub(super) libc: NeededLibc,
    /// The path of its dynamic loader; `None` if the program is linked statically.
    pub(super) loader: Option<String>,
}

/// The C library that a program loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NeededLibc {
    /// The program is linked statically.
    None,
    /// musl.
    Musl,
    /// glibc of this version or later.
    Glibc(u32, u32),
}

impl fmt::Display for NeededLibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no C library"),
            Self::Musl => f.write_str("musl"),
            Self::Glibc(major, minor) => write!(f, "glibc {major}.{minor}"),
        }
    }
}

/// An architecture, by its names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arch {
    elf: Architecture,
    /// The output of `uname -m`.
    pub(super) machine: &'static str,
    pub(super) gnu: &'static str,
    pub(super) musl: &'static str,
}

macro_rules! arches {
    ($($elf:ident $machine:literal $gnu:literal $musl:literal;)*) => {
        &[$(Arch { elf: Architecture::$elf, machine: $machine, gnu: $gnu, musl: $musl }),*]
    };
}

/// The known architectures.
const ARCHES: &[Arch] = arches! {
    X86_64 "x86_64" "x86_64-unknown-linux-gnu" "x86_64-unknown-linux-musl";
    Aarch64 "aarch64" "aarch64-unknown-linux-gnu" "aarch64-unknown-linux-musl";
    I386 "i686" "i686-unknown-linux-gnu" "i686-unknown-linux-musl";
    Arm "armv7l" "armv7-unknown-linux-gnueabihf" "armv7-unknown-linux-musleabihf";
    Riscv64 "riscv64" "riscv64gc-unknown-linux-gnu" "riscv64gc-unknown-linux-musl";
    PowerPc64 "ppc64le" "powerpc64le-unknown-linux-gnu" "powerpc64le-unknown-linux-musl";
    S390x "s390x" "s390x-unknown-linux-gnu" "s390x-unknown-linux-musl";
    LoongArch64 "loongarch64" "loongarch64-unknown-linux-gnu" "loongarch64-unknown-linux-musl";
};

impl Arch {
    /// Returns the architecture with this output of `uname -m`.
    pub(super) fn of_machine(machine: &str) -> Option<&'static Self> {
        let same = match machine {
            "arm64" => "aarch64",
            "i386" | "i486" | "i586" => "i686",
            other if other.starts_with("arm") => "armv7l",
            other => other,
        };
        ARCHES.iter().find(|arch| arch.machine == same)
    }

    /// True if a machine of the other architecture runs programs of this one.
    fn runs_on(&self, other: &Self) -> bool {
        self == other || (self.elf == Architecture::I386 && other.elf == Architecture::X86_64)
    }
}

impl ElfNeeds {
    /// Reads a file; `None` if it is not an ELF file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let cache = ReadCache::new(fs_err::File::open(path)?.into_parts().0);
        match object::FileKind::parse(&cache) {
            Ok(object::FileKind::Elf32 | object::FileKind::Elf64) => {}
            _ => return Ok(None),
        }
        let wrong = |error: object::Error| {
            Error::other(format!("failed to read `{}`", path.display())).with_source(error)
        };
        let file = object::File::parse(&cache).map_err(wrong)?;
        let data = |name: &str| match file.section_by_name(name) {
            Some(section) => section.data().map(Some).map_err(wrong),
            None => Ok(None),
        };
        let elf = file.architecture();
        let loader = data(".interp")?.map(|path| String::from_utf8_lossy(path));
        let loader = loader.map(|path| path.trim_end_matches('\0').to_owned());
        Ok(Some(Self {
            arch: ARCHES.iter().find(|arch| arch.elf == elf),
            libc: needed(loader.as_deref(), data(".dynstr")?.unwrap_or_default()),
            loader,
        }))
    }

    /// True if a machine with this `uname -m` runs the program, as far as known.
    pub(super) fn fits_arch(&self, machine: &str) -> bool {
        match (self.arch, Arch::of_machine(machine)) {
            (Some(own), Some(other)) => own.runs_on(other),
            _ => true,
        }
    }

    /// True if a machine with this C library (fact `libc`: `glibc 2.36`, `musl`) has what the program needs.
    pub(super) fn fits_libc(&self, libc: &str) -> bool {
        match self.libc {
            NeededLibc::None => true,
            NeededLibc::Musl => libc == "musl",
            NeededLibc::Glibc(major, minor) => libc
                .strip_prefix("glibc ")
                .and_then(version)
                .is_some_and(|has| has >= (major, minor)),
        }
    }
}

/// True if the read-only data of an ELF file contains a text; false for another file. Debug information does not count.
pub(in crate::execute) fn has_constant(path: &Path, text: &str) -> Result<bool> {
    let cache = ReadCache::new(fs_err::File::open(path)?.into_parts().0);
    let Ok(file) = object::File::parse(&cache) else {
        return Ok(false);
    };
    let data = file
        .section_by_name(".rodata")
        .map(|section| section.data());
    let data = data
        .transpose()
        .map_err(|error| Error::other(error.to_string()))?;
    Ok(memchr::memmem::find(data.unwrap_or_default(), text.as_bytes()).is_some())
}

/// Returns the C library of a program with this dynamic loader and these names in its dynamic string table.
fn needed(loader: Option<&str>, names: &[u8]) -> NeededLibc {
    let Some(loader) = loader else {
        return NeededLibc::None;
    };
    if loader.contains("ld-musl") {
        return NeededLibc::Musl;
    }
    let names = names.split(|byte| *byte == 0);
    let names = names.filter_map(|name| std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_"));
    let (major, minor) = names.filter_map(version).max().unwrap_or_default();
    NeededLibc::Glibc(major, minor)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needs_of_this_program() {
        let this = std::env::current_exe().expect("the test binary");
        let needs = ElfNeeds::read(&this).expect("a file").expect("an ELF file");
        assert!(needs.fits_arch(std::env::consts::ARCH) && needs.libc != NeededLibc::None);
        let loader = needs.loader.expect("a loader");
        assert!(Path::new(&loader).exists(), "{loader:?}");
        let manifest = Path::new(env!("CARGO_MANIFEST_PATH"));
        assert_eq!(ElfNeeds::read(manifest).expect("a file"), None);
    }

    #[test]
    fn paths_that_are_compiled_in_are_found() {
        let this = std::env::current_exe().expect("the test binary");
        let own = env!("CARGO_MANIFEST_DIR");
        assert!(has_constant(&this, own).expect("an ELF file"));
        let other: String = own.chars().rev().collect();
        assert!(!has_constant(&this, &other).expect("an ELF file"));
        let manifest = Path::new(env!("CARGO_MANIFEST_PATH"));
        assert!(!has_constant(manifest, own).expect("a file"));
    }

    #[test]
    fn a_c_library_of_a_later_version_fits() {
        let gnu = Some("/lib64/ld-linux-x86-64.so.2");
        let names = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.9\0";
        assert_eq!(needed(gnu, names), NeededLibc::Glibc(2, 34));
        assert_eq!(needed(None, names), NeededLibc::None);
        let needs = |libc| ElfNeeds {
            arch: None,
            libc,
            loader: None,
        };
        for (libc, has, fits) in [
            (NeededLibc::Glibc(2, 34), "glibc 2.36", true),
            (NeededLibc::Glibc(2, 34), "glibc 2.34", true),
            (NeededLibc::Glibc(2, 34), "glibc 2.9", false),
            (NeededLibc::Glibc(2, 34), "musl", false),
            (NeededLibc::Glibc(0, 0), "", false),
            (NeededLibc::Musl, "musl", true),
            (NeededLibc::Musl, "glibc 2.36", false),
            (NeededLibc::None, "", true),
        ] {
            assert_eq!(needs(libc.clone()).fits_libc(has), fits, "{libc:?} {has}");
        }
    }

    #[test]
    fn architectures_have_several_names() {
        let of = |machine| ElfNeeds {
            arch: Arch::of_machine(machine),
            libc: NeededLibc::None,
            loader: None,
        };
        assert!(of("x86_64").fits_arch("x86_64") && !of("x86_64").fits_arch("aarch64"));
        assert!(of("aarch64").fits_arch("arm64") && of("armv7l").fits_arch("armv6l"));
        assert!(of("i686").fits_arch("x86_64") && !of("x86_64").fits_arch("i686"));
        assert!(of("x86_64").fits_arch("vax") && of("vax").fits_arch("x86_64"));
    }
}
