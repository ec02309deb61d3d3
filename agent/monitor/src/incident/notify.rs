//! Who is told what, and when: groups wait for company, are told again when they last, and are told when they ended. More
//! than a person can read becomes one digest.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::millis;

use super::digest::Digest;
use super::route::Route;
use super::{Alert, Book, Incident, Severity};

/// Between the parts of a group's name.
const BETWEEN: &str = "\u{1f}";

/// What a channel is to deliver in one piece.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Its name.
    pub channel: String,
    /// What it is to tell; never empty.
    pub alerts: Vec<Alert>,
}

/// How much a channel is told before it gets a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// Notifications within `window`.
    pub notifications: usize,
    /// Alerts in one notification.
    pub alerts: usize,
    /// The time in which they are counted, and the least between two digests.
    pub window: Duration,
    /// After which time a digest that has not changed is told again.
    pub repeat: Duration,
}

/// What the channels were told. It is kept with what is to be delivered, so that nothing is told twice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    channels: BTreeMap<String, Channel>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Channel {
    /// Incidents it was told of one by one and not yet told that they ended.
    told: BTreeMap<String, Told>,
    groups: BTreeMap<String, Group>,
    /// When it was sent something, within the window.
    sent: VecDeque<i64>,
    digest: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Told {
    group: String,
    severity: Severity,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Group {
    /// Since when something is new in it.
    pending_ms: Option<i64>,
    sent_ms: Option<i64>,
}

/// Decides.
#[derive(Debug)]
pub struct Notifier {
    routes: Vec<Route>,
    cap: Cap,
    url: Option<String>,
    state: State,
}

/// What fires in one group of one channel.
#[derive(Debug, Default)]
struct Firing<'a> {
    route: Option<&'a Route>,
    incidents: Vec<&'a Incident>,
}

/// A group that is to be told now.
struct Due<'a> {
    name: String,
    fresh: Vec<&'a Incident>,
    /// Told before, and still firing.
    known: Vec<&'a Incident>,
    ended: Vec<&'a Incident>,
}

impl Notifier {
    /// With these ways to people, and what they were told before. `url` is where a person can look.
    #[must_use]
    pub const fn new(routes: Vec<Route>, cap: Cap, url: Option<String>, state: State) -> Self {
        Self { routes, cap, url, state }
    }

    /// What the channels were told.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What is to be told now. `is_muted` says of which incidents people are not told; what they were told of before they
    /// are still told the end of.
    pub fn due(&mut self, book: &Book, is_muted: impl Fn(&Incident) -> bool, now_ms: i64) -> Vec<Notification> {
        let by_channel = sorted(&self.routes, book, is_muted);
        let all: HashMap<&str, &Incident> =
            book.firing().chain(book.resolved()).map(|incident| (incident.id.as_str(), incident)).collect();
        let mut names: Vec<String> = self.state.channels.keys().cloned().collect();
        names.extend(
            by_channel.keys().filter(|name| !self.state.channels.contains_key(**name)).map(|n| (*n).to_owned()),
        );
        let nothing = BTreeMap::new();
        let mut notifications = Vec::new();
        for name in names {
            let firing = by_channel.get(name.as_str()).unwrap_or(&nothing);
            let channel = self.state.channels.entry(name.clone()).or_default();
            let told = channel.tell(&name, firing, &all, self.cap, self.url.as_deref(), now_ms);
            notifications.extend(told.into_iter().map(|alerts| Notification { channel: name.clone(), alerts }));
        }
        self.state.channels.retain(|_, channel| !channel.is_idle());
        notifications
    }
}

/// What fires and is not muted, by channel and group.
fn sorted<'a>(
    routes: &'a [Route],
    book: &'a Book,
    is_muted: impl Fn(&Incident) -> bool,
) -> HashMap<&'a str, BTreeMap<String, Firing<'a>>> {
    let mut channels: HashMap<&str, BTreeMap<String, Firing<'_>>> = HashMap::new();
    for incident in book.firing().filter(|incident| !is_muted(incident)) {
        let Some((index, route)) = routes.iter().enumerate().find(|(_, route)| route.matcher.matches(incident)) else {
            continue;
        };
        let group = [vec![index.to_string()], route.group(incident)].concat().join(BETWEEN);
        for channel in &route.channels {
            let group = channels.entry(channel).or_default().entry(group.clone()).or_default();
            group.route = Some(route);
            group.incidents.push(incident);
        }
    }
    channels
}

impl Channel {
    /// Nothing is told, nothing waits, and nothing was sent lately.
    fn is_idle(&self) -> bool {
        self.told.is_empty() && self.groups.is_empty() && self.sent.is_empty() && self.digest.is_none()
    }

    fn tell(
        &mut self,
        name: &str,
        firing: &BTreeMap<String, Firing<'_>>,
        all: &HashMap<&str, &Incident>,
        cap: Cap,
        url: Option<&str>,
        now_ms: i64,
    ) -> Vec<Vec<Alert>> {
        let window_ms = millis(cap.window);
        while self.sent.front().is_some_and(|sent_ms| now_ms - sent_ms >= window_ms) {
            self.sent.pop_front();
        }
        // What nobody remembers any more cannot be told the end of.
        self.told.retain(|id, _| all.contains_key(id.as_str()));
        let due = self.due(firing, all, now_ms);
        let mut out = Vec::new();
        let free = cap.notifications.saturating_sub(self.sent.len());
        let fresh = due.iter().filter(|group| !group.fresh.is_empty()).count();
        let crowded = |group: &Due<'_>| group.fresh.len() + group.known.len() > cap.alerts;
        let too_much = fresh > free || due.iter().any(|group| !group.fresh.is_empty() && crowded(group));
        for group in due {
            let Due { name: group_name, fresh, known, ended } = group;
            if too_much && !fresh.is_empty() {
                let digest = self.digest.get_or_insert_with(|| Digest::new(name, now_ms));
                digest.members.extend(fresh.iter().map(|incident| incident.id.clone()));
                // One that was told before and became worse is the digest's now, and its end with it.
                self.settle(&group_name, now_ms);
                continue;
            }
            if self.sent.len() >= cap.notifications {
                continue; // an end, or the same again: that can wait
            }
            let mut alerts: Vec<Alert> = Vec::with_capacity(fresh.len() + known.len() + ended.len());
            for incident in fresh.iter().chain(&known) {
                let told = Told { group: group_name.clone(), severity: incident.severity };
                self.told.insert(incident.id.clone(), told);
                alerts.push(Alert::of(incident, url));
            }
            for incident in ended.iter().take(cap.alerts) {
                self.told.remove(&incident.id);
                alerts.push(Alert::of(incident, url));
            }
            alerts.sort_by(|one, other| {
                let rank =
                    |alert: &Alert| (alert.until_ms.is_some(), std::cmp::Reverse(alert.severity), alert.since_ms);
                rank(one).cmp(&rank(other)).then(one.id.cmp(&other.id))
            });
            self.settle(&group_name, now_ms);
            self.sent.push_back(now_ms);
            out.push(alerts);
        }
        out.extend(self.digest(all, cap, url, now_ms));
        let told: HashSet<&str> = self.told.values().map(|told| told.group.as_str()).collect();
        self.groups.retain(|group, _| firing.contains_key(group) || told.contains(group.as_str()));
        out
    }

    fn settle(&mut self, group: &str, now_ms: i64) {
        self.groups.insert(group.to_owned(), Group { pending_ms: None, sent_ms: Some(now_ms) });
    }

    /// The groups that are to be told now.
    fn due<'a>(
        &mut self,
        firing: &BTreeMap<String, Firing<'a>>,
        all: &HashMap<&str, &'a Incident>,
        now_ms: i64,
    ) -> Vec<Due<'a>> {
        let mut ended: BTreeMap<&str, Vec<&Incident>> = BTreeMap::new();
        let mut worst: HashMap<&str, Severity> = HashMap::new();
        for (id, told) in &self.told {
            let before = worst.entry(&told.group).or_insert(told.severity);
            *before = told.severity.max(*before);
            if let Some(incident) = all.get(id.as_str()).filter(|incident| !incident.is_firing()) {
                ended.entry(&told.group).or_default().push(incident);
            }
        }
        let in_digest = |id: &str| self.digest.as_ref().is_some_and(|digest| digest.members.contains(id));
        let mut due = Vec::new();
        for (name, group) in firing {
            let Some(route) = group.route else { continue };
            let known_as = |incident: &&&Incident| self.told.get(&incident.id).map(|told| told.severity);
            let is_fresh = |incident: &&&Incident| match known_as(incident) {
                Some(severity) => incident.severity > severity,
                None => !in_digest(&incident.id),
            };
            let fresh: Vec<&Incident> = group.incidents.iter().filter(is_fresh).copied().collect();
            let is_known = |incident: &&&Incident| known_as(incident).is_some() && !is_fresh(incident);
            let known: Vec<&Incident> = group.incidents.iter().filter(is_known).copied().collect();
            let ended = ended.remove(name.as_str()).unwrap_or_default();
            let state = self.groups.entry(name.clone()).or_default();
            if fresh.is_empty() {
                state.pending_ms = None;
            } else {
                state.pending_ms.get_or_insert(now_ms);
            }
            let rested = |least: Duration| state.sent_ms.is_none_or(|sent_ms| now_ms - sent_ms >= millis(least));
            let before = worst.get(name.as_str());
            let worse = fresh.iter().any(|incident| before.is_some_and(|before| incident.severity > *before));
            let waited = state.pending_ms.is_some_and(|since_ms| now_ms - since_ms >= millis(route.group_wait));
            let is_due = (waited && (worse || rested(route.group_interval)))
                || (!ended.is_empty() && rested(route.group_interval))
                || (!known.is_empty() && rested(route.repeat));
            if is_due {
                due.push(Due { name: name.clone(), fresh, known, ended });
            }
        }
        // Groups in which nothing fires any more, or nothing that is told: their ends need not wait.
        due.extend(ended.into_iter().map(|(name, ended)| Due {
            name: name.to_owned(),
            fresh: Vec::new(),
            known: Vec::new(),
            ended,
        }));
        due
    }

    fn digest(
        &mut self,
        all: &HashMap<&str, &Incident>,
        cap: Cap,
        url: Option<&str>,
        now_ms: i64,
    ) -> Option<Vec<Alert>> {
        let digest = self.digest.as_mut()?;
        let fires = |id: &String| all.get(id.as_str()).is_some_and(|incident| incident.is_firing());
        digest.members.retain(fires);
        for id in &digest.members {
            self.told.remove(id);
        }
        let rested = |least: Duration| digest.told.is_none_or(|(told_ms, _)| now_ms - told_ms >= millis(least));
        let changed = digest.told.is_none_or(|(_, count)| count != digest.members.len());
        let is_over = digest.members.is_empty();
        if !((changed && rested(cap.window)) || rested(cap.repeat)) {
            return None;
        }
        let members = digest.members.iter().filter_map(|id| all.get(id.as_str()).copied());
        let alert = digest.alert(members, now_ms, url);
        digest.told = Some((now_ms, digest.members.len()));
        digest.count = digest.count.saturating_add(1);
        if is_over {
            self.digest = None;
        }
        Some(vec![alert])
    }
}
