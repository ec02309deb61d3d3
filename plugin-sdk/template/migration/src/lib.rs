use whimbrel_plugin::prelude::*;

/// Gives every row a status (SQL).
#[derive(Config)]
struct AddStatus { #[config(default = "customers")] table: String }

#[migration]
impl Migration for AddStatus {
    fn up(&mut self, cx: &MigrationContext) -> Result<(), Failure> {
        cx.run(&format!(r#"{{"sql": "ALTER TABLE {} ADD COLUMN status text DEFAULT 'active'"}}"#, self.table)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whimbrel_plugin::testing::TestHost;

    #[test]
    fn the_column_is_added_and_nothing_undoes_it() {
        let host = TestHost::new().database(r#"{"rows": [], "affected": 0}"#);
        let mut plugin: AddStatus = whimbrel_plugin::config::parse("{}").unwrap();
        plugin.up(&host.migration_context()).unwrap();
        assert!(host.commands()[0].contains("ALTER TABLE customers"));
        assert_eq!(plugin.down(&host.migration_context()).unwrap_err().code, "irreversible");
    }
}
