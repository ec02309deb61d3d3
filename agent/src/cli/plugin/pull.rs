//! `whimbrel plugin pull`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use oci_client::Reference;

use super::trusted::{RegistryArgs, Signers, TrustArgs, looked_at};
use super::{KindWord, size};
use crate::cli::Exit;
use crate::cli::agent_api::block_on;
use crate::cli::dead_letters::escaped;
use crate::plugin::place::place;
use crate::plugin::trust::lock::{Lock, Locked};
use crate::registry;

/// Arguments of `whimbrel plugin pull`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin pull registry.example.org/team/hide-names:1.2.0 --key team.pub
  whimbrel plugin pull registry.example.org/team/hide-names:1.3.0 --out /etc/whimbrel/plugins/hide-names.wasm --key team.pub
  whimbrel plugin pull                                   fetch again all that the lock file names, by digest

The lock file keeps the digest behind each reference, with manifest and signatures: commit it. A tag that moved since is
refused unless --update is said. Name the same file in the agent's configuration, under plugins.trust.lock, and it takes no
other plugins. Nothing is written unless everything fits.

Exit status: 0 pulled, 1 refused by the registry or by what it sent, 2 usage.")]
pub(super) struct PullArgs {
    /// What to pull: HOST[:PORT]/NAME:TAG or HOST[:PORT]/NAME@sha256:DIGEST
    reference: Option<String>,
    /// File to write [default: as in the lock file, else NAME.wasm]
    #[arg(long, value_name = "FILE", requires = "reference")]
    out: Option<PathBuf>,
    /// Take it only if it is of this kind
    #[arg(long, value_enum, requires = "reference")]
    kind: Option<KindWord>,
    /// Take it although the tag stands for something else than when it was locked
    #[arg(long, requires = "reference")]
    update: bool,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &PullArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let signers = args.trust.signers()?;
    let lock = Lock::read_or_new(&args.trust.lock)?;
    if let Some(text) = &args.reference {
        let reference = registry::reference(text)?;
        if !registry::names_version(text, &reference) {
            bail!("`{text}` does not say which version; write {text}:TAG or {text}@sha256:DIGEST");
        }
        return one(args, &reference, lock, &signers, out);
    }
    if lock.plugins.is_empty() {
        bail!("{} names no plugins; say what to pull: `whimbrel plugin pull REFERENCE`", args.trust.lock.display());
    }
    for locked in &lock.plugins {
        again(args, locked, &signers, out).with_context(|| locked.reference.clone())?;
    }
    Ok(Exit::Ok)
}

fn one(
    args: &PullArgs,
    reference: &Reference,
    mut lock: Lock,
    signers: &Signers,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let pulled = block_on(async { Ok(args.registry.registry(reference)?.pull(reference).await?) })?;
    let known = lock.of_reference(&reference.to_string());
    if let Some(known) = known.filter(|known| known.digest != pulled.digest && !args.update) {
        bail!(
            "{reference} stands for {} now, and for {} in {}: somebody pushed another content under the same tag; say --update if that is wanted",
            pulled.digest,
            known.digest,
            args.trust.lock.display()
        );
    }
    let file = args.out.clone().or_else(|| known.map(|known| known.file.clone()));
    let (subject, locked) = looked_at(reference, pulled, args.kind.map(Into::into), |subject| {
        file.unwrap_or_else(|| PathBuf::from(format!("{}.wasm", subject.manifest.name)))
    })?;
    let signed = signers.judge(&locked).with_context(|| format!("{reference} is not taken"))?;
    // First the lock file: an agent that watches the file looks there when it changes.
    lock.put(locked.clone());
    lock.write(&args.trust.lock)?;
    write(&locked, &subject.bytes)?;
    told(&locked, subject.bytes.len(), &signed, out)?;
    Ok(Exit::Ok)
}

/// Fetches what the lock file names, by digest: whatever the tag stands for now does not matter.
fn again(args: &PullArgs, locked: &Locked, signers: &Signers, out: &mut dyn Write) -> anyhow::Result<()> {
    locked.check()?;
    let named = registry::reference(&locked.reference)?;
    let (host, repository) = (named.registry().to_owned(), named.repository().to_owned());
    let reference = Reference::with_digest(host, repository, locked.digest.clone());
    let pulled = block_on(async { Ok(args.registry.registry(&reference)?.pull(&reference).await?) })?;
    let (subject, fresh) = looked_at(&reference, pulled, None, |_| locked.file.clone())?;
    // It may have been signed since; what the lock file has is as good.
    let signed = signers.judge(locked).or_else(|_| signers.judge(&fresh)).context("it is not taken")?;
    write(locked, &subject.bytes)?;
    told(locked, subject.bytes.len(), &signed, out)?;
    Ok(())
}

fn write(locked: &Locked, component: &[u8]) -> anyhow::Result<()> {
    place(&locked.file, component).with_context(|| format!("cannot write {}", locked.file.display()))
}

fn told(locked: &Locked, bytes: usize, signed: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let Locked { reference, file, name, version, kind, digest, .. } = locked;
    let (name, version) = (escaped(name), escaped(version));
    writeln!(out, "{}: {kind} {name} {version}, {}", file.display(), size(bytes))?;
    writeln!(out, "  from {}", escaped(reference))?;
    writeln!(out, "  {digest}")?;
    writeln!(out, "  {signed}")
}
