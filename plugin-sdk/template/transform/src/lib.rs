use whimbrel_plugin::prelude::*;

/// Keeps the first letter of a column's text.
#[derive(Config)]
struct Shorten { #[config(default = "name")] column: String }

#[transform]
impl Transform for Shorten {
    fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
        batch.map_text(&format!("after.{}", self.column), |name| name.chars().take(1).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whimbrel_plugin::testing::{Event, context};

    #[test]
    fn only_the_first_letter_stays() {
        let mut plugin: Shorten = whimbrel_plugin::config::parse("{}").unwrap();
        let mut batch = Batch::of([Event::create("customers", r#"{"id": 1, "name": "Ada"}"#)]);
        plugin.apply(&mut batch, &context()).unwrap();
        assert_eq!(batch.event(0).after(), r#"{"id":1,"name":"A"}"#);
    }
}
