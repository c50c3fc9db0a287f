//! Objects in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::trouble::{Accident, Bar, lock, lost};
use crate::{Error, Fault, Objects, Result, conformance::Trouble};

/// Objects in memory.
#[derive(Clone, Default)]
pub struct MemoryObjects(Arc<Mutex<BTreeMap<String, Bytes>>>, Accident, Bar);

pub(super) const BUCKET: &str = "s3://memory/";

impl MemoryObjects {
    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    /// Lets everything fail with this from now on, or nothing any more.
    pub fn bar(&self, fault: Option<Fault>) {
        self.2.set(fault);
    }

    /// Lets this happen to the next object that is written.
    pub fn cause(&self, trouble: Trouble) {
        *lock(&self.1) = Some(trouble);
    }
}

impl Objects for MemoryObjects {
    fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.2.pass()?;
        let trouble = lock(&self.1).take();
        if trouble == Some(Trouble::Before) {
            return Err(lost());
        }
        let mut objects = lock(&self.0);
        if trouble.is_some() {
            objects.insert(key.into(), body);
            return Err(lost().unknown());
        }
        match objects.get(key) {
            Some(found) if found.len() != body.len() => Err(Error::bug(format!(
                "{} exists with {} bytes instead of {}",
                self.url(key),
                found.len(),
                body.len()
            ))),
            Some(_) => Ok(()),
            None => {
                objects.insert(key.into(), body);
                Ok(())
            }
        }
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.2.pass()?;
        Ok(lock(&self.0).get(key).cloned())
    }

    fn delete(&self, keys: &[&str]) -> Result<()> {
        self.2.pass()?;
        let mut objects = lock(&self.0);
        keys.iter().for_each(|key| drop(objects.remove(*key)));
        Ok(())
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        self.2.pass()?;
        let below = format!("{folder}/");
        self.keys().iter().filter(|key| key.starts_with(&below)).try_for_each(|key| each(key))
    }

    fn children(&self, folder: &str) -> Result<Vec<String>> {
        self.2.pass()?;
        let below = format!("{folder}/");
        let child = |key: &str| {
            let rest = key.strip_prefix(&below)?;
            Some(rest.split_inclusive('/').next()?.to_string())
        };
        let names: BTreeSet<String> = self.keys().iter().filter_map(|key| child(key)).collect();
        Ok(names.into_iter().collect())
    }

    fn url(&self, key: &str) -> String {
        format!("{BUCKET}{key}")
    }
}
