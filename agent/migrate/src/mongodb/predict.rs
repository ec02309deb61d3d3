//! What a run would do: counted and timed with reads alone, under a user who may only read.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Database;

use super::client::{average_size, documents, failed};
use super::step::{Script, Step, Update};
use super::transaction::with_field;
use super::value::count;
use crate::database::Prediction;
use crate::error::Result;
use crate::migration::Options;

/// How long one count may take.
const COUNT_WITHIN: Duration = Duration::from_secs(30);
/// Documents of a sample.
const SAMPLE: i64 = 1_000;
/// What writing costs beside reading and computing: measured on an idle replica set of one, between 3 and 5.
const WRITE_FACTOR: f64 = 4.0;
/// What a transaction should not exceed (manual, "Production Considerations").
const TRANSACTION_BYTES: u64 = 16 << 20;

/// What a script would do.
pub(super) async fn script(database: &Database, script: &Script, options: &Options) -> Result<Vec<Prediction>> {
    let mut predicted = Vec::new();
    for step in &script.steps {
        let mut prediction = Prediction {
            what: step.what(),
            place: step.place().map(str::to_owned),
            fits_transaction: Some(step.fits_transaction()),
            ..Prediction::default()
        };
        if !step.fits_transaction() {
            prediction.notes.push("the server does this only outside of transactions".to_owned());
        }
        match step {
            Step::Insert { documents, .. } => {
                prediction.touched = Some(documents.len() as u64);
                prediction.exact = true;
                prediction.chunks = Some(1);
            }
            Step::Aggregate { .. } => {
                prediction.notes.push("how many documents it writes is not known before".to_owned())
            }
            Step::CreateIndex { collection, .. } => {
                prediction.touched = Some(estimated(database, collection).await?);
                prediction.notes.push("reads every document; the collection stays readable and writable".to_owned());
            }
            step => {
                if let Some((filter, chunk)) = step.chunked() {
                    let filter = match step {
                        Step::RenameFields { fields, .. } => with_field(filter, fields),
                        _ => filter.clone(),
                    };
                    documents_of(database, step, filter, chunk.unwrap_or(options.chunk), &mut prediction).await?;
                }
            }
        }
        predicted.push(prediction);
    }
    Ok(predicted)
}

async fn documents_of(
    database: &Database,
    step: &Step,
    filter: Document,
    chunk: u64,
    prediction: &mut Prediction,
) -> Result<()> {
    let Some(place) = step.place() else { return Ok(()) };
    let collection = documents(database, place);
    let counted =
        collection.count_documents(filter.clone()).max_time(COUNT_WITHIN).await.map_err(|error| failed(&error));
    let touched = match counted {
        Ok(touched) => {
            prediction.exact = true;
            touched
        }
        Err(error) if error.code == "MaxTimeMSExpired" => {
            prediction
                .notes
                .push(format!("counting took longer than {} s: all documents are taken", COUNT_WITHIN.as_secs()));
            estimated(database, place).await?
        }
        Err(error) => return Err(error),
    };
    let size = average_size(database, place).await;
    let fits = touched <= chunk && touched.saturating_mul(size) < TRANSACTION_BYTES;
    prediction.touched = Some(touched);
    prediction.fits_transaction = Some(fits);
    // Ranges of `_id` hold as many documents of the collection, whether the filter passes them or not; they grow where few do.
    let asked = chunk.min((TRANSACTION_BYTES / 2).checked_div(size).unwrap_or(chunk)).max(1);
    prediction.chunks = Some(if fits { 1 } else { touched.div_ceil(asked) });
    prediction.duration_ms = sampled(database, place, step, filter, touched).await?;
    if prediction.duration_ms.is_some() {
        prediction.notes.push(format!("the duration is that of a sample of reads, times {WRITE_FACTOR} for writing"));
    }
    Ok(())
}

/// The time of all, from that of computing some.
async fn sampled(database: &Database, place: &str, step: &Step, filter: Document, touched: u64) -> Result<Option<u64>> {
    if touched == 0 {
        return Ok(Some(0));
    }
    let mut stages = vec![doc! {"$match": filter}, doc! {"$limit": SAMPLE}];
    if let Step::Update { update: Update::Pipeline(update), .. } = step {
        stages.extend(update.iter().cloned());
    }
    // The documents are computed and stay on the server.
    stages.push(doc! {"$group": {"_id": null, "n": {"$sum": 1}, "bytes": {"$sum": {"$bsonSize": "$$ROOT"}}}});
    let began = Instant::now();
    let cursor =
        documents(database, place).aggregate(stages).max_time(COUNT_WITHIN).await.map_err(|error| failed(&error))?;
    let found: Vec<Document> = cursor.try_collect().await.map_err(|error| failed(&error))?;
    let took = began.elapsed().as_secs_f64();
    let seen = count(found.first().and_then(|document| document.get("n")));
    if seen == 0 {
        return Ok(None);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of documents")]
    let all = took / seen as f64 * touched as f64 * WRITE_FACTOR;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and time is not negative")]
    Ok(Some((all * 1_000.0).ceil() as u64))
}

async fn estimated(database: &Database, place: &str) -> Result<u64> {
    documents(database, place).estimated_document_count().await.map_err(|error| failed(&error))
}

/// A plugin.
pub(super) fn plugin() -> Prediction {
    Prediction {
        what: "run a plugin".to_owned(),
        chunks: Some(1),
        notes: vec!["what a plugin does is not known before it runs; it has one transaction".to_owned()],
        ..Prediction::default()
    }
}
