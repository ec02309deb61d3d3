//! `whimbrel plugin push`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use oci_client::Reference;

use super::subject;
use super::trusted::RegistryArgs;
use crate::cli::Exit;
use crate::cli::agent_api::block_on;
use crate::plugin::trust::signature::PrivateKey;
use crate::registry;

/// Arguments of `whimbrel plugin push`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin push target/hide-names.wasm registry.example.org/team/hide-names
  whimbrel plugin push target/hide-names.wasm registry.example.org/team/hide-names:1.2.0 --sign-key team.key

The tag is the plugin's version unless said. The login is the one of `docker login` (or podman, oras). The artifact has one
layer of type application/wasm; the same file gives the same digest everywhere. --sign-key takes an ECDSA P-256 key in PEM
and stores the signature as `cosign sign --key` does; `cosign verify --key` reads it.

Exit status: 0 pushed or there already, 1 the registry or the file refuses, 2 usage or a file that cannot be read.")]
pub(super) struct PushArgs {
    /// The component
    file: PathBuf,
    /// Where to: HOST[:PORT]/NAME[:TAG]
    reference: String,
    /// Sign it with this private key
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Replace what the tag holds
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &PushArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let subject = match subject(&args.file, err)? {
        Ok(subject) => subject,
        Err(exit) => return Ok(exit),
    };
    let mut reference = registry::reference(&args.reference)?;
    if let Some(digest) = reference.digest() {
        writeln!(err, "whimbrel: a push makes its own digest; leave `@{digest}` out and name a tag")?;
        return Ok(Exit::Usage);
    }
    if !registry::names_version(&args.reference, &reference) {
        // What is allowed in versions and not in tags: build metadata.
        let tag = subject.manifest.version.replace('+', "-");
        reference = Reference::with_tag(reference.registry().to_owned(), reference.repository().to_owned(), tag);
    }
    // Before anything is pushed: a push without the signature that was asked for would be half of it.
    let key = args.sign_key.as_deref().map(PrivateKey::read).transpose()?;
    let pushed = block_on(async {
        let registry = args.registry.registry(&reference)?;
        let pushed = registry.push(&reference, &subject, args.force).await?;
        if let Some(key) = &key {
            registry.sign(&reference, &pushed.digest, key).await?;
        }
        Ok(pushed)
    })?;
    let (name, version) = (&subject.manifest.name, &subject.manifest.version);
    let word = if pushed.known { "there already" } else { "pushed" };
    writeln!(out, "{word}: {} {name} {version}", subject.kind)?;
    writeln!(out, "  {}@{}", pushed.reference, pushed.digest)?;
    match key {
        Some(_) => writeln!(out, "  signed")?,
        None => writeln!(out, "  not signed by this; --sign-key FILE signs")?,
    }
    Ok(Exit::Ok)
}
