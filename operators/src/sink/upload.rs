//! Files to S3.
//!
//! * Input: encoded files of one target. Output: staged files, for seal.
//! * Time: it holds a capability for each file under way and drops it when the file is there.
//! * State: the files under way; their bound is the memory budget of their epochs.
//! * Failure: an outage is tried again for [`crate::outage::OUTAGE_WITHIN`], with growing pauses; anything else ends the process.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use checkpoint::{Epoch, names::Staging};
use connectors::Objects;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::Pipeline,
        operators::{Capability, generic::operator::Operator},
    },
};

use super::{Piece, StagedFile, encode::Encoded};
use crate::{
    Time,
    background::Background,
    events::{Stage, Watch, working},
    failure::{Failure, fail},
    outage::{OUTAGE, try_again},
    stamp::{epoch_of, hold},
};

/// Uploads at a time, for one worker and target.
const UPLOADS: usize = 2;

/// Builds upload for one target.
pub fn upload<'s>(
    scope: Scope<'s, Time>,
    encoded: Stream<'s, Time, Vec<Encoded>>,
    target: usize,
    staging: Arc<Staging>,
    objects: Arc<dyn Objects>,
    watch: Watch,
) -> Stream<'s, Time, Vec<Piece>> {
    let worker = scope.index();
    encoded.unary::<CapacityContainerBuilder<Vec<Piece>>, _, _, _>(
        Pipeline,
        &format!("Upload {target}"),
        move |capability, info| {
            drop(capability);
            let wake = scope.worker().sync_activator_for(info.address.to_vec());
            let mut background = Background::new("upload", UPLOADS, UPLOADS, wake, || {
                let (objects, watch) = (objects.clone(), watch.clone());
                move |(number, key, body): (u64, String, Bytes)| {
                    let _working = working(&watch, Stage::Upload);
                    (number, put(&*objects, &key, body, &watch))
                }
            });
            let mut under_way: BTreeMap<u64, (Capability<Time>, StagedFile)> = BTreeMap::new();
            let mut next = 0;
            move |input, output| {
                input.for_each(|capability, files: &mut Vec<Encoded>| {
                    for Encoded { body, rows, records } in files.drain(..) {
                        let (epoch, held) = (Epoch(epoch_of(&capability)), hold(&capability, 0));
                        let id = uuid::Uuid::new_v4().simple().to_string();
                        let key = staging.data(epoch, target, worker, &id);
                        let file = StagedFile { target, key: key.clone(), bytes: body.len() as u64, rows, records };
                        under_way.insert(next, (held, file));
                        background.submit((next, key, body));
                        next += 1;
                    }
                });
                for (number, result) in background.results() {
                    if let Err(source) = result {
                        fail(Failure::Port { doing: "cannot stage a file".into(), source });
                    }
                    if let Some((held, file)) = under_way.remove(&number) {
                        output.session(&held).give(Piece::File(file));
                    }
                }
            }
        },
    )
}

/// Writes an object, trying again while that can help.
pub(super) fn put(objects: &dyn Objects, key: &str, body: Bytes, watch: &Watch) -> connectors::Result<()> {
    try_again(&format!("writing {}", objects.url(key)), OUTAGE, watch, || objects.put(key, body.clone()))
}
