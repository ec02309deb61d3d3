//! The ceiling of the MongoDB target: the statements it sends, encoded beforehand, in the same transactions, with the same
//! acknowledgement. Nothing is decoded, planned or mapped here.

use anyhow::{Context as _, Result, ensure};
use bson::{Document, RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use mongodb::{ClientSession, Database};

/// Where the ceiling keeps its offsets; must exist before the first [`Encoded::send`].
pub(crate) const OFFSETS: &str = "ceiling_offsets";

/// A batch of documents as the commands that carry them.
pub(crate) struct Encoded {
    claim: RawDocumentBuf,
    update: RawDocumentBuf,
    rows: usize,
}

impl Encoded {
    /// Upserts of `documents` by their `_id`. `stream` tells runs of offsets apart; `offset` is that of the first document.
    pub(crate) fn new(collection: &str, stream: &str, documents: &[Document], offset: i64) -> Result<Self> {
        let updates: Vec<Document> =
            documents.iter().map(|d| doc! {"q": {"_id": d.get("_id")}, "u": d, "upsert": true}).collect();
        let update = doc! {"update": collection, "ordered": false, "updates": updates};
        let next = offset + i64::try_from(documents.len())?;
        let mut q = doc! {"_id": {"pipeline": "bench", "topic": stream, "partition": 0}};
        match offset {
            0 => q.insert("next", doc! {"$exists": false}),
            _ => q.insert("next", offset),
        };
        let u = doc! {"$set": {"next": next, "updated_at": bson::DateTime::from_millis(0)}, "$inc": {"epoch": 1_i64}};
        let claim = doc! {"update": OFFSETS, "ordered": false, "updates": [{"q": q, "u": u, "upsert": offset == 0}]};
        Ok(Self {
            claim: RawDocumentBuf::try_from(&claim)?,
            update: RawDocumentBuf::try_from(&update)?,
            rows: documents.len(),
        })
    }

    /// Writes and commits.
    pub(crate) async fn send(self, db: &Database, session: &mut ClientSession) -> Result<()> {
        let confirmed = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(confirmed).await?;
        let claimed = db.run_raw_command(self.claim).session(&mut *session).await?;
        ensure!(claimed.get_i32("n")? == 1, "the ceiling's offset is not where it should be");
        let written = db.run_raw_command(self.update).session(&mut *session).await?;
        ensure!(usize::try_from(written.get_i32("n")?)? == self.rows, "rows were not written");
        session.commit_transaction().await.context("commit")
    }
}
