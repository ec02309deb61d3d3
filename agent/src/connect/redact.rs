//! What of a connector's configuration, and of Connect's own words, may be shown.
//!
//! Pure. Everything that leaves this stage for a terminal, a log or the status API has gone through here.

use std::collections::BTreeMap;

/// What stands in the place of a secret wherever one would be shown.
pub const MASK: &str = "***";

/// The MongoDB connection string: hosts are worth seeing, credentials and options may be secrets.
const CONNECTION_STRING: &str = "mongodb.connection.string";

/// The shortest secret that is looked for inside other people's sentences. Replacing every `a` would destroy the
/// sentence and name the secret at once.
const SHORTEST_SCRUBBED: usize = 4;

/// A property's value as it may be shown.
pub fn shown(key: &str, value: &str) -> String {
    if is_secret_key(key) {
        MASK.to_owned()
    } else if key == CONNECTION_STRING {
        connection_string(value)
    } else {
        printable(&without_userinfo(value))
    }
}

/// Whether a property of that name holds something that must not be shown, judged by its name alone.
///
/// Errs towards hiding: a shown secret cannot be taken back, a hidden setting can be looked up.
pub fn is_secret_key(key: &str) -> bool {
    const WORDS: [&str; 9] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "jaas.config",
        "private.key",
        "keystore.key",
    ];
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
        || ["api.key", "apikey", "access.key"].iter().any(|end| key.ends_with(end))
}

/// Whether [`shown`] hides all or part of the values of this property.
pub fn hides(key: &str) -> bool {
    is_secret_key(key) || key == CONNECTION_STRING
}

/// Control characters escaped, so that no server can write to our user's terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `scheme://hosts` and a mark where something was left out.
fn connection_string(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return MASK.to_owned() };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    // A password may hold a raw `@` or `/`: when one is left in the tail, nothing here can be trusted to be a host.
    if tail.contains('@') {
        return format!("{scheme}://{MASK}");
    }
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((_, hosts)) => ("***@", hosts),
        None => ("", authority),
    };
    let tail = if tail.is_empty() || tail == "/" { "" } else { "/***" };
    printable(&format!("{scheme}://{user}{hosts}{tail}"))
}

/// `scheme://user:password@host` anywhere in a value loses the password.
fn without_userinfo(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(|c: char| c == '/' || c == ',' || c.is_whitespace()).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        if let Some((_, host)) = authority.rsplit_once('@') {
            out.push_str(MASK);
            out.push('@');
            out.push_str(host);
        } else {
            out.push_str(authority);
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Takes known secrets out of sentences somebody else wrote: error messages, stack traces.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret which contains another one goes as a whole.
    secrets: Vec<String>,
}

impl Redactor {
    /// Learns every secret value in a connector's configuration.
    pub fn learn(&mut self, config: &BTreeMap<String, String>) {
        for (key, value) in config.iter().filter(|(key, _)| hides(key)) {
            self.learn_value(value);
            if key == CONNECTION_STRING
                && let Some((_, rest)) = value.split_once("://")
                && let Some((userinfo, _)) = rest.rsplit_once('@')
                && let Some((_, password)) = userinfo.split_once(':')
            {
                self.learn_value(password);
            }
        }
    }

    /// Learns one secret.
    pub fn learn_value(&mut self, value: &str) {
        if value.len() >= SHORTEST_SCRUBBED && !self.secrets.iter().any(|known| known == value) {
            self.secrets.push(value.to_owned());
            self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// The text without the secrets, in one line's worth of printable characters per line of input.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text.lines().map(printable).collect::<Vec<_>>().join("\n")
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_without_what_is_secret() {
        for (key, value, expect) in [
            ("database.password", "canary", "***"),
            ("database.password", "${file:/secrets/pg.properties:password}", "***"),
            ("database.hostname", "db", "db"),
            ("x.url", "http://u:canary@h:1/p,http://h2", "http://***@h:1/p,http://h2"),
            ("x", "a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            (CONNECTION_STRING, "mongodb://u:canary@a:1,b:2/db?x=canary", "mongodb://***@a:1,b:2/***"),
            (CONNECTION_STRING, "mongodb+srv://cluster/", "mongodb+srv://cluster"),
            (CONNECTION_STRING, "mongodb://u:can/ary@h", "mongodb://***"),
            (CONNECTION_STRING, "canary", "***"),
        ] {
            assert_eq!(shown(key, value), expect, "{key} {value}");
        }
    }

    #[test]
    fn secrets_are_taken_out_of_foreign_sentences() {
        let mut redactor = Redactor::default();
        redactor.learn(&BTreeMap::from([
            ("database.password".to_owned(), "canary".to_owned()),
            ("database.ssl.password".to_owned(), "canary-and-more".to_owned()),
            ("database.user".to_owned(), "alice".to_owned()),
            (CONNECTION_STRING.to_owned(), "mongodb://u:pass-5150@h/".to_owned()),
        ]));
        let scrubbed = redactor.scrub("alice: bad canary-and-more\nand pass-5150 \u{7}");
        assert_eq!(scrubbed, "alice: bad ***\nand *** \\u{7}");
        assert!(!format!("{redactor:?}").contains("canary"));
    }

    #[test]
    fn names_that_speak_of_secrets_are_known() {
        for key in [
            "database.password",
            "database.ssl.password",
            "schema.history.internal.producer.sasl.jaas.config",
            "aws.secret.access.key",
            "Auth.Token",
            "ssl.keystore.key",
            "x.api.key",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["database.user", "slot.name", "message.key.columns", "key.converter", "topic.prefix"] {
            assert!(!is_secret_key(key), "{key}");
        }
    }
}
