//! The port of a store of objects that are written once. S3.

use bytes::Bytes;

use crate::Result;

/// A store of objects that are written once: S3.
pub trait Objects: Send + Sync {
    /// Writes an object that does not exist yet, whole or not at all. The key is never used by anybody else.
    fn put(&self, key: &str, body: Bytes) -> Result<()>;

    /// The bytes of an object; `None` if there is none.
    fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Removes objects, in as few requests as there can be; no error for those that are not there. After an error some of them may be
    /// gone.
    fn delete(&self, keys: &[&str]) -> Result<()>;

    /// Every key below a folder, as it comes; those that are written or removed meanwhile may be among them or not.
    fn list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()>;

    /// What stands directly below a folder, in order: the names of objects, and with a slash at the end those of folders. Nothing
    /// if there is no such folder. What is written before the question is among them.
    fn children(&self, folder: &str) -> Result<Vec<String>>;

    /// The address under which the warehouse reads a key, like `s3://bucket/prefix/key`.
    fn url(&self, key: &str) -> String;
}
