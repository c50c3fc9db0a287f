//! What a start finds out before it takes the fence, so that one that cannot work harms nobody: whether S3 takes and gives up an
//! object, whether our user has the rights, and whether Redshift can read what we stage.
//!
//! The COPY goes into a temporary table and is rolled back. It is not tried on the dead letters: a healthy process of the job may
//! be writing them.

use connectors::{CopyFrom, Log, Objects, TableName, Warehouse};
use operators::sink::encode;

use crate::{
    error::{Code, CodedError, Result},
    job::Job,
};

/// What a process that is not the first can find out: whether it reaches Kafka and S3 itself.
pub fn reach(job: &Job, log: &dyn Log, objects: &dyn Objects) -> Result<()> {
    for topic in job.streams.iter().flat_map(|stream| &stream.topics) {
        log.partitions(topic)?;
    }
    let key = format!("{}/check/{}", job.name, uuid::Uuid::new_v4().simple());
    let tried = objects.put(&key, Default::default()).and_then(|()| objects.delete(&[&key]));
    tried.map_err(|source| CodedError { what: "a file cannot be staged".into(), ..source.into() })
}

/// Looks at what a load into these tables will need. Whatever it stages it removes.
pub fn preflight(job: &Job, tables: &[TableName], objects: &dyn Objects, warehouse: &mut dyn Warehouse) -> Result<()> {
    let (file, columns) = encode::sample().map_err(|e| CodedError::new(Code::Bug, e))?;
    let at = format!("{}/check/{}", job.name, uuid::Uuid::new_v4().simple());
    let (data, manifest) = (format!("{at}.parquet"), format!("{at}.manifest"));
    let entry =
        serde_json::json!({ "url": objects.url(&data), "mandatory": true, "meta": { "content_length": file.len() } });
    let body = serde_json::json!({ "entries": [entry] }).to_string();
    let table = job.dead_letters();
    let copy = CopyFrom {
        target: table.to_string(),
        table,
        columns,
        manifest_url: objects.url(&manifest),
        counts: checkpoint::Counts { loaded: 1, ..Default::default() },
    };
    let staged = objects.put(&data, file).and_then(|()| objects.put(&manifest, body.into()));
    let tried = match &staged {
        Ok(()) => warehouse.rehearse(tables, &copy),
        Err(_) => Ok(()),
    };
    // Whatever became of it. Where nothing could be put there is nothing to remove.
    let removed = match &staged {
        Ok(()) => objects.delete(&[&data, &manifest]),
        Err(_) => Ok(()),
    };
    let doing = |doing: &str| {
        let doing = doing.to_string();
        move |source: connectors::Error| CodedError { what: doing, ..source.into() }
    };
    staged.map_err(doing("a file cannot be staged"))?;
    tried.map_err(doing("a staged file cannot be loaded"))?;
    removed.map_err(doing("a staged file cannot be removed"))
}
