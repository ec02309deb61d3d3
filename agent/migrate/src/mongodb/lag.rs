//! How far the replicas are behind: the furthest secondary, or where that may not be asked, what the majority has.

use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use mongodb::Client;

use super::client::failed;

/// A look costs a round trip, and the replicas do not fall behind faster than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks now and then.
#[derive(Debug, Default)]
pub(super) struct Lag {
    looked: Option<(Instant, Option<Duration>)>,
    may_not_ask: bool,
}

impl Lag {
    /// The lag, no older than a second; `None`: there is no replica, or nobody knows.
    pub(super) async fn now(&mut self, client: &Client) -> Option<Duration> {
        if let Some((at, lag)) = self.looked
            && at.elapsed() < LOOK_EVERY
        {
            return lag;
        }
        let lag = self.look(client).await;
        self.looked = Some((Instant::now(), lag));
        lag
    }

    async fn look(&mut self, client: &Client) -> Option<Duration> {
        let admin = client.database("admin");
        if !self.may_not_ask {
            match admin.run_command(doc! {"replSetGetStatus": 1}).await {
                Ok(status) => return of_members(&status),
                Err(error) => {
                    let error = failed(&error);
                    // Sharded clusters have no such status, and the right is one of `clusterMonitor`.
                    self.may_not_ask = true;
                    tracing::info!(
                        code = &*error.code,
                        "the replicas' lag may not be asked for, the majority's is taken in its place"
                    );
                }
            }
        }
        admin.run_command(doc! {"hello": 1}).await.ok().and_then(|hello| of_majority(&hello))
    }
}

/// Primary's last write less that of the furthest secondary.
fn of_members(status: &Document) -> Option<Duration> {
    let members: Vec<&Document> = status.get_array("members").ok()?.iter().filter_map(Bson::as_document).collect();
    let date = |member: &Document| member.get_datetime("optimeDate").ok().map(|at| at.timestamp_millis());
    let state =
        |wanted: &'static str| move |member: &&&Document| member.get_str("stateStr").is_ok_and(|state| state == wanted);
    let primary = members.iter().find(state("PRIMARY")).and_then(|member| date(member))?;
    let furthest = members.iter().filter(state("SECONDARY")).filter_map(|member| date(member)).min()?;
    Some(Duration::from_millis(u64::try_from(primary - furthest).unwrap_or(0)))
}

fn of_majority(hello: &Document) -> Option<Duration> {
    let last = hello.get_document("lastWrite").ok()?;
    let date = |name: &str| last.get_datetime(name).ok().map(|at| at.timestamp_millis());
    let behind = date("lastWriteDate")? - date("majorityWriteDate")?;
    Some(Duration::from_millis(u64::try_from(behind).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::DateTime;

    fn member(state: &str, seconds: i64) -> Document {
        doc! {"stateStr": state, "optimeDate": DateTime::from_millis(seconds * 1_000)}
    }

    #[test]
    fn the_furthest_secondary_counts_and_who_is_down_does_not() {
        let cases = [
            (vec![member("PRIMARY", 100)], None),
            (vec![member("PRIMARY", 100), member("SECONDARY", 97), member("SECONDARY", 90)], Some(10)),
            (vec![member("PRIMARY", 100), member("SECONDARY", 99), member("(not reachable/healthy)", 0)], Some(1)),
            (vec![member("SECONDARY", 100)], None),
            (vec![member("PRIMARY", 100), member("SECONDARY", 101)], Some(0)),
        ];
        for (members, seconds) in cases {
            assert_eq!(of_members(&doc! {"members": &members}), seconds.map(Duration::from_secs), "{members:?}");
        }
    }

    #[test]
    fn the_majority_is_behind_by_its_last_write() {
        let write = |last, majority| doc! {"lastWrite": {"lastWriteDate": DateTime::from_millis(last), "majorityWriteDate": DateTime::from_millis(majority)}};
        assert_eq!(of_majority(&write(5_000, 2_000)), Some(Duration::from_secs(3)));
        assert_eq!(of_majority(&doc! {}), None);
    }
}
