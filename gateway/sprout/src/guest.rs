//! Arguments that describe a guest, shared by the commands that boot one.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use sprout_abi::layout::MAX_VCPUS;
use sprout_images::erofs::read::Reader;
use sprout_images::{ImageConfig, Store};
use sprout_vmm::boot::kernel::Kernel;
use sprout_vmm::boot::program;
use sprout_vmm::boot::{BootConfig, ImageMount, Program};

use crate::isolation::Isolation;

/// Bytes of a page: guest memory is a multiple of it.
const MEMORY_STEP: u64 = 4096;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs in the guest, and in what surroundings.
#[derive(Debug, clap::Args)]
pub struct GuestArgs {
    /// Root image: a name in the store (node:24) or an EROFS file; without it PROGRAM is a static
    /// executable of the host
    #[arg(long, value_name = "REF|FILE")]
    image: Option<String>,
    /// Memory of the guest
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_size)]
    memory: u64,
    /// Number of vCPUs: threads run on them in parallel
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_vcpus)]
    vcpus: usize,
    /// Environment variable; KEY alone passes on the value it has here
    #[arg(long, value_name = "KEY[=VALUE]")]
    env: Vec<OsString>,
    /// Working directory in the guest
    #[arg(long, value_name = "PATH")]
    cwd: Option<PathBuf>,
    /// Sentry to boot instead of the built-in one
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    #[command(flatten)]
    isolation: Isolation,
    /// Program, and its arguments; an image may have one of its own
    #[arg(
        value_name = "PROGRAM",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

impl GuestArgs {
    /// The sentry to boot.
    pub fn kernel(&self) -> anyhow::Result<Kernel> {
        Ok(match &self.kernel {
            Some(path) => {
                Kernel::from_file(path).with_context(|| format!("--kernel {}", path.display()))?
            }
            None => Kernel::embedded()?,
        })
    }

    /// Everything the VMM needs to boot the guest.
    pub fn boot_config<'a>(
        &self,
        kernel: &'a Kernel,
        flags: u64,
    ) -> anyhow::Result<BootConfig<'a>> {
        let (images, defaults) = match &self.image {
            Some(reference) => {
                let (path, defaults) = find_image(reference)?;
                let mount = "/".into();
                (vec![ImageMount { path, mount }], defaults)
            }
            None => (Vec::new(), ImageConfig::default()),
        };
        let env = self.environment(&defaults)?;
        let cwd = match &self.cwd {
            Some(path) if path.is_absolute() => path.as_os_str().as_bytes().to_vec(),
            Some(path) => bail!("--cwd {}: expected an absolute path", path.display()),
            None => defaults.cwd.clone().into_bytes(),
        };
        let mut args: Vec<Vec<u8>> = self
            .command
            .iter()
            .map(|argument| argument.as_bytes().to_vec())
            .collect();
        if args.is_empty() {
            args = defaults
                .entrypoint
                .iter()
                .map(|part| part.clone().into_bytes())
                .collect();
        }
        let Some(name) = args.first().cloned() else {
            bail!("no PROGRAM given, and the image names none");
        };
        let (path, file) = match images.first() {
            Some(image) => (find_in_image(&image.path, &name, &env, &cwd)?, None),
            None => {
                let host = PathBuf::from(OsString::from_vec(name));
                let file = program::open(&host)?;
                let base = host.file_name().context("the program has no name")?;
                ([b"/", base.as_bytes()].concat(), Some(file))
            }
        };
        Ok(BootConfig {
            kernel,
            ram_size: self.memory,
            vcpus: self.vcpus,
            images,
            program: Program {
                path,
                file,
                args,
                env,
                cwd,
            },
            flags: flags | self.isolation.flags(),
            strace: "all".into(),
            hostname: "sprout".into(),
        })
    }

    /// The image's variables, then those given; later ones replace earlier ones of the same name.
    fn environment(&self, defaults: &ImageConfig) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut variables: Vec<Vec<u8>> = vec![format!("PATH={DEFAULT_PATH}").into_bytes()];
        let mut set = |variable: Vec<u8>| {
            let name_end = variable
                .iter()
                .position(|byte| *byte == b'=')
                .map_or(0, |at| at + 1);
            let name = variable.get(..name_end).unwrap_or_default().to_vec();
            variables.retain(|known| !known.starts_with(&name));
            variables.push(variable);
        };
        for variable in &defaults.env {
            set(variable.clone().into_bytes());
        }
        for variable in &self.env {
            let bytes = variable.as_bytes();
            match bytes.iter().position(|byte| *byte == b'=') {
                Some(0) => bail!("--env {}: no name before `=`", variable.display()),
                Some(_) => set(bytes.to_vec()),
                None => {
                    let value = std::env::var_os(variable)
                        .with_context(|| format!("--env {}: not set here", variable.display()))?;
                    set([bytes, b"=", value.as_bytes()].concat());
                }
            }
        }
        Ok(variables)
    }
}

/// A size such as `256M`; rounded up to what a guest can have.
pub fn parse_size(text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        other => bail!("unknown unit {other:?}; use K, M or G"),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| {
            number
                .checked_mul(unit)?
                .checked_next_multiple_of(MEMORY_STEP)
        })
        .ok_or_else(|| anyhow!("expected a number and a unit, such as 256M"))
}

/// A number of vCPUs a guest can have.
pub fn parse_vcpus(text: &str) -> anyhow::Result<usize> {
    match text.parse() {
        Ok(count) if (1..=MAX_VCPUS).contains(&count) => Ok(count),
        _ => bail!("expected a number from 1 to {MAX_VCPUS}"),
    }
}

/// The image's file and how its programs are started.
fn find_image(reference: &str) -> anyhow::Result<(PathBuf, ImageConfig)> {
    let file = Path::new(reference);
    if file.extension().is_some_and(|ending| ending == "erofs") {
        let path = file
            .canonicalize()
            .with_context(|| format!("image {reference}"))?;
        return Ok((path, ImageConfig::default()));
    }
    let image = Store::open_default()?.resolve(reference)?;
    Ok((image.path, image.config))
}

/// Absolute path in the image of a program named as on a command line.
fn find_in_image(
    image: &Path,
    name: &[u8],
    env: &[Vec<u8>],
    cwd: &[u8],
) -> anyhow::Result<Vec<u8>> {
    if name.starts_with(b"/") {
        return Ok(name.to_vec());
    }
    if name.contains(&b'/') {
        return Ok([cwd.strip_suffix(b"/").unwrap_or(cwd), b"/", name].concat());
    }
    let search = env
        .iter()
        .find_map(|variable| variable.strip_prefix(b"PATH="))
        .unwrap_or_default();
    let reader = Reader::open(image)?;
    let directories = search
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"));
    for directory in directories {
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        let path = [directory, b"/", name].concat();
        if reader.lookup(&path)?.is_some_and(|found| found.is_file()) {
            return Ok(path);
        }
    }
    None.with_context(|| {
        format!(
            "{}: not found in the image {} (searched {})",
            String::from_utf8_lossy(name),
            image.display(),
            String::from_utf8_lossy(search)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_are_rounded_up() {
        assert_eq!(parse_size("256M").unwrap(), 256 << 20);
        assert_eq!(parse_size("1G").unwrap(), 1 << 30);
        assert_eq!(parse_size("33MiB").unwrap(), 33 << 20);
        assert_eq!(parse_size("1").unwrap(), 4096);
        for bad in ["", "M", "12X", "-5M", "99999999999999G", "1.5G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn given_variables_replace_the_images() {
        let args = GuestArgs {
            image: None,
            memory: 0,
            vcpus: 1,
            env: vec!["A=2".into(), "B=".into()],
            cwd: None,
            kernel: None,
            isolation: Isolation::shared(),
            command: vec![],
        };
        let defaults = ImageConfig {
            env: vec!["A=1".into(), "AB=1".into()],
            ..ImageConfig::default()
        };
        let variables = args.environment(&defaults).unwrap();
        let texts: Vec<_> = variables
            .iter()
            .map(|v| String::from_utf8_lossy(v))
            .collect();
        assert_eq!(texts[1..], ["AB=1", "A=2", "B="]);
    }
}
