//! The task tree: the one way to spawn, where each task says what its failure and the agent's end mean for it.
//!
//! Owns the handles of all tasks and ends them in order. Does not know what a task does; CPU-heavy work does not belong
//! here but on threads of its own.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::logging::chain;
use super::shutdown::Shutdown;

/// What a task's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Log it; the agent goes on without the task.
    Log,
    /// The agent cannot do its work any more: end it, with status 1.
    Stop,
}

/// What the agent's end means for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnShutdown {
    /// The task watches the token itself and ends when its work is safe: wait for it, within the grace.
    Drain,
    /// The task holds nothing worth waiting for.
    Abort,
}

/// What kind of task it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// On failure.
    pub on_error: OnError,
    /// At the end.
    pub on_shutdown: OnShutdown,
}

impl Kind {
    /// The agent's own work: its failure ends the agent, and it is waited for.
    pub const WORK: Self = Self { on_error: OnError::Stop, on_shutdown: OnShutdown::Drain };
    /// Serves and watches: its failure is logged, and it is not waited for.
    pub const SERVICE: Self = Self { on_error: OnError::Log, on_shutdown: OnShutdown::Abort };
}

/// What a task ends with.
pub type TaskResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

struct Task {
    name: String,
    kind: Kind,
    handle: JoinHandle<()>,
}

/// The tasks of the agent. Clones are the same tree.
#[derive(Clone)]
pub struct Tasks {
    shutdown: Shutdown,
    tasks: Arc<Mutex<Vec<Task>>>,
    failed: Arc<Mutex<Option<String>>>,
}

/// How the tree ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The task whose failure ended the agent, if one did.
    pub failed: Option<String>,
    /// Tasks that did not drain in time.
    pub cut_off: Vec<String>,
}

impl Tasks {
    /// An empty tree that ends with `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tasks: Arc::default(), failed: Arc::default() }
    }

    /// Spawns a task on the current runtime.
    pub fn spawn<F>(&self, kind: Kind, name: impl Into<String>, future: F)
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let name = name.into();
        let ending = Ending { tree: self.clone(), name: name.clone(), kind, told: false };
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        let handle = tokio::spawn(async move {
            let mut ending = ending;
            let result = future.await;
            ending.told = true;
            if let Err(error) = result {
                ending.tree.failed(&ending.name, kind, &*error);
            }
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.handle.is_finished());
        tasks.push(Task { name, kind, handle });
    }

    /// The token the tree ends with.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Waits for the end to be asked for, then at most `grace` for the tasks that drain.
    pub async fn run_to_end(self, grace: Duration) -> Ended {
        self.shutdown.wait().await;
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let (drain, abort): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|task| task.kind.on_shutdown == OnShutdown::Drain);
        let deadline = Instant::now() + grace;
        let mut cut_off = Vec::new();
        for mut task in drain {
            if tokio::time::timeout_at(deadline, &mut task.handle).await.is_err() {
                task.handle.abort();
                cut_off.push(task.name);
            }
        }
        // Last, so that /readyz and /metrics answer while the work drains.
        abort.iter().for_each(|task| task.handle.abort());
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ended { failed, cut_off }
    }

    fn failed(&self, name: &str, kind: Kind, error: &(dyn std::error::Error + 'static)) {
        let chain = chain(error);
        match kind.on_error {
            OnError::Log => tracing::error!(task = name, error = chain, "task failed; going on without it"),
            OnError::Stop => {
                tracing::error!(task = name, error = chain, "task failed; the agent ends");
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| format!("{name}: {chain}"));
                self.shutdown.request();
            }
        }
    }
}

/// Tells of a task that panicked: it is dropped without having told.
struct Ending {
    tree: Tasks,
    name: String,
    kind: Kind,
    told: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // An aborted task is dropped too, and so is every task when the agent could not start.
        if !self.told && std::thread::panicking() {
            let panicked = std::io::Error::other("the task panicked");
            self.tree.failed(&self.name, self.kind, &panicked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGGED: Kind = Kind { on_error: OnError::Log, on_shutdown: OnShutdown::Drain };
    const GRACE: Duration = Duration::from_millis(500);

    fn tree() -> Tasks {
        Tasks::new(Shutdown::new())
    }

    #[test]
    fn a_runtime_that_ends_early_is_no_panic_of_its_tasks() {
        let tasks = tree();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { tasks.spawn(Kind::WORK, "work", std::future::pending()) });
        drop(runtime);
        assert!(!tasks.shutdown().is_requested() && tasks.failed.lock().unwrap().is_none());
    }

    #[tokio::test]
    async fn draining_tasks_are_waited_for_and_others_are_not() {
        let tasks = tree();
        let drained = Arc::new(Mutex::new(false));
        let (shutdown, done) = (tasks.shutdown().clone(), Arc::clone(&drained));
        tasks.spawn(Kind::WORK, "work", async move {
            shutdown.wait().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            *done.lock().unwrap() = true;
            Ok(())
        });
        tasks.spawn(Kind::SERVICE, "service", std::future::pending());
        tasks.shutdown().request();
        assert_eq!(tasks.run_to_end(GRACE).await, Ended { failed: None, cut_off: vec![] });
        assert!(*drained.lock().unwrap());
    }

    #[tokio::test]
    async fn a_task_that_does_not_drain_in_time_is_cut_off_and_named() {
        let tasks = tree();
        tasks.spawn(Kind::WORK, "stuck", std::future::pending());
        tasks.shutdown().request();
        let ended = tasks.run_to_end(GRACE).await;
        assert_eq!(ended, Ended { failed: None, cut_off: vec!["stuck".into()] });
    }

    #[tokio::test]
    async fn a_failure_ends_the_agent_only_if_its_kind_says_so() {
        let tasks = tree();
        tasks.spawn(LOGGED, "side", async { Err("broken".into()) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!tasks.shutdown().is_requested());
        tasks.spawn(Kind::WORK, "work", async { Err("no disk".into()) });
        let ended = tasks.run_to_end(GRACE).await;
        assert_eq!(ended.failed.as_deref(), Some("work: no disk"));
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let tasks = tree();
        tasks.spawn(Kind::WORK, "work", async { panic!("on purpose") });
        let ended = tasks.run_to_end(GRACE).await;
        assert_eq!(ended.failed.as_deref(), Some("work: the task panicked"));
    }
}
