//! The three systems of a job, as its file says how to reach them.

use std::{sync::Arc, time::Duration};

use connectors::{Inspect, Log, Objects, Secret, Warehouse, kafka, redshift, s3};
use operators::query::SourceValue;

use crate::{
    error::{Code, CodedError, Result},
    job::{Job, Patience, Property},
    memory::{self, Shape, Shares},
};

/// The three systems of a job.
pub struct Ports {
    /// Kafka.
    pub log: Arc<dyn Log>,
    /// S3.
    pub objects: Arc<dyn Objects>,
    /// Redshift; only process 0 has it.
    pub warehouse: Option<Box<dyn Warehouse>>,
}

/// How long an answer is waited for.
fn waits(job: &Job, works: Duration, looks: Duration) -> Duration {
    match job.patience {
        Patience::Works => works,
        Patience::Looks => looks,
    }
}

/// A secret that must be there now, and is read anew each time it is used.
fn secret_of(secret: &crate::job::Secret, place: &str) -> Result<Secret> {
    let (secret, place) = (secret.clone(), place.to_string());
    let read = move || secret.resolve().map_err(|why| format!("`{place}`: {why}"));
    read().map_err(|why| CodedError::new(Code::JobFile, why))?;
    Ok(Secret::new(read))
}

/// The Kafka of a job, for so many workers of this process: they share its part of the memory budget.
///
/// # Errors
/// A secret that the job file names is not there. Nothing is connected yet.
pub fn kafka(job: &Job, workers: usize) -> Result<kafka::Kafka> {
    let mut properties = Vec::new();
    for (name, value) in &job.properties {
        let value = match value {
            Property::Plain(text) => Secret::open(text),
            Property::Secret(secret) => secret_of(secret, &format!("kafka.properties.{name}"))?,
        };
        properties.push((name.clone(), value));
    }
    let Shares { queue_kb, batch, .. } = memory::share(job.budget_bytes, Shape::of(job, workers));
    // They cost something, so they are only asked for where a query looks at them.
    let headers = job.targets.iter().any(|t| t.selection.uses(SourceValue::Headers));
    Ok(kafka::Kafka::new(kafka::Settings {
        brokers: job.brokers.clone(),
        job: job.name.clone(),
        properties,
        queue_kb: queue_kb as usize,
        batch_bytes: batch as usize,
        headers,
        answer_within: waits(job, kafka::ANSWER_WITHIN, Duration::from_secs(6)),
    }))
}

/// The staging place of a job.
///
/// # Errors
/// A secret that the job file names is not there. Nothing is connected yet.
pub fn staging(job: &Job) -> Result<s3::S3> {
    let staging = &job.staging;
    let keys = match &staging.keys {
        Some((id, secret)) => {
            Some((secret_of(id, "staging.access_key_id")?, secret_of(secret, "staging.secret_access_key")?))
        }
        None => None,
    };
    Ok(s3::S3::new(s3::Settings {
        bucket: staging.bucket.clone(),
        prefix: staging.prefix.clone(),
        region: staging.region.clone(),
        endpoint: staging.endpoint.clone(),
        keys,
        retries_within: waits(job, s3::RETRIES_WITHIN, Duration::from_secs(2)),
        request_within: waits(job, s3::REQUEST_WITHIN, Duration::from_secs(5)),
    })?)
}

/// The warehouse of a job, as the port.
///
/// # Errors
/// A secret that the job file names is not there. Nothing is connected yet.
pub fn warehouse(job: &Job) -> Result<Box<dyn Warehouse>> {
    Ok(Box::new(redshift(job)?))
}

/// The same, as the port of whoever looks at the job from outside.
///
/// # Errors
/// A secret that the job file names is not there. Nothing is connected yet.
pub fn inspect(job: &Job) -> Result<Box<dyn Inspect>> {
    Ok(Box::new(redshift(job)?))
}

fn redshift(job: &Job) -> Result<redshift::Redshift> {
    let options = &job.redshift;
    let password = secret_of(&options.password, "redshift.password")?;
    let settings = redshift::Settings {
        host: options.host.clone(),
        port: options.port,
        database: options.database.clone(),
        user: options.user.clone(),
        password,
        iam_role: options.iam_role.clone(),
        tls: options.tls.clone(),
        statement_timeout: options.statement_timeout,
        connect_within: waits(job, redshift::CONNECT_WITHIN, Duration::from_secs(7)),
        application_name: format!("tidegate-{}", job.name),
    };
    Ok(redshift::Redshift::new(settings, &options.schema, &job.name)?)
}
