//! Signs of life: until when is it known that the source was being read?
//!
//! A connector emits changes in commit order and, when heartbeats are configured, a heartbeat on an idle source. Having
//! seen one stamped `S` therefore means that everything committed before `S` has been emitted. Heartbeats speak for all
//! tables of their connector, which Debezium shows in the names: the heartbeat topic of `shop.public.orders` ends with
//! `.shop`. Where names do not match (topics renamed on the way), the *oldest* of all heartbeats counts.
//!
//! Stamps are kept as the source wrote them; correcting for clock skew is the reader's task.

use std::collections::HashMap;
use std::sync::Arc;

/// The newest stamps, per connector and per topic.
#[derive(Debug, Default)]
pub struct Life {
    /// Newest stamp of a heartbeat or event, by heartbeat topic.
    connectors: HashMap<Arc<str>, i64>,
    /// Newest stamp of an event, by topic.
    topics: HashMap<Arc<str>, i64>,
    /// Which heartbeat topic speaks for a topic; forgotten when a new heartbeat topic shows up.
    speaker: HashMap<Arc<str>, Option<Arc<str>>>,
}

impl Life {
    /// A heartbeat on `topic`, stamped by the connector.
    pub fn heartbeat(&mut self, topic: &Arc<str>, source_ts_ms: i64) {
        if !self.connectors.contains_key(topic) {
            self.speaker.clear();
        }
        raise(&mut self.connectors, topic, source_ts_ms);
    }

    /// An event on `topic`, committed at the source at this time.
    pub fn event(&mut self, topic: &Arc<str>, source_ts_ms: i64) {
        raise(&mut self.topics, topic, source_ts_ms);
        if let Some(connector) = self.speaker_of(topic) {
            raise(&mut self.connectors, &connector, source_ts_ms);
        }
    }

    /// Is this a heartbeat topic?
    #[must_use]
    pub fn is_heartbeat(&self, topic: &str) -> bool {
        self.connectors.contains_key(topic)
    }

    /// The newest stamp up to which everything of this topic is known to have been emitted.
    pub fn newest(&mut self, topic: &Arc<str>) -> Option<i64> {
        let own = self.topics.get(topic).copied();
        let spoken = match self.speaker_of(topic) {
            Some(connector) => self.connectors.get(&connector).copied(),
            None => self.connectors.values().copied().min(),
        };
        own.max(spoken)
    }

    /// Forgets the events of a topic that is no longer read here.
    pub fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.speaker.remove(topic);
    }

    fn speaker_of(&mut self, topic: &Arc<str>) -> Option<Arc<str>> {
        if let Some(known) = self.speaker.get(topic) {
            return known.clone();
        }
        let found = self
            .connectors
            .keys()
            .filter(|heartbeat| speaks_for(heartbeat, topic))
            .max_by_key(|name| name.len())
            .cloned();
        self.speaker.insert(Arc::clone(topic), found.clone());
        found
    }
}

fn raise(stamps: &mut HashMap<Arc<str>, i64>, topic: &Arc<str>, stamp: i64) {
    match stamps.get_mut(topic) {
        Some(newest) => *newest = stamp.max(*newest),
        None => {
            stamps.insert(Arc::clone(topic), stamp);
        }
    }
}

/// `<heartbeat prefix>.<topic prefix>` speaks for itself and for `<topic prefix>.<anything>`.
fn speaks_for(heartbeat: &str, topic: &str) -> bool {
    if heartbeat == topic {
        return true;
    }
    topic
        .match_indices('.')
        .filter_map(|(dot, _)| topic.get(..dot))
        .any(|prefix| heartbeat.strip_suffix(prefix).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_speaks_for_the_topics_of_its_connector_only() {
        for (heartbeat, topic, expect) in [
            ("__debezium-heartbeat.shop", "shop.public.orders", true),
            ("__debezium-heartbeat.shop", "shop2.public.orders", false),
            ("__debezium-heartbeat.shop", "workshop.public.orders", false),
            ("__debezium-heartbeat.eu.shop", "eu.shop.public.orders", true),
            ("__debezium-heartbeat.shop", "__debezium-heartbeat.shop", true),
            ("__debezium-heartbeat.shop", "database.changes", false),
            (".shop", "shop.a", false),
        ] {
            assert_eq!(speaks_for(heartbeat, topic), expect, "{heartbeat} for {topic}");
        }
    }

    #[test]
    fn life_is_the_newest_stamp_of_the_connector_and_the_oldest_heartbeat_where_names_do_not_match() {
        let topic = |name: &str| Arc::<str>::from(name);
        let mut life = Life::default();
        assert_eq!(life.newest(&topic("shop.t")), None);
        life.heartbeat(&topic("hb.shop"), 10);
        life.heartbeat(&topic("hb.crm"), 20);
        assert_eq!(life.newest(&topic("shop.t")), Some(10));
        assert_eq!(life.newest(&topic("crm.t")), Some(20));
        assert_eq!(life.newest(&topic("database.changes")), Some(10), "cannot tell whose it is: the oldest counts");
        life.event(&topic("shop.u"), 30);
        assert_eq!(life.newest(&topic("shop.t")), Some(30), "an event of another table of the same connector");
        life.event(&topic("shop.u"), 5);
        assert_eq!(life.newest(&topic("shop.t")), Some(30), "never goes back");
    }
}
