//! A plugin that runs commands on a table `t (id, n)`, and holds that `n` of row 2 is 5 then.

use whimbrel_migrate::error::Error;
use whimbrel_migrate::migration::PluginFile;
use whimbrel_migrate::program::{Call, Failure, Lent, Program, Programs};

/// What it runs, and how this database asks for a row by its `id`.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) up: Vec<&'static str>,
    pub(crate) select: &'static str,
}

impl Programs for Commands {
    fn load(&self, _: &PluginFile) -> Result<Box<dyn Program>, Error> {
        Ok(Box::new(self.clone()))
    }
}

impl Program for Commands {
    fn call(&mut self, call: Call, mut lent: Box<dyn Lent>) -> (Box<dyn Lent>, Result<(), Failure>) {
        if call == Call::Validate {
            let answer = lent.run(self.select);
            let right = answer.as_deref() == Ok(r#"{"rows":[{"n":5,"text":"x"}],"affected":0}"#);
            let failure = Failure { code: "not_five".to_owned(), message: format!("{answer:?}"), retryable: false };
            return (lent, if right { Ok(()) } else { Err(failure) });
        }
        for command in &self.up {
            if let Err(failure) = lent.run(command) {
                return (lent, Err(failure));
            }
        }
        lent.progress("t", 3, Some(3));
        (lent, Ok(()))
    }
}
