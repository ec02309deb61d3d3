//! MySQL's way of migrating, against MariaDB: MARIADB_PORT, MARIADB_USER and MARIADB_PASSWORD say where.

mod apply;
mod fence;

use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use whimbrel_migrate::database::{Attempt, Database, Session};
use whimbrel_migrate::sql::mysql::{Settings, open};

use crate::runner::Stage;
use crate::support::{setting, unique};

/// A database of a test's own.
pub(crate) struct Scene {
    name: String,
    conn: tokio::sync::Mutex<Conn>,
}

async fn connect(database: Option<&str>, user: &str, password: &str) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(setting("MARIADB_PORT").parse().unwrap())
        .user(Some(user))
        .pass(Some(password))
        .prefer_socket(false)
        .db_name(database);
    Conn::new(options).await.unwrap()
}

impl Scene {
    pub(crate) async fn new(stem: &str) -> Self {
        let name = unique(stem);
        let mut conn = connect(None, &setting("MARIADB_USER"), &setting("MARIADB_PASSWORD")).await;
        conn.query_drop(format!("CREATE DATABASE {name}; USE {name}")).await.unwrap();
        Self { name, conn: tokio::sync::Mutex::new(conn) }
    }

    /// With rows 1 to `rows` in `t (id, n)`, `n` being 0.
    pub(crate) async fn with_rows(stem: &str, rows: u32) -> Self {
        let scene = Self::new(stem).await;
        scene.run("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)").await;
        scene.run(&format!("INSERT INTO t (id) SELECT seq FROM seq_1_to_{rows}")).await;
        scene
    }

    pub(crate) async fn run(&self, text: &str) {
        self.conn.lock().await.query_drop(text).await.unwrap();
    }

    pub(crate) async fn number(&self, text: &str) -> i64 {
        self.conn.lock().await.query_first(text).await.unwrap().unwrap()
    }

    pub(crate) async fn connection(&self) -> Conn {
        connect(Some(&self.name), &setting("MARIADB_USER"), &setting("MARIADB_PASSWORD")).await
    }

    fn url(&self, user: &str, password: &str) -> String {
        format!("mariadb://{user}:{password}@127.0.0.1:{}/{}", setting("MARIADB_PORT"), self.name)
    }

    pub(crate) fn database(&self) -> Box<dyn Database> {
        self.database_as(&setting("MARIADB_USER"), &setting("MARIADB_PASSWORD"))
    }

    fn database_as(&self, user: &str, password: &str) -> Box<dyn Database> {
        open(Settings { url: self.url(user, password), ca_file: None, ledger: None }).unwrap()
    }

    pub(crate) fn stage(&self, directory: &Path) -> Stage {
        Stage::new(self.database(), directory)
    }

    async fn session(&self, lease: Duration) -> Box<dyn Session> {
        match self.database().lock("somebody@there (2)", lease).await.unwrap() {
            Attempt::Locked(session) => session,
            Attempt::Held { by, .. } => panic!("{by} has it"),
        }
    }

    /// Leaves nothing behind.
    pub(crate) async fn close(self) {
        let text = format!("DROP DATABASE {}", self.name);
        self.run(&text).await;
        self.conn.into_inner().disconnect().await.unwrap();
    }
}
