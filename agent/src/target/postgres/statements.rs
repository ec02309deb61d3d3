//! The text of the statements that write rows. Pure; every name is quoted before it gets here or here.

use crate::target::sql::{VERSION_COLUMN, quote};

use super::types::Wire;

/// A column of the target as a statement writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    /// Name, quoted.
    pub name: String,
    /// How its values travel.
    pub wire: Wire,
    /// The column's type, when the server has to cast.
    pub cast: String,
}

/// What a statement writes: the key columns first, then the others; in at_least_once mode the guard's column is the last.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    /// Table, quoted.
    pub table: &'a str,
    pub columns: &'a [Bound],
    /// Number of key columns.
    pub width: usize,
    /// The last column is the guard's.
    pub guarded: bool,
}

impl Shape<'_> {
    /// `UNNEST($1, …) AS u(c0, …)`.
    fn source(&self, columns: usize) -> String {
        let places = list(columns, |i| format!("${}", i + 1));
        format!("UNNEST({places}) AS u({})", list(columns, |i| format!("c{i}")))
    }

    fn value(&self, i: usize) -> String {
        match self.columns.get(i) {
            Some(Bound { wire: Wire::Cast, cast, .. }) => format!("u.c{i}::{cast}"),
            _ => format!("u.c{i}"),
        }
    }

    fn name(&self, i: usize) -> &str {
        self.columns.get(i).map_or("", |c| &c.name)
    }

    fn names(&self) -> String {
        list(self.columns.len(), |i| self.name(i).to_owned())
    }

    fn key_names(&self) -> String {
        list(self.width, |i| self.name(i).to_owned())
    }

    fn on_key(&self) -> String {
        let parts: Vec<String> = (0..self.width).map(|i| format!("t.{} = {}", self.name(i), self.value(i))).collect();
        parts.join(" AND ")
    }

    /// ` AND` or ` WHERE` and the guard: a row from before the guard's column existed counts as older than everything.
    fn newer(&self, word: &str, than: &str) -> String {
        if self.guarded { format!(" {word} COALESCE(t.{}, '') < {than}", quote(VERSION_COLUMN)) } else { String::new() }
    }

    fn insert(&self) -> String {
        let n = self.columns.len();
        let values = list(n, |i| self.value(i));
        format!(
            "INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {}",
            self.table,
            self.names(),
            self.source(n)
        )
    }

    /// Rows become exactly this.
    pub(super) fn upsert(&self) -> String {
        let set = list(self.columns.len() - self.width.min(self.columns.len()), |i| {
            let name = self.name(i + self.width);
            format!("{name} = EXCLUDED.{name}")
        });
        let insert = self.insert();
        if set.is_empty() {
            return format!("{insert} ON CONFLICT ({}) DO NOTHING", self.key_names());
        }
        let guard = self.newer("WHERE", &format!("EXCLUDED.{}", quote(VERSION_COLUMN)));
        format!("{insert} ON CONFLICT ({}) DO UPDATE SET {set}{guard}", self.key_names())
    }

    /// Rows that are there get these columns. `None` when there is nothing to set.
    pub(super) fn update(&self) -> Option<String> {
        let n = self.columns.len();
        if n <= self.width {
            return None;
        }
        let set = list(n - self.width, |i| format!("{} = {}", self.name(i + self.width), self.value(i + self.width)));
        let guard = self.newer("AND", &format!("u.c{}", n - 1));
        Some(format!("UPDATE {} AS t SET {set} FROM {} WHERE {}{guard}", self.table, self.source(n), self.on_key()))
    }

    /// Rows that are not there are made with these columns; asked after [`Shape::update`], because an insert that only
    /// conflicts later would already trip over columns that may not be null.
    pub(super) fn insert_missing(&self) -> String {
        format!(
            "{} WHERE NOT EXISTS (SELECT 1 FROM {} AS t WHERE {}) ON CONFLICT ({}) DO NOTHING",
            self.insert(),
            self.table,
            self.on_key(),
            self.key_names()
        )
    }

    /// Rows without key; in at_least_once mode the last column is the origin, which is unique.
    pub(super) fn append(&self) -> String {
        let insert = self.insert();
        if self.guarded {
            format!("{insert} ON CONFLICT ({}) DO NOTHING", self.name(self.columns.len() - 1))
        } else {
            insert
        }
    }

    /// Rows go.
    pub(super) fn delete(&self) -> String {
        let n = self.columns.len();
        let guard = self.newer("AND", &format!("u.c{}", n.saturating_sub(1)));
        format!("DELETE FROM {} AS t USING {} WHERE {}{guard}", self.table, self.source(n), self.on_key())
    }

    /// Rows go that are older than their tombstone. After the key columns' parameters come the keys as text and the
    /// table's name. Costs one look when the table has no tombstones.
    pub(super) fn bury(&self, tombstones: &str) -> String {
        let (keys, table) = (self.width + 1, self.width + 2);
        let places = list(keys, |i| format!("${}", i + 1));
        let names = list(self.width, |i| format!("c{i}"));
        format!(
            r#"DELETE FROM {} AS t USING UNNEST({places}) AS u({names}, k), {tombstones} AS s
               WHERE EXISTS (SELECT 1 FROM {tombstones} WHERE "table" = ${table})
                 AND s."table" = ${table} AND s.key = u.k AND {} AND COALESCE(t.{}, '') < s.version"#,
            self.table,
            self.on_key(),
            quote(VERSION_COLUMN)
        )
    }
}

fn list(n: usize, item: impl Fn(usize) -> String) -> String {
    (0..n).map(item).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_read_as_meant() {
        let column = |name: &str, wire, cast: &str| Bound { name: quote(name), wire, cast: cast.into() };
        let columns = [
            column("id", Wire::Int8, "bigint"),
            column("to\"tal", Wire::Cast, "numeric"),
            column("_whimbrel_version", Wire::Bytea, "bytea"),
        ];
        let plain = Shape { table: r#""s"."t""#, columns: &columns[..2], width: 1, guarded: false };
        let guarded = Shape { table: r#""s"."t""#, columns: &columns, width: 1, guarded: true };
        assert_eq!(
            plain.upsert(),
            r#"INSERT INTO "s"."t" AS t ("id", "to""tal") OVERRIDING SYSTEM VALUE SELECT u.c0, u.c1::numeric FROM UNNEST($1, $2) AS u(c0, c1) ON CONFLICT ("id") DO UPDATE SET "to""tal" = EXCLUDED."to""tal""#
        );
        assert!(
            guarded.upsert().ends_with(r#" WHERE COALESCE(t."_whimbrel_version", '') < EXCLUDED."_whimbrel_version""#)
        );
        assert_eq!(
            guarded.update().unwrap(),
            r#"UPDATE "s"."t" AS t SET "to""tal" = u.c1::numeric, "_whimbrel_version" = u.c2 FROM UNNEST($1, $2, $3) AS u(c0, c1, c2) WHERE t."id" = u.c0 AND COALESCE(t."_whimbrel_version", '') < u.c2"#
        );
        let key = Shape { table: "t", columns: &columns[..1], width: 1, guarded: false };
        assert_eq!(key.update(), None);
        assert_eq!(key.delete(), r#"DELETE FROM t AS t USING UNNEST($1) AS u(c0) WHERE t."id" = u.c0"#);
        assert!(key.upsert().ends_with(r#"ON CONFLICT ("id") DO NOTHING"#));
    }
}
