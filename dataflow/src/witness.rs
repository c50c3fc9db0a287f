//! Puts and reads the witnesses of a job's starts. What they mean is decided by [`checkpoint::witness`].

use std::collections::BTreeSet;

use checkpoint::{
    names::{self, Staging},
    protocol::{Halt, Holder, TableFacts},
    witness::{self, Begun, Home, Tables, Witness, Witnessed},
};
use connectors::{Objects, Warehouse};

use crate::{again::again, error::Result, job::Job};

/// The witnesses of all starts of the job. Listed before the fence is read, so that a start which goes on meanwhile only makes the
/// fence newer than what was listed.
pub fn list(job: &Job, objects: &dyn Objects) -> Result<Found> {
    let (mut witnesses, mut begun) = (Vec::new(), Vec::new());
    for child in objects.children(&job.name)? {
        let Some(fence_id) = names::read_fence_id(&child) else { continue };
        let below = objects.children(&names::all_of(&job.name, fence_id))?;
        begun.extend(newest_load(job, objects, fence_id, &below)?.map(|begun| (fence_id.to_string(), begun)));
        // Only the newest body of each is ever looked at.
        let Some(generation) = below.iter().filter_map(|name| names::read_witness(name)).max() else { continue };
        let body = objects.get(&names::witness(&job.name, fence_id, generation))?.unwrap_or_default().to_vec();
        witnesses.push(Witness { fence_id: fence_id.into(), generation, body });
    }
    Ok(Found { witnesses, begun })
}

/// What was listed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The newest witness of each fence id.
    pub witnesses: Vec<Witness>,
    /// What the newest start of a fence id has left for its loads.
    begun: Vec<(String, Begun)>,
}

/// What the newest start has left for its loads, by its names. `below` is what stands below the fence id.
fn newest_load(job: &Job, objects: &dyn Objects, fence_id: &str, below: &[String]) -> Result<Option<Begun>> {
    let newest = below.iter().filter_map(|name| names::read_start(name)).max();
    let Some((generation, nonce)) = newest else { return Ok(None) };
    let staging = Staging { job: job.name.clone(), fence_id: fence_id.into(), generation, nonce: nonce.clone() };
    let object = staging.loads();
    let loads = objects.children(&object)?;
    let begun = loads.iter().filter_map(|name| names::read_load(name)).map(|(first, _)| first);
    let loaded = loads.iter().filter_map(|name| names::read_loaded(name)).map(|last| last.next());
    Ok(begun.chain(loaded).max().map(|below| Begun { generation, nonce, below, object: objects.url(&object) }))
}

/// Whether the control tables are those that the witnesses know.
pub fn check(job: &Job, found: &Found, facts: &TableFacts, warehouse: &mut dyn Warehouse) -> Result<()> {
    let (fence, Found { witnesses: found, begun }) = (&facts.fence, found);
    let begun = begun.iter().find(|(fence_id, _)| *fence_id == fence.fence_id).map(|(_, begun)| begun);
    // Whether something was adopted needs asking only where another history left a witness.
    let adopted: BTreeSet<String> = match found.iter().all(|witness| witness.fence_id == fence.fence_id) {
        true => BTreeSet::new(),
        false => warehouse.adopted()?.into_iter().collect(),
    };
    let tables = Tables {
        job: &job.name,
        fence_id: &fence.fence_id,
        generation: fence.generation,
        nonce: &fence.nonce,
        home: &home(job, facts),
        adopted: &adopted,
    };
    let witnessed = witness::check(found, &tables).and_then(|()| witness::check_loads(begun, fence));
    witnessed.map_err(|witnessed| Halt::Witness(witnessed).into())
}

/// Puts the witness of a start that has the fence.
pub fn put(job: &Job, objects: &dyn Objects, facts: &TableFacts, holder: &Holder) -> Result<()> {
    let key = names::witness(&job.name, &facts.fence.fence_id, holder.generation);
    let body = home(job, facts).to_body(&holder.nonce);
    again(|| objects.put(&key, body.clone().into()))?;
    // A key is written once. What another start has left there says that our generation was taken before.
    match again(|| objects.get(&key))? {
        Some(found) if found == body.as_bytes() => Ok(()),
        _ => Err(Halt::Witness(Witnessed::Taken { object: objects.url(&key) }).into()),
    }
}

/// Where the control tables are.
pub fn home(job: &Job, facts: &TableFacts) -> Home {
    let (database, schema) = (job.redshift.database.clone(), job.redshift.schema.clone());
    Home { namespace: facts.namespace.clone(), database, schema }
}
