//! What `whimbrel run` does with the migrations of its configuration: applies what is pending before the pipelines start, where
//! that is asked for.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::program::Programs;
use whimbrel_migrate::watch::Watchers;

use super::config::MigrationsConfig;
use super::{assemble, lint};

/// Applies what is pending of one set.
///
/// # Errors
/// When the files cannot be used, the ledger does not allow it, or a migration fails; what was applied before stays applied.
pub async fn apply(
    config: &MigrationsConfig,
    programs: Arc<dyn Programs>,
    watch: Watchers,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let about = || format!("migrations `{}` are to be applied at the start, and were not", config.name);
    let database = assemble::open(config).with_context(about)?;
    let system = database.system();
    let catalog = match assemble::read(config, system) {
        Ok(catalog) => catalog,
        Err(findings) => {
            let all = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            bail!("{}: the files cannot be used:\n{all}", about());
        }
    };
    let runner = assemble::runner(config, database, catalog, programs, watch);
    let pending = runner.pending(None).await.with_context(about)?;
    for finding in lint::look(&config.directory, system, &runner.migrations, &pending, &config.lint_off) {
        if !finding.warning {
            bail!("{}: {finding}", about());
        }
        tracing::warn!(set = config.name, finding = %finding, "a migration deserves a look");
    }
    let report = runner.up(None, cancel).await.with_context(about)?;
    tracing::info!(set = config.name, applied = report.done.join(", "), "migrations are applied");
    Ok(())
}
