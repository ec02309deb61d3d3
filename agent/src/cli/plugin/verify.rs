//! `whimbrel plugin verify`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::trusted::{RegistryArgs, Signers, TrustArgs, looked_at};
use crate::cli::Exit;
use crate::cli::agent_api::block_on;
use crate::cli::dead_letters::escaped;
use crate::plugin::trust::Untrusted;
use crate::plugin::trust::artifact::sha256;
use crate::plugin::trust::lock::{Lock, Locked};
use crate::registry;

/// Arguments of `whimbrel plugin verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin verify --key team.pub                             all that the lock file names, without a network
  whimbrel plugin verify plugins/hide-names.wasm --key team.pub     one file
  whimbrel plugin verify registry.example.org/team/hide-names:1.2.0 --key team.pub

A file is good when its digest is in the lock file and a signature there is by one of the keys. A reference is good when
what the registry has is a plugin this agent can run, is what the lock file says if it says anything, and is signed.

Exit status: 0 all good, 1 something is not, 2 usage.")]
pub(super) struct VerifyArgs {
    /// Files or references; none: all of the lock file
    targets: Vec<String>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &VerifyArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let signers = args.trust.signers()?;
    let mut good = true;
    let mut say = |name: &str, judged: anyhow::Result<String>| {
        let name = escaped(name);
        match judged {
            Ok(what) => writeln!(out, "ok   {name}: {what}"),
            Err(why) => {
                good = false;
                writeln!(out, "BAD  {name}: {}", escaped(&format!("{why:#}")))
            }
        }
    };
    if args.targets.is_empty() {
        for locked in &Lock::read(&args.trust.lock)?.plugins {
            say(&locked.file.display().to_string(), file(&locked.file, locked, &signers))?;
        }
    }
    for target in &args.targets {
        let path = Path::new(target);
        let judged = if path.is_file() { in_lock(args, path, &signers) } else { remote(args, target, &signers) };
        say(target, judged)?;
    }
    Ok(if good { Exit::Ok } else { Exit::Runtime })
}

fn component(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}; pull it again", path.display()))?;
    Ok(sha256(&bytes))
}

/// A file against its entry.
fn file(path: &Path, locked: &Locked, signers: &Signers) -> anyhow::Result<String> {
    locked.check()?;
    let found = component(path)?;
    if found != locked.component {
        bail!("the file has digest {found}, and the lock file says {}; pull it again", locked.component);
    }
    let signed = signers.judge(locked)?;
    Ok(format!("{} {} {}, {signed}", locked.kind, escaped(&locked.name), escaped(&locked.version)))
}

/// A file against whichever entry has its digest.
fn in_lock(args: &VerifyArgs, path: &Path, signers: &Signers) -> anyhow::Result<String> {
    let component = component(path)?;
    let lock = Lock::read(&args.trust.lock)?;
    let entries: Vec<&Locked> = lock.plugins.iter().filter(|locked| locked.component == component).collect();
    let judged = entries.iter().map(|locked| file(path, locked, signers));
    let best = judged.reduce(|best, next| if best.is_ok() { best } else { next });
    let lock = args.trust.lock.display().to_string();
    best.unwrap_or_else(|| Err(Untrusted::Unknown { component, lock }.into()))
}

/// What a registry has.
fn remote(args: &VerifyArgs, target: &str, signers: &Signers) -> anyhow::Result<String> {
    let reference = match registry::reference(target) {
        Ok(reference) => reference,
        Err(_) if target.ends_with(".wasm") => bail!("there is no such file"),
        Err(error) => return Err(error.into()),
    };
    let pulled = block_on(async { Ok(args.registry.registry(&reference)?.pull(&reference).await?) })?;
    let (subject, found) = looked_at(&reference, pulled, None, |_| PathBuf::new())?;
    let lock = Lock::read_or_new(&args.trust.lock)?;
    if let Some(locked) = lock.of_reference(&found.reference).filter(|locked| locked.digest != found.digest) {
        bail!("the registry has {} there now, and the lock file says {}", found.digest, locked.digest);
    }
    let signed = signers.judge(&found)?;
    let manifest = &subject.manifest;
    Ok(format!("{} {} {}, {signed}", subject.kind, escaped(&manifest.name), escaped(&manifest.version)))
}
