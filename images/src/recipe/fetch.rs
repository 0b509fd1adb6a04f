//! Gets packages by the ordinary clients: npm, apt-get.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256, Sha512};

use super::accept::Accept;
use super::archive::{self, Modes, Rule};
use super::{DebianPackage, NpmPackage, Version};
use crate::image::Source;
use crate::tree::Tree;
use crate::{Error, Result};

/// Fetches an npm package and takes its files into `tree`.
pub fn npm(package: &NpmPackage, tree: &mut Tree) -> Result<Source> {
    let spec = format!("{}@{}", package.package, package.version);
    let failed = |reason: String| Error::Fetch {
        package: spec.clone(),
        reason,
    };
    let directory =
        tempfile::tempdir().map_err(Error::io("create", Path::new("temporary files")))?;
    let output = run(
        Command::new("npm")
            .args([
                "pack",
                "--loglevel=error",
                "--ignore-scripts",
                "--fetch-retries=1",
                &spec,
            ])
            .current_dir(directory.path()),
        "npm",
        "install Node.js with npm; it is needed to fetch the runtime, not to run it",
    )
    .map_err(failed)?;
    if !output.status.success() {
        return Err(failed(format!(
            "npm failed: {}. Is the network reachable? `npm pack {spec}` shows more",
            complaint(&output)
        )));
    }
    let file = only_file(directory.path(), ".tgz").map_err(failed)?;
    let bytes = fs::read(&file).map_err(Error::io("read", &file))?;
    let integrity = format!("sha512-{}", BASE64.encode(Sha512::digest(&bytes)));
    if integrity != package.integrity {
        return Err(failed(format!(
            "its digest is {integrity}, the recipe says {}: what npm delivered is not the \
             published package; check npm's registry setting and cache",
            package.integrity
        )));
    }
    let rules: Vec<Rule> = package
        .files
        .iter()
        .map(|(from, to)| Rule {
            pattern: format!("package/{from}"),
            target: Some(to.clone()),
        })
        .collect();
    archive::take(GzDecoder::new(&bytes[..]), &rules, Modes::Executable, tree).map_err(failed)?;
    Ok(Source {
        kind: "npm".into(),
        name: package.package.clone(),
        version: package.version.clone(),
        integrity,
        instead_of: None,
    })
}

/// Fetches a Debian package and takes its files into `tree`: the recipe's version, else the first
/// of the others that are accepted and that the configured archive has. Each must have the digest
/// it is known by; the result says if it is not the recipe's own.
pub fn debian(package: &DebianPackage, accept: &Accept, tree: &mut Tree) -> Result<Source> {
    let name = &package.package;
    let failed = |reason: String| Error::Fetch {
        package: format!("Debian's {name}"),
        reason,
    };
    let directory =
        tempfile::tempdir().map_err(Error::io("create", Path::new("temporary files")))?;
    let versions = accept.versions(package);
    let mut known = None;
    for version in &versions {
        let spec = format!("{name}={}", version.version);
        let output = apt_download(directory.path(), &spec).map_err(failed)?;
        if output.status.success() {
            known = Some(version);
            break;
        }
    }
    if known.is_none() {
        let output = apt_download(directory.path(), name).map_err(failed)?;
        if !output.status.success() {
            return Err(failed(format!(
                "apt-get failed: {}. Is the network reachable? `apt-get update` renews the \
                 package lists",
                complaint(&output)
            )));
        }
    }
    let file = only_file(directory.path(), ".deb").map_err(failed)?;
    let version = deb_version(&file).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut reader = fs::File::open(&file).map_err(Error::io("open", &file))?;
    io::copy(&mut reader, &mut hasher).map_err(Error::io("read", &file))?;
    let digest: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    check(package, accept, &versions, known, &version, &digest).map_err(failed)?;
    take_deb(&file, package, tree).map_err(failed)?;
    let is_pinned = version == package.version;
    Ok(Source {
        kind: "debian".into(),
        name: name.clone(),
        version,
        integrity: format!("sha256-{digest}"),
        instead_of: (!is_pinned).then(|| package.version.clone()),
    })
}

/// Whether what the archive delivered may be taken: `known` is the version that was asked for, if
/// the archive had any of the `versions` that are accepted.
fn check(
    package: &DebianPackage,
    accept: &Accept,
    versions: &[Version],
    known: Option<&Version>,
    version: &str,
    digest: &str,
) -> Result<(), String> {
    let name = &package.package;
    match known {
        Some(known) if known.version != version => Err(format!(
            "the archive delivered version {version} for {}: it is not Debian's",
            known.version
        )),
        Some(known) if known.sha256 != digest => Err(format!(
            "the SHA-256 of version {version} is {digest}, it should be {}: the configured archive \
             is not Debian's, or not for this architecture",
            known.sha256
        )),
        Some(_) => Ok(()),
        None if accept.archive_versions => Ok(()),
        None => {
            let names: Vec<&str> = versions.iter().map(|v| v.version.as_str()).collect();
            Err(format!(
                "the configured archive has version {version}, the recipe knows only {}. To take \
                 what the archive has, add --accept {name}={version}:{digest} (this very file), \
                 or --accept-archive-versions (whatever the archive has signed, for all packages)",
                names.join(", ")
            ))
        }
    }
}

fn apt_download(directory: &Path, spec: &str) -> Result<Output, String> {
    run(
        // apt's own sandbox user could not write to our directory; the digest is checked anyway.
        Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root"])
            // Only what a signed index vouches for.
            .args(["-o", "APT::Get::AllowUnauthenticated=false"])
            .args(["-o", "Acquire::AllowInsecureRepositories=false"])
            .args(["download", spec])
            .env("LC_ALL", "C")
            .current_dir(directory),
        "apt-get",
        "it is needed for the C library; on a system without it, build the image on a Debian or \
         Ubuntu machine and copy the `images` folder of the store",
    )
}

fn deb_version(file: &Path) -> Result<String, String> {
    let output = run(
        Command::new("dpkg-deb")
            .arg("--field")
            .arg(file)
            .arg("Version"),
        "dpkg-deb",
        "install Debian's dpkg",
    )?;
    if !output.status.success() {
        return Err(format!("dpkg-deb failed: {}", complaint(&output)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn take_deb(file: &Path, package: &DebianPackage, tree: &mut Tree) -> Result<(), String> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run dpkg-deb: {error}"))?;
    let mut stdout = child.stdout.take().ok_or("dpkg-deb has no output")?;
    let rules: Vec<Rule> = package
        .files
        .iter()
        .map(|path| Rule {
            pattern: path.trim_start_matches('/').into(),
            target: None,
        })
        .collect();
    let taken = archive::take(&mut stdout, &rules, Modes::Kept, tree);
    // Read what padding is left: dpkg-deb would take a closed pipe for an error.
    let drained = io::copy(&mut stdout, &mut io::sink());
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for dpkg-deb: {error}"))?;
    taken?;
    drained.map_err(|error| format!("cannot read from dpkg-deb: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("dpkg-deb failed ({status})"))
    }
}

/// Runs a command to its end. `remedy` says what to do if it is not installed.
fn run(command: &mut Command, name: &str, remedy: &str) -> Result<Output, String> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("`{name}` is not installed: {remedy}"),
            _ => format!("cannot run {name}: {error}"),
        })
}

/// The first lines of a failed command's error output that are not mere warnings.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let useful = |line: &&str| {
        let line = line.to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("npm warn") && !line.starts_with("w:")
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(useful).take(3).collect();
    if lines.is_empty() {
        format!("it gave no reason ({})", output.status)
    } else {
        lines.join("; ")
    }
}

/// The one file with the given ending that a client left in `directory`.
fn only_file(directory: &Path, ending: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    let mut files = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.to_string_lossy().ends_with(ending));
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        _ => Err(format!("the client did not deliver one {ending} file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_client_comes_with_a_remedy() {
        let error = run(
            &mut Command::new("no-such-client"),
            "no-such-client",
            "install it",
        );
        assert_eq!(
            error.unwrap_err(),
            "`no-such-client` is not installed: install it"
        );
    }

    #[test]
    fn a_package_is_what_it_is_known_by_or_refused_with_the_way_out() {
        let known = Version {
            version: "2".into(),
            sha256: "aa".into(),
        };
        let package = DebianPackage {
            package: "libx".into(),
            version: "2".into(),
            sha256: "aa".into(),
            accepted: vec![],
            files: vec![],
        };
        let strict = Accept::default();
        let versions = strict.versions(&package);
        let asked = |known, version: &str, digest: &str| {
            check(&package, &strict, &versions, known, version, digest)
        };
        assert!(asked(Some(&known), "2", "aa").is_ok());
        assert!(asked(Some(&known), "2", "ab").is_err());
        assert!(asked(Some(&known), "3", "aa").is_err());
        let error = asked(None, "3", "bb").unwrap_err();
        assert!(error.contains("--accept libx=3:bb"), "{error}");
        let lenient = Accept {
            archive_versions: true,
            ..Accept::default()
        };
        assert!(check(&package, &lenient, &versions, None, "3", "bb").is_ok());
        // Leniency is about versions, not about what a known one is.
        assert!(check(&package, &lenient, &versions, Some(&known), "2", "bb").is_err());
    }

    #[test]
    fn a_complaint_leaves_warnings_out() {
        let output = Command::new("sh")
            .args([
                "-c",
                "echo 'npm warn x' >&2; echo 'npm error code E404' >&2; exit 1",
            ])
            .output()
            .unwrap();
        assert_eq!(complaint(&output), "npm error code E404");
    }
}
